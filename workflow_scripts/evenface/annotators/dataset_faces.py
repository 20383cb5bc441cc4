"""Annotation of the faces of a data set, in parts: the same columns as for generated faces."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.annotators.annotating import SHOWN, Annotator, annotate_rows, write_annotation
from evenface.errors import UserError
from evenface.joblog import progress
from evenface.screening.locating import landmarks_of
from evenface.screening.screen import Screener, settings_of
from evenface.storage.images import ImageError, ImageReader
from evenface.storage.tables import read_table, table_meta, write_table


def annotate_faces(
    annotator: Annotator,
    faces: pd.DataFrame,
    out: str | os.PathLike,
    *,
    part: int = 0,
    parts: int = 1,
    screening: Mapping[str, Any] | None = None,
    weights: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Write and return the annotation table of a part of a faces table, one row per image and in its order.

    The annotator gets what it gets of generated faces: the framed face, or the whole picture, with screening's landmarks if
    it needs them. ``screening`` is that section of the configuration; its detector finds the faces, the largest of
    several counts, and quality is not judged. ``weights`` are the detector's files. A picture that cannot be read, or in which no
    face is found, has undefined labels and a ``failure``. Parts, 0 to ``parts`` - 1, follow the order of the table;
    their number changes no label. UserError for an annotator that reads what a generator recorded.
    """
    if annotator.reads == "record":
        raise UserError(
            f"the annotator {annotator.name} reads what a generator recorded of its own faces, so it knows nothing of a data "
            "set; choose one that looks at pictures"
        )
    spans = [(first, min(first + SHOWN, len(faces))) for first in range(0, len(faces), SHOWN)]
    mine = spans[len(spans) * part // parts : len(spans) * (part + 1) // parts]
    start, end = (mine[0][0], mine[-1][1]) if mine else (0, 0)
    rows = faces.iloc[start:end].reset_index(drop=True)
    crops = annotator.reads == "crops"
    searches = crops or getattr(annotator, "uses_landmarks", True)
    screener = Screener(
        settings_of({**(screening or {}), "many_faces": "largest", "min_face": 1, "quality": {}}), dict(weights or {})
    ) if searches else None  # fmt: skip
    landmarks = np.full((len(rows), 5, 2), np.nan, np.float32) if screener and screener.finder else None
    label = f"{faces['dataset'].iloc[0] if len(faces) else 'faces'}: {annotator.name}"

    with ImageReader() as reader:

        def show(position: int) -> np.ndarray | str:
            image_id, reference = rows["image_id"].iat[position], rows["image"].iat[position]
            try:
                image = reader.read(reference)
            except ImageError as error:
                return error.reason
            if screener is None:
                return image
            found, framed = screener.framed(image_id, image)
            if framed is None:
                return found["reason"]
            if landmarks is not None:
                landmarks[position] = landmarks_of(pd.DataFrame([found]))[0]
            return framed if crops else image

        local = [(first - start, last - start) for first, last in mine]
        counted = progress(local, len(rows), label, count=lambda span: span[1] - span[0])
        table = annotate_rows(annotator, rows, counted, show, landmarks=landmarks)
    table.insert(0, "image_id", rows["image_id"].to_numpy(object))
    return write_annotation(annotator, table, out)


def gather_annotations(parts: Sequence[str | os.PathLike], out: str | os.PathLike) -> None:
    """Write the parts of :func:`annotate_faces` as one table, in order, with the same bytes as if there were one part."""
    meta = {key: value for key, value in table_meta(parts[0]).items() if key in ("annotator", "version", "weights")}
    tables = [read_table(path) for path in parts]
    tables = [table for table in tables if len(table)] or tables[:1]  # columns of no rows have another type
    write_table(pd.concat(tables, ignore_index=True), out, kind="annotation", meta=meta)
