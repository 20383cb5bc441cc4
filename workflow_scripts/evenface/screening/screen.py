"""Screening: find the one face of an image, frame it and score it; or say why this is not possible.

Every image keeps its row; a rejected image has ``accepted`` false and a reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa

from evenface.checkpoints.origin import recorded
from evenface.errors import UserError, check_names
from evenface.faces import LANDMARK_COLUMNS, alignment
from evenface.generators.earlier import newest, shards_with
from evenface.joblog import log, progress
from evenface.networks.finite import NOT_FINITE
from evenface.parts import Detector, part, parts
from evenface.plan.paths import ALIGNED
from evenface.plan.paths import SCREENING as SCREENED
from evenface.plan.shards import draws_of, recipe_digest
from evenface.screening import VERSIONS, quality
from evenface.screening.settings import ScreeningSettings
from evenface.storage import metadata
from evenface.storage.images import ImageError, decode_image, encode_jpeg
from evenface.storage.metadata import Metadata
from evenface.storage.shards import Shard, read_shard, write_shard
from evenface.storage.tables import read_arrow, table_meta, table_of, write_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["image_id", "accepted", "reason", "detail", "n_faces", "detection_score", "face_size",
           *LANDMARK_COLUMNS, "quality"]  # fmt: skip

_BATCH = 64


def settings_of(config: dict[str, Any] | None) -> dict[str, Any]:
    """Complete screening settings: ``config`` with its defaults. Raises UserError naming the key.

    The section's ``magface`` is left out, because it judges afterwards (:mod:`evenface.screening.scoring`).
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
    files; ``origin`` has the verdicts on them (:mod:`evenface.checkpoints.origin`). Raises UserError for missing weights.
    """

    def __init__(self, settings: dict[str, Any], weights: dict[str, str] | None = None):
        self.settings = settings
        self.scorer, self.threshold = quality.from_config(settings)
        self.finder = None
        with recorded() as self.origin:
            if settings["detector"] != "none":
                able = [name for name, detector in parts(Detector).items() if detector.screens]
                check_names("screening.detector", [settings["detector"]], [*able, "none"])
                self.finder = part(Detector, settings["detector"], "screening.detector").load()(settings, weights or {})
        cv2.setNumThreads(1)

    def locate(self, image_id: str, image: np.ndarray | ImageError) -> tuple[dict[str, Any], np.ndarray | None]:
        """One row of the screening table, and the landmarks (None without a face); quality is not judged."""
        if isinstance(image, ImageError):
            fields, points = {"reason": "unreadable", "detail": image.detail}, None
        else:
            fields, points = self._examine(image)
        row = {"image_id": image_id, "accepted": False, "detail": "", "n_faces": -1, "quality": np.nan} | fields
        row["accepted"] = not row["reason"]
        return row, points

    def framed(self, image_id: str, image: np.ndarray | ImageError) -> tuple[dict[str, Any], np.ndarray | None]:
        """One row of the screening table, and the framed face, RGB uint8 (None without a face); quality is not judged."""
        row, points = self.locate(image_id, image)
        if row["reason"]:
            return row, None
        crop = alignment.align_112(image, points) if self.settings["framing"] == "magface" else None
        return row, self._frame(image, points, crop)

    def _examine(self, image: np.ndarray) -> tuple[dict[str, Any], np.ndarray | None]:
        """Row fields and landmarks of one image; the landmarks are None without a face."""
        if self.finder is None:
            return {"reason": ""}, None
        found = self.finder.detect(image)
        if not found:
            return {"reason": "no_face", "n_faces": 0}, None
        if not all(np.isfinite([*d.box, d.score]).all() for d in found):
            return {"reason": NOT_FINITE, "detail": "the detector's numbers are not finite"}, None
        largest = self.settings["many_faces"] == "largest"
        face = max(found, key=lambda d: d.size) if largest else found[0]
        points = self.finder.landmarks(image, face)
        if not np.isfinite(points).all():
            return {"reason": NOT_FINITE, "detail": "the face's landmarks are not finite numbers"}, None
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
        wanted = self.scorer.name != "none" or self.settings["framing"] == "magface"
        for image_id, image in items:
            row, points = self.locate(image_id, image)
            crop = alignment.align_112(image, points) if wanted and not row["reason"] and points is not None else None
            if crop is not None:
                crops.append(crop)
                scored.append(row)
            rows.append((row, image, points, crop))
        if crops:
            for row, score in zip(scored, self.scorer.score(np.stack(crops)).tolist(), strict=True):
                row["quality"] = score
                if self.scorer.name != "none" and not np.isfinite(score):
                    row |= {
                        "reason": NOT_FINITE,
                        "detail": f"{self.scorer.name} is not a finite number",
                        "quality": np.nan,
                    }
                elif self.threshold is not None and not score >= self.threshold:
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


def screening_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of :meth:`Screener.screen` as the screening table: fixed columns and types, null for missing numbers."""
    types = {c: pa.float32() for c in ("detection_score", "face_size", "quality", *LANDMARK_COLUMNS)}
    types |= {"accepted": pa.bool_(), "n_faces": pa.int16()}
    return table_of(rows, pa.schema([(c, types.get(c, pa.string())) for c in COLUMNS]))


def screening_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """:func:`screening_table` as a frame."""
    return screening_table(rows).to_pandas()


def _origin(data: bytes, reference: str) -> Metadata | None:
    """An image's metadata, to be repeated in its crop; None, with a warning, if they are damaged."""
    try:
        return metadata.read(data, reference)
    except UserError as error:
        log.warning("%s; its crop says nothing of its origin", error)
        return None


def screen_shard(
    shard: str | os.PathLike,
    settings: dict[str, Any],
    out_table: str | os.PathLike,
    out_crops: str | os.PathLike,
    *,
    weights: dict[str, str] | None = None,
) -> pa.Table:
    """Screen one image shard; write the screening table and a shard of framed crops; return the table.

    The crop shard holds only the accepted images, as JPEG, with the table (``image_id``, ``member``). Crops repeat
    the metadata of their images. Equal input and settings give equal bytes. If another shard beside this one has the
    same image, screened with the same settings, the result is copied.
    """
    screener = Screener(settings_of(settings), weights)
    settings = screener.settings
    meta = {"screening_version": VERSIONS["screening"], "settings": settings, "scorer": screener.scorer.name}
    meta["weights"] = screener.origin
    with read_shard(shard) as source:
        meta |= {"source": source.path.stem}
        members = {row["image_id"]: row["member"] for row in source.rows()}
        known = screened_before(source, members, meta, newest((weights or {}).values()))
        origins: dict[str, Metadata | None] = {}

        def items() -> Iterator[tuple[str, np.ndarray | ImageError]]:
            for image_id, member in members.items():
                if image_id in known:
                    continue
                data, reference = source.image_bytes(member), source.reference(member)
                origins[image_id] = _origin(data, reference)
                try:
                    yield image_id, decode_image(data, reference)
                except ImageError as error:
                    yield image_id, error

        def encoded(row: dict[str, Any], crop: np.ndarray | None) -> tuple[dict[str, Any], bytes | None]:
            if crop is None:
                return row, None
            origin = origins[row["image_id"]]
            if origin is not None:
                origin = origin.after(f"framed {settings['framing']}, {crop.shape[1]} x {crop.shape[0]} pixels")
            return row, encode_jpeg(crop, settings["jpeg_quality"], subsampling=0, metadata=origin)

        rows: list[dict[str, Any]] = []
        crop_rows: list[dict[str, str]] = []

        def crops() -> Iterator[tuple[str, bytes]]:
            screened = screener.screen(items())
            for image_id in progress(members, len(members), source.path.stem):
                row, crop = known[image_id] if image_id in known else encoded(*next(screened))
                rows.append(row)
                if crop is not None:
                    name = f"{len(crop_rows):06d}.jpg"
                    crop_rows.append({"image_id": image_id, "member": name})
                    yield name, crop

        write_shard(out_crops, crops(), recipe=meta, rows=crop_rows)
    table = screening_table(rows)
    write_table(table, out_table, kind="screening", meta=meta)
    return table


def screened_before(
    source: Shard, members: Mapping[str, str], meta: Mapping[str, Any], since: int
) -> dict[str, tuple[dict[str, Any], bytes | None]]:
    """image_id -> row and encoded crop (or None), of images that other shards beside ``source`` have too.

    They count if the image has the same bytes and was screened with the settings in ``meta``, not before ``since``
    (nanoseconds), the time when the detector's files last changed.
    """
    known: dict[str, tuple[dict[str, Any], bytes | None]] = {}
    for path in shards_with(source.path, {recipe_digest(draw) for draw in draws_of(source.recipe)}):
        tables, crops = (path.with_name(path.stem + ending) for ending in (SCREENED, ALIGNED))
        try:
            dates = [file.stat().st_mtime_ns for file in (path, tables, crops)]
            stored = table_meta(tables)
            if min(dates[1:]) < max(since, dates[0]) or any(stored.get(k) != meta[k] for k in meta if k != "source"):
                continue
            with read_shard(path) as images, read_shard(crops) as framed:
                names = {row["image_id"]: row["member"] for row in images.rows()}
                crop_of = {row["image_id"]: row["member"] for row in framed.rows()}
                for row in read_arrow(tables, required=COLUMNS).to_pylist():
                    image_id = row["image_id"]
                    if image_id not in members or image_id in known:
                        continue
                    if images.image_bytes(names[image_id]) == source.image_bytes(members[image_id]):
                        known[image_id] = row, framed.image_bytes(crop_of[image_id]) if row["accepted"] else None
        except (OSError, KeyError, ValueError, pa.ArrowException, UserError):  # not screened, or damaged
            continue
    if known:
        log.info("%d of %d images were screened before", len(known), len(members))
    return known
