"""One run of the configuration: composes its training set, trains and writes the classifier."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from evenface.storage.tables import read_table
from evenface.training.composition import compose
from evenface.training.fitting import train
from evenface.training.session import text_digest


def train_run(
    tables: Mapping[str, str | os.PathLike],
    recipe: Mapping[str, Any],
    model: str | os.PathLike,
    log: str | os.PathLike,
    *,
    packs: Sequence[str | os.PathLike] = (),
    threads: int = 1,
    device: str = "auto",
) -> dict[str, Any]:
    """Train the classifier of one run and seed; returns its manifest.

    ``tables`` maps real and synthetic to faces tables, if the run uses them. ``recipe`` holds ``run``, ``seed``,
    ``synthetic_per_real``, ``attributes`` and ``settings`` (see :func:`evenface.training.train`). ``packs`` hold the
    pixels. The manifest records which faces the run was trained on.
    """
    frame = compose({k: read_table(v) for k, v in tables.items()}, recipe, recipe["seed"])
    origin = {
        "run": recipe["run"],
        "faces": {str(k): int(v) for k, v in frame["origin"].value_counts().sort_index().items()},
        "faces_sha256": text_digest(frame["image_id"]),
    }
    return train(
        frame, recipe["attributes"], recipe["settings"], model, log_path=log, seed=recipe["seed"], threads=threads,
        device=device, label=f"{recipe['run']}-{recipe['seed']}", origin=origin, packs=packs,
    )  # fmt: skip


def tables_of(paths: Sequence[str], recipe: Mapping[str, Any]) -> dict[str, str]:
    """The run's faces tables by origin; if the run has real faces, their table comes first."""
    origins = ["real"] * bool(recipe["real"]) + ["synthetic"] * bool(recipe["synthetic"])
    return dict(zip(origins, paths, strict=True))
