"""Calibrates the magnitude below which a face counts as unusable, from faces that are known to be usable."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.intervals import Z95
from evenface.joblog import progress
from evenface.screening.locating import aligned_crops, check_readable, located, unseen_of
from evenface.screening.magface import MagFace, finite_magnitudes
from evenface.storage.atomic import write_json


def calibrate(
    faces: pd.DataFrame,
    landmarks: pd.DataFrame,
    scorer: MagFace,
    quantile: float,
    out: str | os.PathLike | None = None,
    *,
    max_unreadable: float = 0.01,
) -> dict[str, Any]:
    """The ``quantile`` of the magnitudes of a reference set, and its origin, written to ``out`` as JSON.

    ``landmarks`` is the set's table of :func:`evenface.screening.locating.locate_faces`. Images of the split
    ``train`` are left out if there are others, because a network trained on them overrates them. Besides
    ``threshold``, the record has its 95 % interval (order statistics, normal approximation), the number
    of images, their quartiles, and the hash of the weights. Raises UserError for fewer than 2 / quantile
    images, if the share of unreadable images exceeds ``max_unreadable``, and for a magnitude that is not a number.
    """
    if not 0 < quantile < 1:
        raise UserError(f"screening.magface.quantile is {quantile}; it must be between 0 and 1")
    dataset = str(faces["dataset"].iloc[0]) if len(faces) else "the reference set"
    faces = unseen_of(faces)
    unreadable = check_readable(faces, landmarks, max_unreadable, dataset)
    kept, points = located(faces, landmarks)
    if len(kept) < 2 / quantile:
        raise UserError(
            f"screening.magface.reference: {dataset} has {len(kept)} usable faces, too few for the quantile {quantile:g}; "
            "choose a larger data set or a larger quantile"
        )
    crops = progress(aligned_crops(kept["image"], points), len(kept), f"{dataset}: magnitudes")
    embeddings = np.stack(list(scorer.embed_all(crops)))
    lengths = np.sort(finite_magnitudes(embeddings, f"{dataset}, screening.magface.reference").astype(np.float64))
    half = Z95 * np.sqrt(quantile * (1 - quantile) / len(lengths))
    share = {name: float(np.clip(quantile + sign * half, 0, 1)) for name, sign in (("low", -1), ("high", 1))}
    record = {
        "threshold": round(float(np.quantile(lengths, quantile)), 4),
        "quantile": quantile,
        "interval": [round(float(np.quantile(lengths, share[k])), 4) for k in ("low", "high")],
        "reference": dataset,
        "splits": sorted(kept["split"].astype(str).unique()),
        "images": len(lengths),
        "images_without_face": int((~landmarks["accepted"]).sum()),
        **({"unreadable_by_cell": unreadable} if unreadable else {}),
        "magnitudes": {
            "mean": round(float(lengths.mean()), 4),
            **{f"q{round(100 * q)}": round(float(np.quantile(lengths, q)), 4) for q in (0.05, 0.25, 0.5, 0.75, 0.95)},
        },
        "network": scorer.network_name,
        "weights_sha256": scorer.sha256,
        "precision": scorer.precision,
    }
    if out is not None:
        write_json(out, record)
    return record
