"""Train one attribute classifier and write it with all that is needed to use and to repeat it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface import networks
from evenface.checkpoints import save_model
from evenface.errors import UserError
from evenface.pixels.faces import FaceImages, Pixels, load_faces
from evenface.seeds import seed_from
from evenface.storage.atomic import atomic_path
from evenface.training import mitigations, runtime
from evenface.training.classifiers import classifier
from evenface.training.settings import LOOP_DEFAULTS, TRAINING_DEFAULTS, resolve
from evenface.training.tasks import attribute_metrics, best_thresholds

log = logging.getLogger("evenface")


def label_matrix(faces: pd.DataFrame, attributes: Sequence[str], where: str) -> np.ndarray:
    """Labels int8 (N, a) in {+1, -1, 0}; UserError naming a column that is missing or coded otherwise."""
    for name in attributes:
        if name not in faces:
            raise UserError(f"{where}: the faces table has no column {name!r}; choose attributes it labels")
        values = faces[name].to_numpy()
        if not np.isin(values, (-1, 0, 1)).all():
            raise UserError(f"{where}: column {name!r} holds values other than 1, -1 and 0 (undefined)")
    return faces[list(attributes)].to_numpy(np.int8)


def digest_of(*parts: Any) -> str:
    """SHA-256 over the JSON text of ``parts``."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def text_digest(values: pd.Series) -> str:
    """SHA-256 over the values of a column, one a line, in order."""
    return hashlib.sha256("\n".join(values.astype(str)).encode()).hexdigest()


def load_for_training(
    faces: pd.DataFrame,
    size: tuple[int, int],
    settings: Mapping[str, Any],
    packs: Sequence[str | os.PathLike],
    scratch: Path,
    threads: int,
    label: str,
) -> tuple[FaceImages, pd.DataFrame, np.ndarray, np.ndarray]:
    """Pixels, the rows of ``faces`` they belong to, and the positions of training and validation rows.

    Raises UserError when more than ``max_unreadable`` of the images cannot be read, or a split is empty.
    """
    images = load_faces(
        faces, size, crop=settings["crop"], packs=packs, budget=settings["cache_mb"] << 20, scratch=scratch,
        threads=threads, blocks=settings["order"] == "blocks", label=f"{label}: reading",
    )  # fmt: skip
    for row in images.rejected.head(20).itertuples():
        log.warning("%s: left out, %s (%s)", row.image, row.detail, row.reason)
    if len(images.rejected) > settings["max_unreadable"] * len(faces):
        raise UserError(
            f"{len(images.rejected)} of {len(faces)} images cannot be read, the first is {images.rejected['image'][0]} "
            f"({images.rejected['detail'][0]}); repair the data set or raise max_unreadable"
        )
    kept = faces.iloc[images.rows].reset_index(drop=True)
    train_rows = np.flatnonzero(kept["split"] == "train")
    validation_rows = np.flatnonzero(kept["split"] == "val")
    for name, rows in (("train", train_rows), ("val", validation_rows)):
        if not len(rows):
            raise UserError(f"{label}: no readable images with split {name!r}")
    return images, kept, train_rows, validation_rows


def write_history(history: Sequence[Mapping[str, float]], path: str | os.PathLike) -> None:
    """Write one CSV line per epoch."""
    with atomic_path(path) as temporary:
        pd.DataFrame(list(history)).to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def _number(value: float) -> float | None:
    return None if not np.isfinite(value) else round(float(value), 6)


def train(
    faces: pd.DataFrame,
    attributes: Sequence[str],
    settings: Mapping[str, Any],
    model_path: str | os.PathLike,
    *,
    log_path: str | os.PathLike,
    seed: int,
    threads: int = 1,
    device: str = "auto",
    label: str = "training",
    origin: Mapping[str, Any] | None = None,
    packs: Sequence[str | os.PathLike] = (),
) -> dict[str, Any]:
    """Train a classifier of ``attributes`` on the rows of ``faces`` with split ``train``, judged on ``val``.

    ``faces`` is a faces table (see ``compose``); ``settings`` has keys of ``TRAINING_DEFAULTS``. Writes
    ``model_path`` (safetensors), the manifest beside it (``.json``) and ``log_path`` (CSV, one line per
    epoch), and returns the manifest; ``origin`` is copied into it (run name, table hashes). The
    pixels come from ``packs`` (see :func:`evenface.pixels.faces.load_faces`), without them from the pictures. The
    folder ``model_path`` with suffix ``.partial`` holds the state of an unfinished training, from
    which the next call with the same data and settings goes on. The same faces, settings, seed
    and threads give the same bytes on the same machine.

    Raises UserError for unknown settings, missing or miscoded labels, an attribute without any defined
    training label, empty splits, unreadable images, and divergence.
    """
    settings = resolve(settings, TRAINING_DEFAULTS, "training")
    kind = classifier(settings["classifier"])
    size = kind.size if settings["image_size"] is None else tuple(reversed(settings["image_size"]))
    mitigation = mitigations.create(settings["mitigation"], {})
    label_matrix(faces, attributes, label)
    runtime.prepare(threads)
    device = runtime.choose_device(device)
    precision = runtime.choose_precision(settings["precision"], device)
    partial = Path(model_path).with_suffix(".partial")

    import torch

    images, kept, train_rows, validation_rows = load_for_training(faces, size, settings, packs, partial, threads, label)
    labels = label_matrix(kept, attributes, label)
    counts = {}
    for column, name in enumerate(attributes):
        values = labels[train_rows, column]
        counts[name] = {k: int((values == v).sum()) for k, v in (("positive", 1), ("negative", -1), ("undefined", 0))}
        if counts[name]["undefined"] == len(train_rows):
            raise UserError(
                f"{label}: no training image has a label of {name}; drop it from training.attributes or choose a data "
                f"set that labels it"
            )
        for side in ("positive", "negative"):
            if not counts[name][side]:
                log.warning("%s: no training image has a %s label of %s; it cannot be learnt", label, side, name)

    network_settings = kind.settings(len(attributes))

    def new_network() -> torch.nn.Module:
        torch.manual_seed(seed_from(seed, "initial weights") % 2**63)
        return networks.build(kind.network, network_settings)

    data = {
        "images": len(kept),
        "train": len(train_rows),
        "validation": len(validation_rows),
        "by_dataset": {str(k): int(v) for k, v in kept["dataset"].iloc[train_rows].value_counts().sort_index().items()},
        "train_labels": counts,
        "unreadable": images.rejected["image_id"].astype(str).tolist(),
        "image_ids_sha256": text_digest(kept["image_id"]),
        "pixels_sha256": images.sha256,
        "labels_sha256": hashlib.sha256(labels.tobytes()).hexdigest(),
    }
    computed = {k: settings[k] for k in settings if k not in ("cache_mb", "save_seconds", "threshold")}
    groups = text_digest(kept["split"].str.cat([kept[c].astype(str) for c in ("gender", "age", "ethnicity")], sep=" "))
    environment = {"device": device, "precision": precision, "threads": threads, "versions": runtime.versions()}
    result = mitigation.fit(
        mitigations.Context(
            faces=kept,
            pixels=images.pixels,
            labels=labels,
            attributes=tuple(attributes),
            train_rows=train_rows,
            validation_rows=validation_rows,
            new_network=new_network,
            settings={key: settings[key] for key in LOOP_DEFAULTS},
            seed=seed,
            device=device,
            precision=precision,
            digest=digest_of(data, computed, list(attributes), seed, environment, groups),
            state_path=partial / "state.pt",
            label=label,
        )
    )

    network = new_network()
    network.load_state_dict(result.state)
    thresholds, metrics = _judge(network, images.pixels, labels, validation_rows, settings, device)
    manifest = {
        "network": {"name": kind.network, "settings": network_settings},
        "attributes": list(attributes),
        "input": {
            "rows": size[0],
            "columns": size[1],
            "channels": "RGB",
            "mean": [0.5, 0.5, 0.5],
            "deviation": [0.5, 0.5, 0.5],
            "crop": settings["crop"],
        },
        "thresholds": {name: round(float(t), 6) for name, t in zip(attributes, thresholds)},
        "seed": seed,
        "settings": dict(settings),
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "validation": {
            name: {key: _number(values[column]) for key, values in metrics.items()}
            for column, name in enumerate(attributes)
        },
        "data": data,
        "environment": environment,
        "origin": dict(origin or {}),
    }
    write_history(result.history, log_path)
    written = save_model(model_path, result.state, manifest)
    shutil.rmtree(partial, ignore_errors=True)
    return written


def _judge(
    network: Any,
    pixels: np.ndarray | Pixels,
    labels: np.ndarray,
    rows: np.ndarray,
    settings: Mapping[str, Any],
    device: str,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Thresholds and validation metrics, computed in the precision predictions are made in."""
    import torch

    from evenface.training.loop import outputs_of

    network = network.to(device, memory_format=torch.channels_last)
    outputs = outputs_of(network, pixels, rows, batch_size=settings["batch_size"], device=device, precision="float32")
    scores = torch.sigmoid(outputs).numpy()
    if settings["threshold"] == "validation":
        thresholds = np.round(best_thresholds(scores, labels[rows]), 6)
    else:
        thresholds = np.full(labels.shape[1], 0.5)
    return thresholds, attribute_metrics(scores, labels[rows], thresholds)
