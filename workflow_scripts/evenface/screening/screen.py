"""Screening: find the one face, frame it, score it, and say why not when not.

Every image keeps its row; a rejected image has ``accepted`` false and a reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS, alignment
from evenface.joblog import log, progress
from evenface.parts import Detector, part
from evenface.screening import VERSIONS, quality
from evenface.screening.settings import ScreeningSettings
from evenface.storage import metadata
from evenface.storage.images import ImageError, decode_image, encode_jpeg
from evenface.storage.metadata import Metadata
from evenface.storage.shards import read_shard, write_shard
from evenface.storage.tables import write_table

COLUMNS = ["image_id", "accepted", "reason", "detail", "n_faces", "detection_score", "face_size",
           *LANDMARK_COLUMNS, "quality"]  # fmt: skip

_BATCH = 64


def settings_of(config: dict[str, Any] | None) -> dict[str, Any]:
    """Complete screening settings: ``config`` with its defaults. Raises UserError naming the key.

    The section's ``magface`` is left out: it judges afterwards (:mod:`evenface.screening.scoring`).
    """
    settings = ScreeningSettings.filled(config or {}, "screening")
    del settings["magface"]
    if settings["detector"] == "none":
        if settings["framing"] in ("celeba", "magface"):
            raise UserError(
                f"screening.framing: {settings['framing']} needs a face detector; "
                "set screening.detector to hog or mmod, or framing to square512 or squeeze"
            )
        if quality.from_config(settings)[0].name != "none":
            raise UserError("screening.quality: a quality score needs a face detector")
    return settings


class Screener:
    """Models and settings, loaded once for many images.

    ``settings`` as returned by :func:`settings_of`; ``weights`` maps dlib5, dlib68 and mmod to
    files. Raises UserError for missing weights.
    """

    def __init__(self, settings: dict[str, Any], weights: dict[str, str] | None = None):
        self.settings = settings
        self.scorer, self.threshold = quality.from_config(settings)
        self.finder = None
        if settings["detector"] != "none":
            finder = part(Detector, settings["detector"], "screening.detector").load()
            self.finder = finder(settings, weights or {})
        cv2.setNumThreads(1)

    def locate(self, image_id: str, image: np.ndarray | ImageError) -> tuple[dict[str, Any], np.ndarray | None]:
        """One row of the screening table and the landmarks, or None without a face; quality is not judged."""
        if isinstance(image, ImageError):
            fields, points = {"reason": "unreadable", "detail": image.detail}, None
        else:
            fields, points = self._examine(image)
        row = {"image_id": image_id, "accepted": False, "detail": "", "n_faces": -1, "quality": np.nan} | fields
        row["accepted"] = not row["reason"]
        return row, points

    def _examine(self, image: np.ndarray) -> tuple[dict[str, Any], np.ndarray | None]:
        """Row fields and landmarks of one image; the landmarks are None without a face."""
        if self.finder is None:
            return {"reason": ""}, None
        found = self.finder.detect(image)
        if not found:
            return {"reason": "no_face", "n_faces": 0}, None
        largest = self.settings["many_faces"] == "largest"
        face = max(found, key=lambda d: d.size) if largest else found[0]
        points = self.finder.landmarks(image, face)
        row: dict[str, Any] = {
            "reason": "",
            "n_faces": len(found),
            "detection_score": face.score,
            "face_size": face.size,
            **dict(zip(LANDMARK_COLUMNS, points.ravel().tolist(), strict=True)),
        }
        if len(found) > 1 and not largest:
            row |= {"reason": "many_faces", "detail": f"{len(found)} faces"}
        elif face.size < self.settings["min_face"]:
            row |= {"reason": "face_too_small", "detail": f"{face.size:.0f} < {self.settings['min_face']} pixels"}
        elif np.hypot(*(points[0] - points[1])) < 1:
            row |= {"reason": "no_face", "detail": "the landmarks coincide"}
        return row, points

    def _frame(self, image: np.ndarray, points: np.ndarray | None, crop: np.ndarray | None) -> np.ndarray:
        framing = self.settings["framing"]
        if framing == "celeba":
            return alignment.frame_celeba(image, points[:2], eye_distance=self.settings["eye_distance"])
        if framing == "magface":
            return crop
        return alignment.resize_512(image) if framing == "square512" else alignment.squeeze_celeba(image)

    def _batch(self, items: list[tuple[str, np.ndarray | ImageError]]) -> Iterator[tuple[dict, np.ndarray | None]]:
        rows, crops, scored = [], [], []
        for image_id, image in items:
            row, points = self.locate(image_id, image)
            crop = alignment.align_112(image, points) if not row["reason"] and points is not None else None
            if crop is not None:
                crops.append(crop)
                scored.append(row)
            rows.append((row, image, points, crop))
        if crops:
            for row, score in zip(scored, self.scorer.score(np.stack(crops)).tolist(), strict=True):
                row["quality"] = score
                # Written so that a NaN score is kept when no threshold is set and dropped when one is.
                if self.threshold is not None and not score >= self.threshold:
                    row |= {"reason": "low_quality", "detail": f"{self.scorer.name} {score:.2f} < {self.threshold:g}"}
        for row, image, points, crop in rows:
            row["accepted"] = not row["reason"]
            yield row, self._frame(image, points, crop) if row["accepted"] else None

    def screen(
        self, items: Iterable[tuple[str, np.ndarray | ImageError]]
    ) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
        """One (row, framed crop or None) per (image id, RGB uint8 image or the error reading it), in order."""
        items = iter(items)
        while batch := list(islice(items, _BATCH)):
            yield from self._batch(batch)


def screening_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of :meth:`Screener.screen` as the screening table: fixed columns and types."""
    frame = pd.DataFrame(rows, columns=COLUMNS)
    types = {c: "float32" for c in ("detection_score", "face_size", "quality", *LANDMARK_COLUMNS)}
    types |= {"image_id": "str", "reason": "str", "detail": "str", "accepted": "bool", "n_faces": "int16"}
    return frame.astype(types)


def _origin(data: bytes, reference: str) -> Metadata | None:
    """What an image says of its origin, for its crop to say as well; None, with a warning, where that is damaged."""
    try:
        return metadata.read(data, reference)
    except UserError as error:
        log.warning("%s; its crop says nothing of its origin", error)
        return None


def _write(
    items: Iterable[tuple[str, np.ndarray | ImageError]],
    origins: dict[str, Metadata | None],
    total: int,
    label: str,
    screener: Screener,
    out_table: str | os.PathLike,
    out_crops: str | os.PathLike,
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    crop_rows: list[dict[str, str]] = []
    settings = screener.settings

    def crops() -> Iterator[tuple[str, bytes]]:
        for row, crop in progress(screener.screen(items), total, label):
            rows.append(row)
            if crop is not None:
                name = f"{len(crop_rows):06d}.jpg"
                crop_rows.append({"image_id": row["image_id"], "member": name})
                origin = origins.get(row["image_id"])
                if origin is not None:
                    origin = origin.after(f"framed {settings['framing']}, {crop.shape[1]} x {crop.shape[0]} pixels")
                yield name, encode_jpeg(crop, settings["jpeg_quality"], subsampling=0, metadata=origin)

    meta = {
        "screening_version": VERSIONS["screening"],
        "settings": settings,
        "scorer": screener.scorer.name,
        "source": label,
    }
    write_shard(out_crops, crops(), recipe=meta, rows=crop_rows)
    if not crop_rows:
        write_shard(out_crops, [], pd.DataFrame({"image_id": [], "member": []}, dtype="str"), meta)
    frame = screening_frame(rows)
    write_table(frame, out_table, kind="screening", meta=meta)
    return frame


def screen_shard(
    shard: str | os.PathLike,
    settings: dict[str, Any],
    out_table: str | os.PathLike,
    out_crops: str | os.PathLike,
    *,
    weights: dict[str, str] | None = None,
) -> pd.DataFrame:
    """Screen one image shard; write the screening table and a shard of framed crops; return the table.

    The crop shard holds the accepted images only, as JPEG, with the table (``image_id``,
    ``member``); what an image says of its origin its crop says too. Equal input and settings give equal bytes.
    """
    screener = Screener(settings_of(settings), weights)
    origins: dict[str, Metadata | None] = {}
    with read_shard(shard) as source:

        def items() -> Iterator[tuple[str, np.ndarray | ImageError]]:
            for image_id, member in zip(source.table["image_id"], source.table["member"], strict=True):
                data, reference = source.image_bytes(member), source.reference(member)
                origins[image_id] = _origin(data, reference)
                try:
                    yield image_id, decode_image(data, reference)
                except ImageError as error:
                    yield image_id, error

        return _write(items(), origins, len(source.table), source.path.stem, screener, out_table, out_crops)
