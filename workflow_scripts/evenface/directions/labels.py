"""An annotator's labels of the faces of latents: one level per factor, and its probability.

A factor is a demographic dimension, ``hair`` (the colour), or a CelebA attribute (levels ``absent`` and
``present``).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.annotators import create
from evenface.annotators.annotating import Annotator, annotate_shards
from evenface.directions.samples import read_samples, write_faces
from evenface.errors import UserError
from evenface.generators.guided.generator import ABSENT, PRESENT
from evenface.generators.latent import LatentGenerator
from evenface.screening.screen import screen_shard
from evenface.storage.shards import read_shard
from evenface.storage.tables import write_table
from evenface.taxonomy import HAIR_COLOURS, UNKNOWN, study

#: The annotator that reads the generator's own truth.
TRUTH = "ground_truth"


def levels_of_factor(factor: str) -> tuple[str, ...]:
    """The levels of a factor, in the order of all tables."""
    if factor == "hair":
        return tuple(HAIR_COLOURS)
    return study().get(factor, (ABSENT, PRESENT))


def read_levels(annotation: pd.DataFrame, factors: Sequence[str], who: str) -> pd.DataFrame:
    """Columns ``<factor>`` (level or unknown) and ``<factor>_score`` (probability of it, NaN unknown) of an annotation.

    Hair has a level if exactly one colour is labelled present. UserError for a factor that ``who`` does not answer.
    """
    found: dict[str, np.ndarray] = {}
    for factor in factors:
        needed = HAIR_COLOURS.values() if factor == "hair" else () if factor in study() else (factor,)
        missing = [name for name in needed if f"score_{name}" not in annotation]
        if factor in study() and factor not in annotation:
            missing = [factor]
        if missing:
            raise UserError(
                f"latent_directions: the annotator {who} does not read {missing[0]}, which the factor {factor!r} needs; "
                f"choose another annotator or leave the factor out"
            )
        if factor in study():
            levels = annotation[factor].to_numpy(object)
            scores = annotation[f"{factor}_score"].to_numpy(float)
        elif factor == "hair":
            labels = annotation[[f"label_{name}" for name in needed]].to_numpy()
            each = annotation[[f"score_{name}" for name in needed]].to_numpy(float)
            present = labels == 1
            one = present.sum(1) == 1
            chosen = present.argmax(1)
            levels = np.where(one, np.array(list(HAIR_COLOURS), object)[chosen], UNKNOWN)
            scores = np.where(one, each[np.arange(len(each)), chosen], np.nan)
        else:
            labels, score = annotation[f"label_{factor}"].to_numpy(), annotation[f"score_{factor}"].to_numpy(float)
            levels = np.select([labels == 1, labels == -1], [PRESENT, ABSENT], UNKNOWN).astype(object)
            scores = np.where(labels == 0, np.nan, np.maximum(score, 1 - score))
        found[factor] = levels
        found[f"{factor}_score"] = np.where(levels == UNKNOWN, np.nan, scores)
    return pd.DataFrame(found)


class Reader:
    """An annotator, with what it needs to read generated faces.

    ``recipe`` is that of the annotator (name, settings with ``files``). ``screening`` are the screening settings.
    ``detector`` maps the names of detector files to paths. Pictures are screened like every generated face, so the
    annotator sees the same as in the workflow.
    """

    def __init__(
        self,
        recipe: Mapping[str, Any],
        factors: Sequence[str],
        screening: Mapping[str, Any],
        detector: Mapping[str, str],
        machine: Mapping[str, Any],
    ):
        self.annotator: Annotator = create(recipe["name"], {**recipe["settings"], **machine})
        self.factors = tuple(factors)
        self.screening, self.detector = dict(screening), dict(detector)

    @property
    def name(self) -> str:
        """The annotator's name."""
        return self.annotator.name

    def read_shard(self, path: str | os.PathLike) -> pd.DataFrame:
        """Levels and scores of the faces of a shard, one row each in order, with image_id and ``failure``."""
        with tempfile.TemporaryDirectory() as folder:
            if self.annotator.reads == "record":
                annotation = self._annotate(path, Path(folder), None, None)
            else:
                screening, aligned = Path(folder) / "screening.parquet", Path(folder) / "aligned.tar"
                screen_shard(path, self.screening, screening, aligned, weights=self.detector)
                annotation = self._annotate(path, Path(folder), aligned, screening)
        levels = read_levels(annotation, self.factors, self.name)
        levels.insert(0, "image_id", annotation["image_id"])
        levels["failure"] = annotation["failure"]
        return levels

    def _annotate(self, path, folder: Path, aligned: Path | None, screening: Path | None) -> pd.DataFrame:
        return annotate_shards(
            self.annotator,
            [path],
            folder / "annotation.parquet",
            aligned_paths=[aligned] if aligned else None,
            screening_paths=[screening] if screening else None,
        )

    def read_latents(
        self,
        generator: LatentGenerator,
        space: str,
        latents: np.ndarray,
        records: Sequence[Mapping[str, Any]] | None = None,
        names: Sequence[str] | None = None,
        out: str | os.PathLike | None = None,
    ) -> pd.DataFrame:
        """Levels and scores of the faces of latents (n, d), and ``picture``, the PNG file of each face that was drawn.

        Faces are drawn only if the annotator reads pictures, or if there is a shard ``out`` for them. ``records`` says how
        each was found; ``names`` are their image ids.
        """
        pictures = self.annotator.reads != "record" or out is not None
        if self.annotator.reads == "record" and getattr(generator, "truths", None) is None:
            raise UserError(
                f"latent_directions: {self.name} needs a generator that knows what it draws, and {generator.name} does "
                f"not; choose another annotator"
            )
        names = names or [f"{generator.name}/face-{i:06d}" for i in range(len(latents))]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(out) if out is not None else Path(folder) / "faces.tar"
            write_faces(path, generator, space, latents, names, records or [{}] * len(names), pictures=pictures)
            levels = self.read_shard(path)
            with read_shard(path) as shard:
                members = shard.table["member"]
                drawn = [shard.image_bytes(m) if pictures else None for m in members]
        return levels.assign(picture=pd.Series(drawn, dtype=object))


def label_samples(parts: Sequence[str | os.PathLike], reader: Reader, out: str | os.PathLike) -> pd.DataFrame:
    """Label all samples and write the table: image_id, identity_id, level and score per factor, failure.

    If the generator knows the truth, also ``truth_<factor>``, for every annotator. The table's metadata hold the verdicts
    on the annotator's ``weights``, if it reads published ones.
    """
    table, _ = read_samples(parts)
    answers = pd.concat([reader.read_shard(path) for path in parts], ignore_index=True)
    labels = table[["image_id", "identity_id"]].merge(answers, on="image_id", how="left", validate="one_to_one")
    if "truth" in table:
        truth = create(TRUTH).annotate([], table)
        known = read_levels(truth, reader.factors, TRUTH)
        for factor in reader.factors:
            labels[f"truth_{factor}"] = known[factor].to_numpy(object)
    weights = getattr(reader.annotator, "weights", ())
    meta = {"annotator": reader.name, **({"weights": weights} if weights else {})}
    write_table(labels, out, kind="latent labels", meta=meta)
    return labels
