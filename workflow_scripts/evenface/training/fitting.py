"""Trains one attribute classifier and writes it, with everything needed to use it and to repeat the training."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evenface.datasets.unreadable import check_unreadable
from evenface.errors import UserError
from evenface.networks.finite import IN_WORDS
from evenface.parts import Method, Network, Settings
from evenface.pixels.faces import Pixels, load_faces
from evenface.targets import SEPARATOR, blocks, has, labels_of, wrong_row
from evenface.taxonomy import dimensions_of
from evenface.training.session import Session, file_digest, text_digest
from evenface.training.settings import ClassifierSettings, choose, input_size, resolve
from evenface.training.thresholds import FIXED, TOO_FEW, Threshold, choose_thresholds

if TYPE_CHECKING:
    from torch import Tensor, nn

    from evenface.training.method import Problem

log = logging.getLogger("evenface")


def label_matrix(faces: pd.DataFrame, attributes: Sequence[str], where: str) -> np.ndarray:
    """Labels int8 (N, a) in {+1, -1, 0}; UserError naming a column that is missing or coded otherwise."""
    for name in attributes:
        if not has(faces, name):
            raise UserError(f"{where}: the faces table has no column {name!r}; choose attributes it labels")
        values = labels_of(faces, name)
        if not np.isin(values, (-1, 0, 1)).all():
            raise UserError(f"{where}: column {name!r} holds values other than 1, -1 and 0 (undefined)")
    labels = np.stack([labels_of(faces, name).astype(np.int8) for name in attributes], axis=1)
    for target, place in blocks(attributes).items():
        if (row := wrong_row(labels[:, place])) is not None:
            raise UserError(
                f"{where}: row {row + 1} of the faces table has not exactly one class of {target}; read it again"
            )
    return labels


@dataclass(frozen=True)
class LabelledFaces:
    """The readable rows of a faces table, ``faces``, and what a training of ``attributes`` takes from them.

    ``pixels`` uint8 (N, rows, columns, 3), an array or :class:`evenface.pixels.faces.Pixels`; ``labels`` int8 (N, a)
    in {+1, -1, 0}; ``train_rows`` and ``validation_rows`` int64, positions in these; ``described`` for the manifest:
    the ids of images that were left out and their counts by cell, digests of ids and pixels.
    """

    faces: pd.DataFrame
    pixels: np.ndarray | Pixels
    attributes: tuple[str, ...]
    labels: np.ndarray
    train_rows: np.ndarray
    validation_rows: np.ndarray
    described: dict[str, Any]

    def problem(self, session: Session, draw: Callable[..., nn.Module], **more: Any) -> Problem:
        """What a method is given of them."""
        from evenface.training.method import Problem

        return Problem(
            session=session, settings=session.settings, faces=self.faces, pixels=self.pixels,
            train_rows=self.train_rows, validation_rows=self.validation_rows, draw=draw, labels=self.labels,
            attributes=self.attributes, **more,
        )  # fmt: skip


def load_for_training(
    session: Session,
    faces: pd.DataFrame,
    attributes: Sequence[str],
    size: tuple[int, int],
    packs: Sequence[str | os.PathLike],
    where: str,
) -> LabelledFaces:
    """The rows of ``faces`` with their pixels at ``size`` (rows, columns), read as the session's settings say.

    Raises UserError for missing or miscoded labels, when more images than ``max_unreadable`` of the configuration's
    block ``where`` allows cannot be read (see :func:`evenface.datasets.unreadable.check_unreadable`), and for an
    empty split.
    """
    settings, label = session.settings, session.label
    label_matrix(faces, attributes, label)
    images = load_faces(
        faces, size, crop=settings.crop, packs=packs, budget=settings.cache_mb << 20, scratch=session.folder,
        threads=session.threads, blocks=settings.order == "blocks", label=f"{label}: reading",
    )  # fmt: skip
    key = f"{where}.max_unreadable"
    by_cell = check_unreadable(faces, images.rejected, settings.max_unreadable, key=key, label=label)
    kept = faces.iloc[images.rows].reset_index(drop=True)
    train_rows = np.flatnonzero(kept["split"] == "train")
    validation_rows = np.flatnonzero(kept["split"] == "val")
    for name, rows in (("train", train_rows), ("val", validation_rows)):
        if not len(rows):
            raise UserError(f"{label}: no readable images with split {name!r}")
    described = {
        "unreadable": images.rejected["image_id"].astype(str).tolist(),
        **({"unreadable_by_cell": by_cell} if by_cell else {}),
        "image_ids_sha256": text_digest(kept["image_id"]),
        "pixels_sha256": images.sha256,
    }
    labels = label_matrix(kept, attributes, label)
    return LabelledFaces(kept, images.pixels, tuple(attributes), labels, train_rows, validation_rows, described)


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

    ``faces`` is a faces table (see ``compose``); ``settings`` has keys of ``ClassifierSettings``. Writes
    ``model_path`` (safetensors), the manifest (``.json``) and ``log_path`` (CSV, one row per epoch), and returns the
    manifest. ``origin`` is copied into it (run name, table hashes). The pixels come from ``packs`` (see
    :func:`evenface.pixels.faces.load_faces`), or without packs from the pictures. An interrupted training continues
    when it is called again with the same data and settings (see :class:`evenface.training.session.Session`). The same
    faces, settings, seed and threads give the same bytes on the same machine.

    Raises UserError for unknown settings, missing or wrongly coded labels, an attribute without any defined
    training label, empty splits, too many unreadable images, initial weights of another network, and divergence.
    """
    settings = resolve(ClassifierSettings, settings, "training")
    kind, network_settings = choose(Network, settings.network, "training.network")
    way, method_settings = choose(Method, settings.method, "training.method")
    size = input_size(settings)
    session = Session(model_path, settings, seed=seed, threads=threads, device=device, label=label, where="training")

    from evenface.networks.normalisation import Normalisation

    shown = load_for_training(session, faces, attributes, size, packs, "training")
    kept, train_rows = shown.faces, shown.train_rows
    data = {
        "images": len(kept),
        "train": len(train_rows),
        "validation": len(shown.validation_rows),
        "by_dataset": {str(k): int(v) for k, v in kept["dataset"].iloc[train_rows].value_counts().sort_index().items()},
        "train_labels": _label_counts(shown.labels[train_rows], attributes, label),
        **shown.described,
        "labels_sha256": hashlib.sha256(shown.labels.tobytes()).hexdigest(),
    }
    if settings.initial_weights:
        data["initial_weights_sha256"] = file_digest(settings.initial_weights)
    levels = [kept[dimension].astype(str) for dimension in dimensions_of(kept.columns)]
    groups = text_digest(kept["split"].str.cat(levels, sep=" "))
    session.identify(data, list(attributes), groups, kind.version, way.version)
    problem = shown.problem(
        session,
        lambda *names: new_network(session, kind, network_settings, len(attributes), settings.initial_weights, *names),
        normalisation=Normalisation(kind.mean, kind.deviation),
    )
    method = way.load()(problem, method_settings)
    fitted = method.run(session)

    network, rows = method.networks["network"], shown.validation_rows
    outputs = problem.outputs(network, rows, "float32")
    people = kept["identity_id"].iloc[rows] if "identity_id" in kept else kept["image_id"].iloc[rows]
    thresholds, metrics = _judge(outputs, shown.labels[rows], people, session, attributes)
    manifest = {
        "network": {
            "name": kind.name,
            "outputs": len(attributes),
            "settings": network_settings.model_dump(mode="json"),
        },
        "method": {"name": way.name, **method_settings.model_dump(mode="json")},
        "attributes": list(attributes),
        "input": {
            "rows": size[0],
            "columns": size[1],
            "channels": "RGB",
            "mean": list(kind.mean),
            "deviation": list(kind.deviation),
            "crop": settings.crop,
        },
        "thresholds": {name: one.value for name, one in thresholds.items()},
        "threshold_choice": {name: one.described() for name, one in thresholds.items()},
        "validation": {
            name: {key: _number(values[column]) for key, values in metrics.items()}
            for column, name in enumerate(attributes)
        },
        **({"targets": {t: list(attributes[p]) for t, p in blocks(attributes).items()}} if blocks(attributes) else {}),
        "data": data,
        "origin": dict(origin or {}),
    }
    state = network.state_dict()
    return session.write(fitted, state, manifest, log_path)


def new_network(
    session: Session, kind: Network, settings: Settings, outputs: int, weights: str | None, *names: object
) -> nn.Module:
    """The network with its initial weights: random, or those of the file ``weights``.

    Layers whose shape depends on the number of outputs stay random if they have another shape in the file.
    """
    network = session.draw(lambda: kind.load()(outputs, settings), *names)
    if not weights:
        return network
    from evenface.checkpoints import load_initial
    from evenface.checkpoints.fitting import shapes

    mine, other = (shapes(lambda n=n: kind.load()(n, settings)) for n in (outputs, outputs + 1))
    try:
        drawn = load_initial(network, weights, kind.name, [name for name in mine if mine[name] != other[name]])
    except UserError as error:
        raise UserError(f"{error}. {_remedy(weights, kind.name)}") from error
    if drawn:
        log.info(
            "%s: %s has another number of outputs; new random weights for %s", session.label, weights, ", ".join(drawn)
        )
    return network


def _remedy(weights: str, name: str) -> str:
    """What to change where a file of initial weights does not fit the network called ``name``."""
    from evenface.checkpoints import read_manifest

    try:
        other = read_manifest(weights)["network"]["name"]
    except (UserError, KeyError, TypeError):  # not a file of this workflow
        other = name
    if other != name:
        return f"The file is of the network {other}, and {name} is trained; set network: {other}, or initial_weights of {name}"
    return f"{name} is trained; set network and its settings to those of the file, or initial_weights of this network"


def _label_counts(labels: np.ndarray, attributes: Sequence[str], label: str) -> dict[str, dict[str, int]]:
    """Numbers of training labels of every attribute; UserError for an attribute without any."""
    counts = {}
    for name, values in zip(attributes, labels.T):
        counts[name] = {k: int((values == v).sum()) for k, v in (("positive", 1), ("negative", -1), ("undefined", 0))}
        if counts[name]["undefined"] == len(values):
            raise UserError(
                f"{label}: no training image has a label of {name}; drop it from training.attributes or choose a data "
                f"set that labels it"
            )
        for side in ("positive", "negative"):
            if not counts[name][side]:
                log.warning("%s: no training image has a %s label of %s; it cannot be learnt", label, side, name)
    return counts


def _judge(
    outputs: Tensor, labels: np.ndarray, people: pd.Series, session: Session, attributes: Sequence[str]
) -> tuple[dict[str, Threshold], dict[str, np.ndarray]]:
    """Thresholds of binary attributes, and validation metrics of outputs (n, a), computed in the precision of predictions.

    ``people`` (n,) are the identities of the validation images. Raises UserError for outputs that are not finite.
    """
    from evenface.training.tasks import attribute_metrics, one_hot, scores_of

    places = blocks(attributes)
    scores = scores_of(outputs, places).numpy()
    if wrong := int(np.isnan(scores).any(1).sum()):
        raise UserError(
            f"{session.label}: {IN_WORDS} for {wrong} of {len(scores)} validation images after the training; lower "
            f"training.learning_rate"
        )
    binary = [k for k, name in enumerate(attributes) if SEPARATOR not in name]
    found = choose_thresholds(
        scores[:, binary],
        labels[:, binary],
        people,
        seed=session.seed,
        chosen=session.settings.threshold == "validation",
    )
    thresholds = np.full(len(attributes), FIXED)
    thresholds[binary] = [one.value for one in found]
    metrics = attribute_metrics(one_hot(scores, places), labels, thresholds)
    names = [attributes[k] for k in binary]
    sides = (metrics[side][binary] for side in ("positives", "negatives"))
    for name, one, positives, negatives in zip(names, found, *sides, strict=True):
        if one.chosen == TOO_FEW:
            log.warning(
                "%s: the threshold of %s stays 0.5, because the validation split has %d positive and %d negative labels of "
                "it; give it more images, or set training.threshold: fixed", session.label, name, positives, negatives,
            )  # fmt: skip
    return dict(zip(names, found, strict=True)), metrics
