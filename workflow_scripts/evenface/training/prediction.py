"""Scores every image of a faces table with a trained classifier."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.checkpoints import load_model
from evenface.datasets.unreadable import check_unreadable
from evenface.errors import UserError, check_names
from evenface.joblog import progress
from evenface.networks.finite import IN_WORDS
from evenface.pixels.background import prefetch
from evenface.pixels.decoding import chunks, decoded
from evenface.pixels.faces import open_packs, packed_faces
from evenface.storage.images import ImageError
from evenface.storage.tables import write_table
from evenface.targets import SEPARATOR, add_accuracy, blocks, has
from evenface.taxonomy import dimensions_of
from evenface.training import runtime
from evenface.training.fitting import label_matrix

_BATCH = 64


def _batches(
    faces: pd.DataFrame,
    size: tuple[int, int],
    crop: float | None,
    packs: Sequence[str | os.PathLike],
    threads: int,
    label: str,
) -> Iterator[tuple[Sequence[int], np.ndarray, list[ImageError]]]:
    """Readable images of ``faces`` in batches, with their positions and the errors of the others."""
    opened = open_packs(packs, size, crop, threads)
    if not opened:
        yield from _groups(
            progress(decoded(faces["image"].tolist(), size, crop=crop, threads=threads), len(faces), label)
        )
        return
    images = packed_faces(faces, opened)
    yield [], np.empty(0, np.uint8), [ImageError(r.image, r.reason, r.detail) for r in images.rejected.itertuples()]
    parts = chunks(len(images.rows), _BATCH)
    for part in progress(parts, len(images.rows), label, count=lambda part: part.stop - part.start):
        yield images.rows[part], images.pixels[np.arange(part.start, part.stop)], []


def _groups(images: Iterator) -> Iterator[tuple[list[int], np.ndarray, list[ImageError]]]:
    positions: list[int] = []
    batch: list[np.ndarray] = []
    errors: list[ImageError] = []
    for position, image in enumerate(images):
        if isinstance(image, ImageError):
            errors.append(image)
            continue
        positions.append(position)
        batch.append(image)
        if len(batch) == _BATCH:
            yield positions, np.stack(batch), errors
            positions, batch, errors = [], [], []
    if positions or errors:
        yield positions, np.stack(batch) if batch else np.empty(0, np.uint8), errors


def predict(
    model_path: str | os.PathLike,
    faces: pd.DataFrame,
    out: str | os.PathLike,
    *,
    attributes: Sequence[str] | None = None,
    split: str | None = None,
    crop: float | None = None,
    threads: int = 1,
    device: str = "auto",
    label: str = "predicting",
    max_unreadable: float = 0.01,
    packs: Sequence[str | os.PathLike] = (),
) -> pd.DataFrame:
    """Score the faces with the model and write the predictions table to ``out``; returns it too.

    ``attributes`` (default: all attributes of the model that the table labels) must be in both. ``split`` keeps
    only rows of that split. ``crop`` is explained at ``fit_picture``. Pixels come from ``packs`` if these have the
    model's size and this crop, else from the pictures. Columns: image_id, identity_id, gender, age, ethnicity, then
    per attribute ``score_<name>`` float32 in [0, 1] and ``label_<name>`` int8 in {+1, -1, 0}; a categorical target has these
    for every class, and ``pred_<target>`` and ``label_<target>``, as :mod:`evenface.targets` says. The table's metadata
    hold the model's thresholds and how they were chosen, the hash of its weights, and the rows whose image could not be
    read, also counted by cell. Predictions are computed in float32, even if the training used another precision. Raises UserError when an
    attribute is unknown, when no row is left, when the model's answer for an image is not finite, or when more images
    are unreadable than ``max_unreadable`` allows (:func:`evenface.datasets.unreadable.check_unreadable`).
    """
    runtime.prepare(threads)
    device = runtime.choose_device(device)
    import torch

    from evenface.networks.normalisation import Normalisation
    from evenface.training.forward import outputs_of
    from evenface.training.tasks import scores_of

    network, manifest = load_model(model_path, device)
    network = network.to(memory_format=torch.channels_last)
    known = manifest["attributes"]
    names = [a for a in known if has(faces, a)] if attributes is None else list(attributes)
    check_names(f"attributes of {model_path}", names, known)
    places = blocks(known)
    for target, place in places.items():
        if 0 < len(set(known[place]) & set(names)) < len(known[place]):
            raise UserError(
                f"{label}: only some classes of {target} are asked for; ask for all: {', '.join(known[place])}"
            )
    if not names:
        raise UserError(f"the faces table labels none of the attributes {model_path} predicts: {', '.join(known)}")
    if split is not None:
        faces = faces[faces["split"] == split]
    if not len(faces):
        raise UserError(f"no faces to score{'' if split is None else f' with split {split!r}'}; check the faces table")
    faces = faces.reset_index(drop=True)
    labels = label_matrix(faces, names, label)

    size = manifest["input"]["rows"], manifest["input"]["columns"]
    normalisation = Normalisation(manifest["input"]["mean"], manifest["input"]["deviation"])
    scores = np.full((len(faces), len(known)), np.nan, np.float32)
    errors: list[ImageError] = []
    read = np.zeros(len(faces), bool)
    for positions, batch, failed in prefetch(_batches(faces, size, crop, packs, threads, label)):
        errors += failed
        if len(positions):
            outputs = outputs_of(
                network, batch, np.arange(len(batch)), batch_size=_BATCH, device=device, normalisation=normalisation
            )
            scores[positions] = scores_of(outputs, places).numpy()
            read[positions] = True
    _check_finite(faces[read], scores[read], model_path, label)
    rejected = pd.DataFrame(
        [
            {"image_id": str(i), "image": e.reference, "reason": e.reason, "detail": e.detail}
            for i, e in zip(faces["image_id"][~read], errors, strict=True)
        ]
    )
    by_cell = check_unreadable(faces, rejected, max_unreadable, key="evaluation.max_unreadable", label=label)
    table = faces.loc[read, ["image_id", "identity_id", *dimensions_of(faces.columns)]].reset_index(drop=True)
    for column, name in enumerate(names):
        table[f"score_{name}"] = scores[read, known.index(name)]
        table[f"label_{name}"] = labels[read, column]
    add_accuracy(table, names)
    binary = [name for name in names if SEPARATOR not in name]
    meta: dict[str, Any] = {
        "dataset": _only(faces, "dataset"),
        "split": split or "all",
        "label_source": _only(faces, "labels_source"),
        "group_source": _only(faces, "demographics_source"),
        "thresholds": {name: manifest["thresholds"][name] for name in binary},
        "threshold_choice": {name: manifest.get("threshold_choice", {}).get(name, {}) for name in binary},
        "label_coding": "minus_one_one",
        "weights_sha256": manifest["weights_sha256"],
        "crop": crop,
        "unreadable": rejected.to_dict("records"),
        **({"unreadable_by_cell": by_cell} if by_cell else {}),
    }
    write_table(table, out, kind="predictions", meta=meta)
    return table


def _check_finite(faces: pd.DataFrame, scores: np.ndarray, model_path: str | os.PathLike, label: str) -> None:
    """Stop if a score is not a number: it says neither present nor absent, and leaving faces out would favour the model."""
    wrong = np.isnan(scores).any(axis=1)
    if wrong.any():
        raise UserError(
            f"{label}: {IN_WORDS} for {wrong.sum()} of {len(wrong)} images, the first {faces['image'][wrong].iloc[0]}; they "
            f"are neither present nor absent. Delete {model_path} and train again with a lower training.learning_rate, or "
            f"repair the file if it was damaged"
        )


def _only(faces: pd.DataFrame, column: str) -> str:
    """The values of a column as one text: usually there is only one."""
    return ", ".join(sorted(set(faces[column].astype(str)))) if column in faces else ""
