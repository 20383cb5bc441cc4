"""The generator's own truth about its faces, read from the shard's rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.annotators.annotating import annotation_frame
from evenface.annotators.ground_truth import PART
from evenface.errors import UserError, check_names
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, UNKNOWN, level_of, level_of_years, study


class GroundTruth:
    """Labels that the generator recorded in the column ``truth``; they are certain, or undefined.

    ``truth`` is JSON with ``attributes``, CelebA names in {+1, -1, 0}, and a level for each demographic
    dimension. An attribute that ``truth`` lacks is undefined.
    """

    name = "ground_truth"
    version = PART.version
    attributes: tuple[str, ...] = CELEBA_ATTRIBUTES
    dimensions = tuple(DIMENSIONS)
    probabilities: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    reads = "record"

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """Read the labels from ``rows``; ``images`` are not used. UserError if no truth is recorded."""
        if rows is None or "truth" not in rows:
            raise UserError("ground_truth needs shards with a truth column; this generator does not record it, so take it out "
                            "of annotation.annotators")  # fmt: skip
        truths = [self._parse(image_id, text) for image_id, text in zip(rows["image_id"], rows["truth"])]
        scores = {}
        for name in self.attributes:
            labels = np.array([t["attributes"].get(name, 0) for t in truths], np.int8).reshape(len(truths))
            scores[name] = np.where(labels == 0, np.nan, labels > 0).astype(np.float32)
        demographics = {}
        for dimension, levels in study().items():
            values = np.array([_level(truth, dimension, levels) for truth in truths], object)
            demographics[dimension] = (values, np.where(values == UNKNOWN, np.nan, 1.0))
        return annotation_frame(scores, demographics)

    @staticmethod
    def _parse(image_id: str, text: str) -> dict[str, Any]:
        try:
            truth = json.loads(text)
            if set(truth["attributes"].values()) <= {-1, 0, 1}:
                return truth
        except (TypeError, ValueError, KeyError, AttributeError):
            pass
        raise UserError(
            f"image {image_id!r}: the truth that the generator recorded cannot be read; take ground_truth out of "
            f"annotation.annotators or generate the shard again"
        )


def _level(truth: Mapping[str, Any], dimension: str, levels: Sequence[str]) -> str:
    """The level of the study; of an age, the band of its years, if they are recorded and the bands are not the default's."""
    value = truth.get(dimension, UNKNOWN)
    if dimension == "age" and "years" in truth and tuple(levels) != DIMENSIONS["age"]:
        return level_of_years(truth["years"], levels)
    return (level_of(value, dimension, levels) if isinstance(value, str) else None) or UNKNOWN


def create(settings: Mapping[str, Any]) -> GroundTruth:
    """The annotator; it has no settings."""
    check_names(
        "settings of the annotator ground_truth", (key for key in settings if key not in ("device", "threads")), ()
    )
    return GroundTruth()
