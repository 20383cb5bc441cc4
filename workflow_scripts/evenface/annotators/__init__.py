"""Annotators: who says what is in a face. One protocol, whatever answers.

``create(name, settings)`` gives one; ``annotate_shards`` writes its table for some image shards.
Importing this package, and using ``ground_truth``, does not import torch.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.joblog import progress
from evenface.storage.images import ImageError
from evenface.storage.shards import Shard, read_shard
from evenface.storage.tables import write_table
from evenface.taxonomy import DIMENSIONS, UNKNOWN

_NAMES = ("ground_truth", "trained_here")


class Annotator(Protocol):
    """Something that labels faces.

    ``version`` rises when the labels of the same image change; ``attributes`` are the names it knows.
    ``needs_images`` is false for an annotator that reads what the generator recorded.
    """

    name: str
    version: int
    attributes: tuple[str, ...]
    needs_images: bool

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """One row per image in order, see :func:`annotation_frame`.

        ``images`` are RGB uint8 (H, W, 3); ``rows`` the rows of the shard's table they belong to. An
        annotator that does not need images accepts an empty sequence when it is given ``rows``.
        """
        ...


def create(name: str, settings: Mapping[str, Any] | None = None) -> Annotator:
    """The annotator ``name``; UserError for an unknown name or setting."""
    if name not in _NAMES:
        raise UserError(f"annotation.annotators: {name!r} is not known; use {', '.join(_NAMES)}")
    return importlib.import_module(f"{__name__}.{name}").create(dict(settings or {}))


def annotation_frame(
    scores: Mapping[str, np.ndarray],
    demographics: Mapping[str, tuple[np.ndarray, np.ndarray]],
    thresholds: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """The columns of an annotation, one row per image.

    ``scores``: attribute -> float (n,) in [0, 1], NaN undefined. ``demographics``: dimension -> (levels
    (n,), probability of that level (n,)). Columns: ``score_<Name>`` float32 and ``label_<Name>`` int8
    (+1 above the threshold, 0.5 unless given; -1 below; 0 undefined), then for each dimension its
    level and ``<dimension>_score`` float32.
    """
    columns: dict[str, np.ndarray] = {}
    for name, score in scores.items():
        score = np.asarray(score, np.float32)
        threshold = (thresholds or {}).get(name, 0.5)
        columns[f"score_{name}"] = score
        columns[f"label_{name}"] = np.where(np.isnan(score), 0, np.where(score > threshold, 1, -1)).astype(np.int8)
    for dimension, (levels, certainty) in demographics.items():
        columns[dimension] = np.asarray(levels, object)
        columns[f"{dimension}_score"] = np.asarray(certainty, np.float32)
    return pd.DataFrame(columns)


def undefined_frame(attributes: Sequence[str], count: int) -> pd.DataFrame:
    """The annotation of ``count`` images that could not be annotated: every label undefined or unknown."""
    nothing = np.full(count, np.nan, np.float32)
    return annotation_frame(
        {name: nothing for name in attributes}, {d: (np.full(count, UNKNOWN, object), nothing) for d in DIMENSIONS}
    )


def annotate_shards(
    annotator: Annotator,
    shard_paths: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    aligned_paths: Sequence[str | os.PathLike] | None = None,
) -> pd.DataFrame:
    """Annotate image shards and write one annotation table, one row per image, in the order given.

    Annotators that look at pixels see the crops in ``aligned_paths``, the shards of accepted, framed
    faces, where they are given. An image that is not in them, or cannot be decoded, keeps its row with
    undefined labels and a ``failure`` (not_accepted, missing, corrupt, too_large); otherwise that
    column is empty. Further columns: image_id and ``annotator`` ("<name>-v<version>"). The annotator is
    shown one shard at a time, so that a label depends on nothing outside its shard.
    """
    crops = aligned_paths or [None] * len(shard_paths)
    parts = [
        _annotate_shard(annotator, *paths)
        for paths in zip(progress(shard_paths, len(shard_paths), "annotating"), crops, strict=True)
    ]
    table = pd.concat(parts, ignore_index=True)
    table["annotator"] = f"{annotator.name}-v{annotator.version}"
    write_table(table, out, kind="annotation", meta={"annotator": annotator.name, "version": annotator.version})
    return table


def _annotate_shard(
    annotator: Annotator, shard_path: str | os.PathLike, aligned_path: str | os.PathLike | None
) -> pd.DataFrame:
    with read_shard(shard_path) as shard:
        rows = shard.table
        if not annotator.needs_images:
            table = annotator.annotate([], rows)
            failures = np.full(len(rows), "", object)
        elif aligned_path is None:
            table, failures = _annotate_images(annotator, shard, rows)
        else:
            with read_shard(aligned_path) as crops:
                table, failures = _annotate_images(annotator, crops, rows)
    table.insert(0, "image_id", rows["image_id"].to_numpy(object))
    table["failure"] = failures
    return table


def _annotate_images(annotator: Annotator, source: Shard, rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    members = dict(zip(source.table["image_id"], source.table["member"]))
    failures = np.full(len(rows), "", object)
    images: list[np.ndarray] = []
    for position, image_id in enumerate(rows["image_id"]):
        if image_id not in members:
            failures[position] = "not_accepted"
            continue
        try:
            images.append(source.image(members[image_id]))
        except ImageError as error:
            failures[position] = error.reason
    table = undefined_frame(annotator.attributes, len(rows))
    readable = np.flatnonzero(failures == "")
    if len(readable):
        answers = annotator.annotate(images, rows.iloc[readable])
        missing = [c for c in table if c not in answers]
        if missing:
            raise ValueError(f"annotator {annotator.name} gave no column {missing[0]!r}")
        for column in table:
            values = table[column].to_numpy(copy=True)
            values[readable] = answers[column].to_numpy()
            table[column] = values
    return table, failures
