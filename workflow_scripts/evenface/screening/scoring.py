"""Scores the screened faces of several shards by MagFace: one table of magnitudes and embeddings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evenface.errors import UserError, raise_if_machine
from evenface.faces import alignment
from evenface.joblog import log, progress
from evenface.networks.finite import IN_WORDS
from evenface.screening import VERSIONS
from evenface.screening.locating import landmarks_of
from evenface.screening.magface import MagFace, magnitudes, threshold_of
from evenface.storage.images import decode_image
from evenface.storage.shards import read_shard
from evenface.storage.tables import read_table, write_table


def score_shards(
    shards: Sequence[str | os.PathLike],
    tables: Sequence[str | os.PathLike],
    scorer: MagFace,
    settings: Mapping[str, Any],
    out: str | os.PathLike,
    *,
    calibration: str | os.PathLike | None = None,
) -> pd.DataFrame:
    """Write and return the quality table of the images that screening accepted.

    ``shards`` and ``tables`` (their screening tables) have the same order. ``settings`` is the
    configuration's ``screening.magface``; ``calibration`` is the file of a calibrated threshold. Columns:
    image_id, magnitude (float32; NaN if the network's answer is not finite), accepted (magnitude at least the
    threshold), detail (why not), and embedding (list of float32, not normalised).
    """
    threshold = threshold_in(settings, scorer, calibration)
    ids: list[str] = []

    def faces() -> Iterator[tuple[bytes, str, np.ndarray]]:
        for shard, table in zip(shards, tables, strict=True):
            found = read_table(table, required=("image_id", "accepted"))
            found = found[found["accepted"]]
            landmarks = landmarks_of(found)
            if not np.isfinite(landmarks).all():
                raise UserError(f"{table}: it has faces without landmarks; MagFace needs screening with a detector")
            with read_shard(shard) as source:
                member = dict(zip(source.table["image_id"], source.table["member"], strict=True))
                for image_id, points in zip(found["image_id"], landmarks, strict=True):
                    if image_id not in member:
                        raise UserError(f"{table}: image {image_id!r} is not in {shard}; delete it and run again")
                    ids.append(image_id)
                    yield source.image_bytes(member[image_id]), source.reference(member[image_id]), points

    total = sum(int(read_table(t, required=("accepted",))["accepted"].sum()) for t in tables)
    embeddings = list(progress(scorer.embed_all(faces(), _crop), total, "quality"))
    lengths = magnitudes(np.stack(embeddings)) if embeddings else np.zeros(0, np.float32)
    # Written in this way, so that a NaN magnitude is rejected.
    accepted = lengths >= threshold
    frame = pd.DataFrame(
        {
            "image_id": pd.Series(ids, dtype="str"),
            "magnitude": lengths,
            "accepted": accepted,
            "detail": pd.Series(["" if ok else _why(v, threshold) for v, ok in zip(lengths, accepted)], dtype="str"),
            "embedding": pd.Series(
                pd.array([e.tolist() for e in embeddings], dtype=pd.ArrowDtype(pa.list_(pa.float32())))
            ),
        }
    )
    meta = {
        "quality_version": VERSIONS["quality"],
        "network": scorer.network_name,
        "weights_sha256": scorer.sha256,
        "weights": scorer.origin,
        "precision": scorer.precision,
        "threshold": threshold,
    }
    write_table(frame, out, kind="quality", meta=meta)
    if wrong := int(np.isnan(lengths).sum()):
        log.warning("%s: %s for %d of %d faces", out, IN_WORDS, wrong, len(lengths))
    return frame


def _why(length: float, threshold: float) -> str:
    return f"magnitude {length:.2f} < {threshold:g}" if np.isfinite(length) else IN_WORDS


def _crop(face: tuple[bytes, str, np.ndarray]) -> np.ndarray:
    data, reference, points = face
    return alignment.align_112(decode_image(data, reference), points)


def threshold_in(settings: Mapping[str, Any], scorer: MagFace, calibration: str | os.PathLike | None) -> float:
    """The threshold of ``settings``; if it is calibrated, it is read from the file ``calibration``."""
    return threshold_of(settings, scorer.sha256, _read_json(calibration) if calibration else None)


def _read_json(path: str | os.PathLike) -> dict[str, Any]:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: not a readable calibration ({error}); delete it and run again") from error
