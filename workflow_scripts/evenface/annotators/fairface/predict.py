"""FairFace's ``predict.py``: from a list of pictures to its result table."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.annotators.fairface.reader import Answer, FaceReader
from evenface.annotators.fairface.table import SCORE_COLUMNS, ChipNames, write_predictions_csv
from evenface.errors import UserError, check_names
from evenface.faces import face_chips
from evenface.faces.files import detector_files
from evenface.joblog import progress
from evenface.storage.csv import write_csv
from evenface.storage.images import ImageError, ImageReader, decode_image
from evenface.storage.text_tables import read_table

log = logging.getLogger("evenface")

#: dlib's model files, as the rule fetch_dlib_models writes them.
DLIB_FILES: dict[str, str] = detector_files("mmod")

DETECTORS = ("mmod", "hog", "none")

_COLUMNS = ["img_path", "face_name_align", "reason", "detail", "left", "top", "right", "bottom"]


@dataclass
class _Face:
    """One row of the table of pictures. Without a ``reason`` it is a face, and ``chip`` returns its chip."""

    img_path: str
    face_name_align: str = ""
    reason: str = ""
    detail: str = ""
    box: Sequence[float] = (np.nan,) * 4
    chip: Callable[[], np.ndarray] | None = field(default=None, repr=False)


def predict_csv(
    images: str | os.PathLike,
    weights: str | os.PathLike,
    out: str | os.PathLike = "test_outputs.csv",
    *,
    weights_4: str | os.PathLike | None = None,
    detector: str = "mmod",
    jpeg_roundtrip: bool | None = None,
    files: Mapping[str, str] | None = None,
    batch_size: int = 32,
    precision: str = "published",
    device: str = "cpu",
    threads: int = 1,
) -> pd.DataFrame:
    """Does what FairFace's ``predict.py`` does: reads a CSV with the column ``img_path``, writes the result table ``out``.

    All faces of every picture get a row (see :func:`write_predictions_csv`), in the order of the list and, within
    a picture, of the detector. (The original uses the order of a folder.) ``detector``: ``mmod``, as published;
    ``hog``; or ``none`` for pictures that are chips already, one face each. ``jpeg_roundtrip``: None compresses
    the chips of ``.jpg`` and ``.jpeg`` files only, as the original does. ``files``: ``landmarks`` and ``mmod``.
    ``precision``: see :class:`FaceReader`. With the default, the table equals the original's byte for byte if the
    chips do.

    ``<stem>.images.csv``, beside ``out``, has one row per face (img_path, face_name_align, and left, top, right,
    bottom: the box in pixels of the picture) and one row per picture without a face, with ``reason`` (missing,
    corrupt, too_large, too_small, no_face, not_finite) and ``detail``. That table is returned. As in the original, paths are
    relative to the current folder. A path listed twice is read once. Raises UserError for a list that cannot be
    read and for files that do not fit.
    """
    check_names("face detector", [detector], DETECTORS)
    paths = _listed(images)
    reader = FaceReader(weights, weights_4, batch_size=batch_size, precision=precision, device=device, threads=threads)
    maker = None if detector == "none" else face_chips.ChipMaker(detector, {**DLIB_FILES, **(files or {})})
    results: list[_Face] = []
    rows = []
    for face, answer in reader.read(_faces(paths, maker, jpeg_roundtrip, results), lambda face: face.chip()):
        if isinstance(answer, ImageError):
            face.face_name_align, face.reason, face.detail = "", answer.reason, answer.detail
        else:
            rows.append({"face_name_align": face.face_name_align, **_cells(answer)})
        face.chip = None
    write_predictions_csv(rows, out)
    table = pd.DataFrame(
        [(f.img_path, f.face_name_align, f.reason, f.detail, *f.box) for f in results], columns=_COLUMNS
    )
    write_csv(table, f"{os.path.splitext(out)[0]}.images.csv")
    for reason, count in table["reason"][table["reason"] != ""].value_counts().items():
        log.warning("%s: %d of %d pictures without a row: %s", out, count, len(paths), reason)
    return table


def _listed(path: str | os.PathLike) -> list[str]:
    table = read_table(Path(path), unnamed=True)
    if "img_path" not in table.columns:
        raise UserError(f"{path}: column 'img_path' is missing; the list of pictures needs it, in a header")
    listed = list(dict.fromkeys(row["img_path"] for _, row in table.rows))
    if len(listed) < len(table.rows):
        log.warning("%s: %d pictures are listed again; each is read once", path, len(table.rows) - len(listed))
    return listed


def _faces(
    paths: Sequence[str], maker: face_chips.ChipMaker | None, jpeg: bool | None, results: list[_Face]
) -> Iterator[_Face]:
    """The faces of the pictures. They are also added to ``results``, in order with the pictures without a face."""
    names = ChipNames()
    with ImageReader() as images:
        for path in progress(paths, len(paths), "reading faces"):
            try:
                found = list(_faces_of(path, images, maker, jpeg, names))
            except (ImageError, face_chips.NoChipError) as error:
                results.append(_Face(path, reason=error.reason, detail=error.detail))
                continue
            results += found
            yield from found


def _faces_of(
    path: str, images: ImageReader, maker: face_chips.ChipMaker | None, jpeg: bool | None, names: ChipNames
) -> Iterator[_Face]:
    data = images.read_bytes(path)
    if maker is None:
        yield _Face(path, path, chip=lambda: decode_image(data, path))
        return
    compressed = path.lower().endswith((".jpg", ".jpeg")) if jpeg is None else jpeg
    finish = face_chips.jpeg_roundtrip if compressed else np.asarray
    faces = maker.chips(decode_image(data, path))
    if not faces:
        raise face_chips.NoChipError("no_face", f"{maker.detector} found none")
    before, after = names.prefix(path)
    for number, face in enumerate(faces):
        yield _Face(path, f"{before}{number}{after}", box=face.box, chip=lambda image=face.image: finish(image))


def _cells(answer: Answer) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for head, column in SCORE_COLUMNS.items():
        cells[column], cells[head] = answer.get(head, (None, ""))
    return cells
