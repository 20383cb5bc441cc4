"""The steps of the rules in rules/latent/Snakefile, from file to file."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evenface.directions.balance import balanced_set, curve
from evenface.directions.effects import mirror_summary, mirror_table, write_effects
from evenface.directions.fitting import Fit, held_out
from evenface.directions.labels import Reader
from evenface.directions.samples import read_samples
from evenface.errors import UserError
from evenface.generators.directions_file import Directions, read_directions, write_directions
from evenface.generators.latent import LatentGenerator, class_of, create_latent
from evenface.seeds import seed_from
from evenface.storage.csv import write_csv
from evenface.storage.shards import read_shard
from evenface.storage.tables import read_table

log = logging.getLogger("evenface")

Path = str | os.PathLike


#: Names of the rules' inputs that are detector files.
_DETECTOR = ("dlib5", "dlib68", "mmod")


def reader_of(params: Mapping[str, Any], inputs: Mapping[str, Any], machine: Mapping[str, Any]) -> Reader:
    """An annotator as the rules describe it.

    ``params`` has the annotator's recipe, its ``files`` by key, and the ``factors``. ``inputs`` are the rule's inputs by
    name, including detector files. ``machine`` has ``device`` and ``threads``.
    """
    recipe, files = params["annotator"], params["files"]
    settings = {**recipe["settings"], **({"files": files} if files else {})}
    screening = recipe.get("screening", {}).get("settings", {})
    detector = {name: str(inputs[name]) for name in _DETECTOR if name in inputs}
    return Reader({"name": recipe["name"], "settings": settings}, params["factors"], screening, detector, machine)


def fit(recipe: Mapping[str, Any], parts: Sequence[Path], labels: Path, outputs: Mapping[str, Path]) -> None:
    """Fit directions and write them with their tables (rule fit_directions)."""
    factors = recipe["factors"]
    needed = [column for f in factors for column in (f, f"{f}_score")]
    table = read_table(labels, required=("image_id", "identity_id", *needed))
    samples, latents = read_samples(parts)
    if list(samples["image_id"]) != list(table["image_id"]):
        raise UserError(f"{labels}: the labels of other samples than {parts[0]}; run label_latents again")
    with read_shard(parts[0]) as shard:
        drawn = shard.recipe
    fitted = Fit(
        table,
        latents,
        factors,
        confidence=recipe["confidence"],
        test_share=recipe["test_share"],
        seed=recipe["seed"],
    )
    known = None
    cls = class_of(drawn["generator"])
    if hasattr(cls, "known_directions"):
        known = cls(drawn["settings"]).known_directions(drawn["space"])
    accuracy = fitted.accuracy_table(known)
    facts = {"seed": recipe["seed"], "test_share": recipe["test_share"], "samples": len(samples)}
    write_directions(
        fitted.directions(drawn["generator"], drawn["generator_version"], drawn["space"], facts), outputs["directions"]
    )
    write_csv(accuracy, outputs["accuracy"])
    write_csv(fitted.group_table(), outputs["groups"])
    write_csv(fitted.cosine_table(), outputs["cosines"])
    for row in accuracy[accuracy["level"] == ""].itertuples():
        log.info("%s: %.3f of %d held-out faces, majority %.3f", row.factor, row.accuracy, row.held_out, row.majority)


def opened(
    recipe: Mapping[str, Any], directions: Path, resources: Mapping[str, Any]
) -> tuple[Directions, LatentGenerator]:
    """The directions, and the generator that they belong to."""
    fitted = read_directions(directions)
    if fitted.generator != recipe["generator"]:
        raise UserError(
            f"{directions}: directions of {fitted.generator}, not of {recipe['generator']}; run fit_directions again"
        )
    return fitted, create_latent(recipe["generator"], {**recipe["settings"], **resources})


def held_out_latents(directions: Directions, parts: Sequence[Path]) -> np.ndarray:
    """Latents (n, d) of the samples that the fit did not use."""
    table, latents = read_samples(parts)
    facts = directions.facts
    return latents[held_out(table["identity_id"].astype(str), facts["test_share"], facts["seed"])]


def effects(
    recipe: Mapping[str, Any],
    directions: Path,
    parts: Sequence[Path],
    outputs: Mapping[str, Path],
    reader: Reader,
    resources: Mapping[str, Any],
) -> None:
    """What every direction changes (rule direction_effects)."""
    fitted, generator = opened(recipe, directions, resources)
    latents = held_out_latents(fitted, parts)
    write_effects(
        fitted, generator, latents, reader, recipe["effects"], effects=outputs["effects"], sheet=outputs["sheet"]
    )


def mirror(
    recipe: Mapping[str, Any],
    directions: Path,
    parts: Sequence[Path],
    outputs: Mapping[str, Path],
    reader: Reader,
    resources: Mapping[str, Any],
) -> None:
    """Pairs that differ in one factor (rule mirror_latents)."""
    fitted, generator = opened(recipe, directions, resources)
    latents = held_out_latents(fitted, parts)[: recipe["mirror"]["pairs"]]
    table = mirror_table(fitted, generator, latents, reader, recipe["mirror"]["factor"], outputs["images"])
    write_csv(table, outputs["pairs"])
    write_csv(mirror_summary(table), outputs["summary"])


def balance(
    recipe: Mapping[str, Any],
    directions: Path,
    outputs: Mapping[str, Path],
    reader: Reader,
    resources: Mapping[str, Any],
) -> None:
    """A balanced set and its acceptance curve (rule balance_latents)."""
    fitted, generator = opened(recipe, directions, resources)
    settings = {**recipe["balanced"], **recipe["walk"]}
    seed = seed_from(recipe["seed"], "balanced set")
    candidates, summary = balanced_set(fitted, generator, reader, settings, seed, outputs["images"])
    write_csv(candidates, outputs["candidates"])
    write_csv(curve(candidates), outputs["curve"])
    write_csv(summary, outputs["summary"])
