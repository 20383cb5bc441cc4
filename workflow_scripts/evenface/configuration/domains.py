"""Networks that learned from renderings must not label or judge photographs, unless the user accepts it by key."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.parts import Annotator, Pictures, Reader, part, parts
from evenface.plan.directions import TRUTH
from evenface.plan.generators import REQUESTED, described, generators_of, settings_of, source_of
from evenface.screening.settings import TRAINED_HERE, is_calibrated

KEY = "annotation.accept_domain_shift"
#: How that key calls the network that judges quality.
MAGFACE = "magface"
#: Below this folder, everything is rendered, and a stand-in's folder has this table.
_STANDINS, _TRUTH_TABLE = "data/standins", "standin_truth.parquet"


def domain_problems(config: dict[str, Any]) -> list[str]:
    """A sentence for every network that would label photographs without having learned from any, and is not accepted."""
    shifts, accepted = _shifts(config), config["annotation"]["accept_domain_shift"]
    everyone = ", ".join(dict.fromkeys([*accepted, *shifts]))
    problems = [
        f"{_called(network)} {why}, but would label photographs: {', '.join(subjects)}. Its answers there are not reliable. "
        f"{_remedy(config, network)}, or accept them: {KEY}: [{everyone}]"
        for network, (why, subjects) in shifts.items()
        if network not in accepted
    ]
    for name, dataset in config["datasets"].items():
        table = dataset["demographics"]
        if table and (_inside(table, _STANDINS) or Path(table).name == _TRUTH_TABLE) and not _rendered(config, name):
            problems.append(
                f"datasets.{name}.demographics is {table}, the truth about rendered faces, but {name} holds photographs; "
                f"delete the line, or give a table about its own images"
            )
    return problems


def accepted_shifts(config: dict[str, Any]) -> list[str]:
    """A sentence for every network that labels photographs without having learned from any, as the user accepted."""
    return [
        f"{_called(network)[0].upper()}{_called(network)[1:]} {why}, and labels photographs: {', '.join(subjects)}."
        for network, (why, subjects) in _shifts(config).items()
        if network in config["annotation"]["accept_domain_shift"]
    ]


def _called(network: str) -> str:
    return "the quality network magface" if network == MAGFACE else f"the annotator {network}"


def _remedy(config: dict[str, Any], network: str) -> str:
    if network == MAGFACE:
        return (
            "Give published weights as screening.magface.weights (or null: quality is not judged), name data sets of "
            "photographs in screening.magface.trained_here.dataset and screening.magface.reference"
        )
    about, other = part(Annotator, network, KEY), "Choose annotators that learned from photographs, such as facexformer"
    if callable(about.trained_on):
        return f"{other}, let {network} learn from a data set of photographs (annotation.{network}.dataset)"
    return other if about.trained_on == "renderings" else f"{other}, state trained_on in {about.origin}"


def _shifts(config: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    """Network -> what it learned from, and the photographs that it labels; only networks that learned from no photograph."""
    found: dict[str, list[str]] = {}
    for network, subject in _labellings(config):
        subjects = found.setdefault(network, [])
        if subject not in subjects:
            subjects.append(subject)
    return {network: (why, subjects) for network, subjects in found.items() if (why := _flaw(config, network))}


def _labellings(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every (network, whose photographs it labels or judges) of a configuration."""
    annotation, magface = config["annotation"], config["screening"]["magface"]
    latent = config["latent_directions"]
    for generator in generators_of(config["generation"]):
        if _drawn(config, generator) != "photographs":
            continue
        settings, subject = settings_of(config, generator), f"faces of the generator {generator}"
        sources = [source_of(annotation[key], generator, settings) for key in ("labels_from", "demographics_from")]
        for name in (*annotation["annotators"], *sources, annotation["validate"]["by"]):
            if name not in (None, REQUESTED) and source_of(name, generator, settings):
                yield name, subject
        if magface["weights"]:
            yield MAGFACE, subject
    if _drawn(config, latent["generator"]) == "photographs":
        for key in ("labels_from", "accepted_by"):
            if latent[key] != TRUTH:
                yield latent[key], f"latents of {latent['generator']} (latent_directions.{key})"
    for name, dataset in config["datasets"].items():
        if not _rendered(config, name):
            for network in _annotators_of(dataset["demographics"]):
                yield network, f"the data set {name} (datasets.{name}.demographics)"
            if network := dataset.get("demographics_from"):
                yield network, f"the data set {name} (datasets.{name}.demographics_from)"
            if magface["weights"] and is_calibrated(magface) and magface["reference"] == name:
                yield MAGFACE, f"the data set {name} (screening.magface.reference)"


def _flaw(config: dict[str, Any], network: str) -> str:
    """What a network learned from, if that is not photographs; else empty."""
    if network == MAGFACE:
        magface = config["screening"]["magface"]
        own = magface["weights"] == TRAINED_HERE or _inside(magface["weights"], "results")
        used = [magface["trained_here"]["dataset"]] * own + [magface["reference"]] * is_calibrated(magface)
        return _rendered_of(config, used)
    known = part(Annotator, network, KEY).trained_on
    if callable(known) and (name := known(config["annotation"].get(network, {}))) in config["datasets"]:
        return _rendered_of(config, [name])
    words = {"photographs": "", "nothing": "", "renderings": "learned from renderings"}
    return words.get(known, "does not say what it learned from")


def _rendered_of(config: dict[str, Any], names: Iterable[str]) -> str:
    rendered = [name for name in dict.fromkeys(names) if name in config["datasets"] and _rendered(config, name)]
    return f"learned from renderings (data set {' and '.join(rendered)})" if rendered else ""


def _drawn(config: dict[str, Any], generator: str, above: tuple[str, ...] = ()) -> Pictures:
    """What a generator draws. If it starts from photographs, these are still seen in its pictures."""
    settings = settings_of(config, generator)
    if described(generator).pictures_of(settings) != "renderings":
        return "photographs"
    initial = settings.get("initial") or {}
    if source := initial.get("generator"):
        # Unknown generators and circles are refused while the plan is made.
        known = source in generators_of(config["generation"]) and source not in above
        return _drawn(config, source, (*above, generator)) if known else "renderings"
    return "photographs" if initial.get("file") else "renderings"


def _rendered(config: dict[str, Any], name: str) -> bool:
    """Whether the pictures of a data set are renderings: a stand-in, a copy of one, or of a reader that says so."""
    dataset = config["datasets"][name]
    return bool(
        dataset["standin"]
        or os.path.exists(os.path.join(dataset["root"], _TRUTH_TABLE))
        or part(Reader, dataset["reader"], f"datasets.{name}.reader").pictures == "renderings"
    )


def _inside(path: str, folder: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _annotators_of(path: str | None) -> list[str]:
    """The annotators that a table of demographics names in its column ``annotator`` or ``demographics_source``."""
    if not path or not os.path.isfile(path):
        return []
    columns = ("annotator", "demographics_source")
    if path.endswith(".csv"):
        with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.DictReader(file)
            used = [column for column in columns if column in (rows.fieldnames or ())]
            names = {row[column] or "" for row in rows for column in used} if used else set()
    else:
        from evenface.storage.tables import read_arrow, table_columns

        try:
            used = [column for column in columns if column in table_columns(path)]
            names = {value or "" for column in used for value in read_arrow(path, columns=[column])[column].to_pylist()}
        except UserError:  # the reader says what is wrong with it
            return []
    known = {re.sub(r"-v\d+$", "", name) for name in names}
    return sorted(name for name in known if name in parts(Annotator))
