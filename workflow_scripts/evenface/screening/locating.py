"""Landmarks of a data set's faces, and recognition crops made with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets.unreadable import check_unreadable
from evenface.faces import LANDMARK_COLUMNS, alignment
from evenface.joblog import progress
from evenface.screening import VERSIONS
from evenface.screening.screen import Screener, screening_frame, settings_of
from evenface.storage.images import ImageError, ImageReader
from evenface.storage.tables import read_table, table_meta, write_table


def locate_faces(
    faces: pd.DataFrame,
    settings: dict[str, Any],
    out: str | os.PathLike,
    *,
    part: int = 0,
    parts: int = 1,
    train: bool = True,
    weights: dict[str, str] | None = None,
) -> pd.DataFrame:
    """Write and return the screening table of a faces table: where each image's face is, or why none was found.

    ``settings`` is the configuration's ``screening`` section. The largest of several faces counts, of any size, and
    quality is not judged. Only the rows of ``part`` (0 to ``parts`` - 1) are used; parts are equally large and follow
    the order of the table. If ``train`` is false, that split is left out if there are others.
    """
    located = {"many_faces": "largest", "min_face": 1, "quality": {}, "framing": "magface"}
    screener = Screener(settings_of({**settings, **located}), weights)
    label = f"{faces['dataset'].iloc[0] if len(faces) else 'faces'}: locating"
    if not train:
        faces = unseen_of(faces)
    start, end = (len(faces) * number // parts for number in (part, part + 1))
    faces = faces.iloc[start:end]
    rows = []
    with ImageReader() as reader:
        for image_id, reference in progress(zip(faces["image_id"], faces["image"], strict=True), len(faces), label):
            try:
                image: np.ndarray | ImageError = reader.read(reference)
            except ImageError as error:
                image = error
            rows.append(screener.locate(image_id, image)[0])
    frame = screening_frame(rows)
    _write(frame, out, label, screener.origin)
    return frame


def gather_landmarks(parts: Sequence[str | os.PathLike], out: str | os.PathLike) -> None:
    """Write the parts of :func:`locate_faces` as one table, in order, with the same bytes as if there were one part."""
    meta = table_meta(parts[0])
    _write(pd.concat([read_table(path) for path in parts], ignore_index=True), out, meta["source"], meta["weights"])


def _write(frame: pd.DataFrame, out: str | os.PathLike, label: str, weights: list[dict[str, str]]) -> None:
    meta = {"screening_version": VERSIONS["screening"], "source": label, "weights": weights}
    write_table(frame, out, kind="screening", meta=meta)


def unseen_of(faces: pd.DataFrame) -> pd.DataFrame:
    """The rows that no network was trained on: all but the split train, if there are others."""
    unseen = faces["split"] != "train"
    return faces[unseen].reset_index(drop=True) if unseen.any() else faces


def landmarks_of(table: pd.DataFrame) -> np.ndarray:
    """Landmarks float32 (n, 5, 2) of a screening table's rows; NaN where there is no face."""
    return table[list(LANDMARK_COLUMNS)].to_numpy(np.float32).reshape(-1, 5, 2)


def located(faces: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of ``faces`` with a found face, and the landmarks float32 (n, 5, 2)."""
    found = table[table["accepted"]]
    landmarks = dict(zip(found["image_id"], landmarks_of(found), strict=True))
    kept = faces[faces["image_id"].isin(found["image_id"])].reset_index(drop=True)
    points = np.stack([landmarks[i] for i in kept["image_id"]]) if len(kept) else np.zeros((0, 5, 2), np.float32)
    return kept, points


def check_readable(faces: pd.DataFrame, table: pd.DataFrame, share: float, label: str) -> list[dict[str, Any]]:
    """Run ``check_unreadable`` for the images of ``faces`` that their screening table ``table`` calls unreadable."""
    bad = table.loc[table["reason"] == "unreadable", ["image_id", "detail"]]
    bad = faces[["image_id", "image"]].merge(bad, on="image_id")
    return check_unreadable(faces, bad, share, key="screening.magface.max_unreadable", label=label)


def aligned_crops(references: pd.Series, landmarks: np.ndarray) -> Iterator[np.ndarray]:
    """Recognition crops, RGB uint8 (112, 112, 3), of images by reference; raises ImageError."""
    with ImageReader() as reader:
        for reference, points in zip(references, landmarks, strict=True):
            yield alignment.align_112(reader.read(reference), points)
