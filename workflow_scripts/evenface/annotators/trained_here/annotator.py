"""The annotator this workflow trains: attributes and demographics from one small network.

It learns from a data set that is independent of the generated faces. Its disagreement with the generator's
truth therefore measures annotation error. A minimum of validation accuracy and a confusion matrix per group
say how far it can be trusted.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from evenface import networks
from evenface.annotators.annotating import annotation_frame, undefined_frame
from evenface.annotators.confusion import confusion
from evenface.annotators.trained_here import PART
from evenface.annotators.trained_here.settings import TrainedHereSettings
from evenface.checkpoints import load_model
from evenface.errors import UserError
from evenface.pixels.decoding import fit_image
from evenface.storage.csv import write_csv
from evenface.taxonomy import study
from evenface.training import runtime
from evenface.training.fitting import load_for_training
from evenface.training.forward import outputs_of
from evenface.training.method import ImageMethod, Problem
from evenface.training.session import Session, text_digest
from evenface.training.settings import ANNOTATOR_SIZE, resolve
from evenface.training.tasks import attribute_metrics, masked_bce

log = logging.getLogger("evenface")

_BATCH = 64


class MultiTask(ImageMethod):
    """Attributes (masked binary cross entropy) and dimensions (cross entropy over known levels), summed.

    ``levels`` maps each dimension to int64 (N,) positions in its levels, -1 unknown.
    """

    def __init__(self, problem: Problem, levels: Mapping[str, np.ndarray]):
        super().__init__(problem)
        self.labels = torch.tensor(problem.labels)
        self.levels = {name: torch.tensor(values) for name, values in levels.items()}
        self.slices = self.networks["network"].slices

    def loss(self, outputs: Tensor, features: Tensor | None, rows: np.ndarray) -> Tensor:
        """Sum of the heads' mean losses."""
        total = masked_bce(outputs[:, self.slices["attributes"]], self.labels[rows].to(outputs.device))
        for name, values in self.levels.items():
            target = values[rows].to(outputs.device)
            known = (target >= 0).sum().clamp(min=1)
            total = (
                total
                + functional.cross_entropy(outputs[:, self.slices[name]], target, ignore_index=-1, reduction="sum")
                / known
            )
        return total

    def judge(self, outputs: Tensor, rows: np.ndarray) -> dict[str, float]:
        """Loss and the accuracy of each head (attributes together)."""
        numbers = {"loss": float(self.loss(outputs, None, rows))}
        labels = self.labels[rows]
        right = (outputs[:, self.slices["attributes"]] > 0) == (labels > 0)
        numbers["attributes"] = float(right[labels != 0].float().mean()) if (labels != 0).any() else 0.0
        for name, values in self.levels.items():
            target = values[rows]
            known = target >= 0
            hits = outputs[:, self.slices[name]].argmax(1)[known] == target[known]
            numbers[name] = float(hits.float().mean()) if known.any() else 0.0
        return numbers


def _level_codes(faces: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        dimension: faces[dimension].map({level: i for i, level in enumerate(levels)}).fillna(-1).to_numpy(np.int64)
        for dimension, levels in study().items()
    }


def train_annotator(
    faces: pd.DataFrame,
    attributes: Sequence[str],
    settings: Mapping[str, Any],
    model_path: str | os.PathLike,
    *,
    confusion_path: str | os.PathLike,
    log_path: str | os.PathLike,
    seed: int,
    threads: int = 1,
    device: str = "auto",
    label: str = "annotator",
    packs: Sequence[str | os.PathLike] = (),
) -> dict[str, Any]:
    """Train the annotator on a faces table with splits, check it, and write it.

    Writes ``model_path`` (safetensors, and a manifest), ``log_path`` (CSV, one row per epoch) and ``confusion_path``
    (CSV, see :func:`evenface.annotators.confusion.confusion`). The last has a column ``split``: validation rows
    decide whether the annotator is accepted; test rows are used for nothing else. Returns the manifest. An
    interrupted training continues where it stopped. An attribute or dimension may have a validation accuracy below
    ``min_validation_accuracy``. If ``may_withhold`` lists it, it is withheld: its labels are undefined. Otherwise a
    UserError says so, and nothing is written.
    """
    settings = resolve(TrainedHereSettings, settings, "annotation.trained_here")
    session = Session(
        model_path, settings, seed=seed, threads=threads, device=device, label=label, where="annotation.trained_here"
    )
    shown = load_for_training(session, faces, attributes, ANNOTATOR_SIZE, packs, "annotation.trained_here")
    kept = shown.faces
    levels = _level_codes(kept)
    for dimension, codes in levels.items():
        unseen = [n for i, n in enumerate(study()[dimension]) if not (codes[shown.train_rows] == i).any()]
        if unseen:
            raise UserError(
                f"{label}: no training image of data set {settings.dataset!r} has the {dimension} {unseen[0]!r}; choose "
                f"a data set annotated with every level for annotation.trained_here.dataset"
            )
    network_settings = {"attributes": len(attributes), "levels": {d: len(v) for d, v in study().items()}}
    data = {
        "train": len(shown.train_rows),
        "validation": len(shown.validation_rows),
        **shown.described,
        "labels_sha256": hashlib.sha256(b"".join(v.tobytes() for v in (shown.labels, *levels.values()))).hexdigest(),
    }
    session.identify(data, list(attributes), text_digest(kept["split"]))
    problem = shown.problem(
        session, lambda *names: session.draw(lambda: networks.build("multi_task", network_settings), *names)
    )
    method = MultiTask(problem, levels)
    fitted = method.run(session)
    network = method.networks["network"]

    tables, accuracy = [], {}
    for split, name in (("val", "validation"), ("test", "test")):
        rows = np.flatnonzero(kept["split"] == split)
        if not len(rows):
            continue
        outputs = outputs_of(network, shown.pixels, rows, batch_size=_BATCH, device=session.device)
        answers = _answers(outputs, network, attributes)
        truth = kept.iloc[rows].reset_index(drop=True)
        table = confusion(truth, answers, attributes)
        table.insert(0, "split", name)
        tables.append(table)
        accuracy[name] = _accuracy(truth, answers, attributes)
    withheld = _gate(accuracy["validation"], settings.min_validation_accuracy, settings.may_withhold, label)

    manifest = {
        "network": {"name": "multi_task", "settings": network_settings},
        "attributes": list(attributes),
        "dimensions": {d: list(v) for d, v in study().items()},
        "input": {
            "rows": ANNOTATOR_SIZE[0],
            "columns": ANNOTATOR_SIZE[1],
            "channels": "RGB",
            "mean": [0.5] * 3,
            "deviation": [0.5] * 3,
        },
        "accuracy": accuracy,
        "withheld": withheld,
        "data": data,
    }
    write_csv(pd.concat(tables), confusion_path)
    state = network.state_dict()
    return session.write(fitted, state, manifest, log_path)


def _answers(outputs: Tensor, network: nn.Module, attributes: Sequence[str]) -> pd.DataFrame:
    scores = torch.sigmoid(outputs[:, network.slices["attributes"]]).numpy()
    demographics = {}
    for dimension, levels in study().items():
        shares = torch.softmax(outputs[:, network.slices[dimension]], 1).numpy()
        best = shares.argmax(1)
        demographics[dimension] = (np.array(levels, object)[best], shares[np.arange(len(best)), best])
    answers = {name: scores[:, i] for i, name in enumerate(attributes)}
    return annotation_frame(answers, demographics, outputs=[outputs.numpy()])


def _accuracy(
    truth: pd.DataFrame, answers: pd.DataFrame, attributes: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    """Per head: images with a known truth, accuracy, and balanced accuracy (mean over labels)."""
    labels = truth[list(attributes)].to_numpy()
    scores = answers[[f"score_{a}" for a in attributes]].to_numpy()
    metrics = attribute_metrics(scores, labels, np.full(len(attributes), 0.5))
    heads = {
        name: {
            "n": int(metrics["positives"][i] + metrics["negatives"][i]),
            "accuracy": _number(metrics["accuracy"][i]),
            "balanced_accuracy": _number(metrics["balanced_accuracy"][i]),
        }
        for i, name in enumerate(attributes)
    }
    for dimension, levels in study().items():
        known = truth[dimension].isin(levels).to_numpy()
        right = (truth[dimension].to_numpy(object) == answers[dimension].to_numpy(object))[known]
        by_level = [right[(truth[dimension][known] == level).to_numpy()] for level in levels]
        recalls = [r.mean() for r in by_level if len(r)]
        heads[dimension] = {
            "n": int(known.sum()),
            "accuracy": _number(right.mean() if len(right) else np.nan),
            "balanced_accuracy": _number(np.mean(recalls) if recalls else np.nan),
        }
    return heads


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _gate(
    heads: Mapping[str, Mapping[str, float | int | None]], minimum: float, may_withhold: Sequence[str], label: str
) -> list[str]:
    """Names of withheld heads; UserError when a head that may not be withheld is below the minimum."""
    text = ", ".join(f"{name} {h['accuracy'] if h['accuracy'] is not None else 'unknown'}" for name, h in heads.items())
    log.info("%s: validation accuracy: %s", label, text)
    below = [(n, h["accuracy"], h["n"]) for n, h in heads.items() if h["accuracy"] is None or h["accuracy"] < minimum]
    failed = [entry for entry in below if entry[0] not in may_withhold]
    if failed:
        what = "; ".join(
            f"{name} has no labelled validation image" if value is None else f"{name} {value:.3f} on {n} images"
            for name, value, n in failed
        )
        raise UserError(
            f"the trained annotator is below annotation.trained_here.min_validation_accuracy {minimum}: {what}. Raise "
            f"its epochs, give it more annotated images, lower the minimum if such labels are good enough, or list the "
            f"head in may_withhold to go on without its labels"
        )
    for name, value, n in below:
        log.warning("%s: %s is below %s (%s on %d images); its labels are withheld", label, name, minimum, value, n)
    return [name for name, _, _ in below]


class TrainedHere:
    """The trained network as an annotator. Images are resized; they should be framed like its training images."""

    name = "trained_here"
    version = PART.version
    probabilities: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    reads = "crops"

    def __init__(self, model_path: str | os.PathLike, *, device: str = "auto", threads: int = 1):
        runtime.prepare(threads)
        self.device = runtime.choose_device(device)
        self.network, self.manifest = load_model(model_path, self.device)
        if self.manifest["network"]["name"] != "multi_task":
            raise UserError(f"{model_path}: this is a classifier, not an annotator; run the rule train_annotator")
        for dimension, levels in study().items():
            if self.manifest["dimensions"].get(dimension) != list(levels):
                raise UserError(f"{model_path}: it was trained for other levels of {dimension}; train it again")
        self.network = self.network.to(memory_format=torch.channels_last)
        self.attributes, self.dimensions = tuple(self.manifest["attributes"]), tuple(study())
        self.size = self.manifest["input"]["rows"], self.manifest["input"]["columns"]
        self.crop = self.manifest["settings"]["crop"]

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """Labels of RGB uint8 images of any size, one row each."""
        pixels = np.stack([fit_image(image, self.size, self.crop) for image in images])
        outputs = outputs_of(self.network, pixels, np.arange(len(pixels)), batch_size=_BATCH, device=self.device)
        table = _answers(outputs, self.network, self.attributes)
        if withheld := self.manifest["withheld"]:
            nothing = undefined_frame(self, [""] * len(table))
            for head in withheld:
                columns = [head, f"{head}_score"] if head in self.dimensions else [f"score_{head}", f"label_{head}"]
                table[columns] = nothing[columns]
        return table


def create(settings: Mapping[str, Any]) -> TrainedHere:
    """The annotator of ``settings["files"]["model"]``, a path; optional ``device`` and ``threads``."""
    if "model" not in settings.get("files", {}):
        raise UserError("annotator trained_here needs the path of its model")
    known = {k: settings[k] for k in ("device", "threads") if k in settings}
    return TrainedHere(settings["files"]["model"], **known)
