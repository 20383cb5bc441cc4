"""Trains a MagFace network on the identities of a data set, for faces that no published network was trained on.

The network is small, and made to judge quality: some training faces are blurred, reduced or covered. It does not
learn quality labels; it finds such faces harder to tell apart.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from evenface import networks
from evenface.errors import UserError, check_names
from evenface.faces import degradation
from evenface.networks.iresnet import BLOCKS
from evenface.networks.normalisation import Normalisation
from evenface.pixels.faces import Pixels, held, packed_faces
from evenface.pixels.store import Pack, write_pack
from evenface.screening.locating import check_readable, located
from evenface.screening.settings import MagFaceTrainingSettings
from evenface.storage.images import ImageError
from evenface.training.class_layer import MagFaceLayer
from evenface.training.forward import outputs_of
from evenface.training.margin import Margin
from evenface.training.method import ImageMethod, Problem
from evenface.training.session import Session, text_digest
from evenface.training.settings import resolve

log = logging.getLogger("evenface")

#: The network "small" of the configuration, which a processor trains in half a minute.
SMALL: dict[str, Any] = {
    "blocks": [1, 1, 1, 1], "widths": [16, 32, 64, 128], "embedding": 128, "stem": 16, "stem_stride": 2, "momentum": 0.1,
}  # fmt: skip

_BATCH = 64
#: Largest number of images in a verification, because the number of pairs grows with its square.
_VERIFIED = 2000


def network_settings(name: str) -> dict[str, Any]:
    """Settings of ``IResNet`` by the configured name: small, iresnet18, iresnet34, iresnet50 or iresnet100."""
    known = {"small": SMALL, **{f"iresnet{depth}": {"blocks": list(blocks)} for depth, blocks in BLOCKS.items()}}
    check_names("screening.magface.trained_here.network", [name], known)
    return known[name]


class Recogniser(nn.Module):
    """A backbone and its class layer: takes R, G, B in [0, 1] and gives embeddings."""

    def __init__(self, backbone: nn.Module, classes: MagFaceLayer):
        super().__init__()
        self.backbone, self.classes = backbone, classes

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings; published backbones take the channels in the order blue, green, red."""
        return self.backbone(x.flip(1))

    def classify(self, features: Tensor) -> Tensor:
        """The embeddings themselves: the class layer needs the classes."""
        return features

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x)


class Recognition(ImageMethod):
    """The MagFace loss over training identities, and verification of other identities by cosine.

    ``classes`` int64 (N,) are class numbers, -1 for images without a class; ``identities`` (N,) are all images' people.
    """

    def __init__(self, problem: Problem, classes: np.ndarray, identities: np.ndarray):
        super().__init__(problem)
        self.classes, self.identities = torch.from_numpy(classes), identities

    def loss(self, outputs: Tensor, features: Tensor, rows: np.ndarray) -> Tensor:
        """MagFace's total loss."""
        return self.networks["network"].classes(outputs, self.classes[rows].to(outputs.device)).total

    def judge(self, outputs: Tensor, rows: np.ndarray) -> dict[str, float]:
        """``loss``, which is the share of pairs in the wrong order, 1 - AUC; and the mean magnitude."""
        auc = verification_auc(outputs.numpy(), self.identities[rows])["auc"]
        return {"loss": 1 - auc, "auc": auc, "magnitude": float(outputs.norm(dim=1).mean())}


def verification_auc(embeddings: np.ndarray, identities: np.ndarray) -> dict[str, float]:
    """How well cosines distinguish pairs of one person from pairs of two people: the area under the ROC curve.

    ``embeddings`` (n, d), ``identities`` (n,); the first 2000 images in order of identity are paired.
    Returns auc, same and different (numbers of pairs). NaN without pairs of either kind.
    """
    order = np.argsort(np.asarray(identities, str), kind="stable")[:_VERIFIED]
    unit = embeddings[order].astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    first, second = np.triu_indices(len(order), 1)
    names = np.asarray(identities, str)[order]
    same = names[first] == names[second]
    ranks = pd.Series((unit @ unit.T)[first, second]).rank().to_numpy()
    positive, negative = int(same.sum()), int((~same).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = np.float64(ranks[same].sum() - positive * (positive + 1) / 2) / (positive * negative)
    return {"auc": float(auc), "same": positive, "different": negative}


def degrade(share: float):
    """A function (crop, random) -> crop that degrades ``share`` of the crops, each in one way.

    They are blurred, reduced, covered, or squeezed and enlarged, as the alignment does with a turned head.
    """

    def change(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
        way = random.random() / max(share, 1e-9)
        amount = random.random()
        if way < 0.2:
            return degradation.blur(crop, 0.5 + 4.5 * amount)
        if way < 0.4:
            return degradation.reduce(crop, round(12 * 5**amount))  # 12 to 60 pixels, evenly in proportion
        if way < 0.8:  # the hardest to learn: a covered face that is known by heart is still easy
            return degradation.occlude(crop, 0.05 + 0.55 * amount, random)
        return degradation.foreshorten(crop, 30 + 50 * amount) if way < 1 else crop

    return change


def train_recognition(
    faces: pd.DataFrame,
    landmarks: pd.DataFrame,
    settings: Mapping[str, Any],
    model_path: str | os.PathLike,
    *,
    log_path: str | os.PathLike,
    seed: int,
    max_unreadable: float = 0.01,
    threads: int = 1,
    device: str = "auto",
    label: str = "MagFace",
) -> dict[str, Any]:
    """Train a MagFace network on the split ``train``, verify it on the people of ``val`` and ``test``, and write it.

    ``landmarks`` is the table of :func:`evenface.screening.locating.locate_faces` for ``faces``. Writes
    ``model_path`` (safetensors with only the backbone, and a manifest) and ``log_path`` (CSV, one row per epoch), and
    returns the manifest. The weights with the best validation AUC are kept. An interrupted training continues where
    it stopped. The same faces, settings, seed and threads give the same bytes on the same machine. Raises UserError
    for too many unreadable images, for too few people, for identities in two splits, and when the validation AUC is
    below ``min_verification_auc``; then nothing is written.
    """
    where = "screening.magface.trained_here"
    settings = resolve(MagFaceTrainingSettings, settings, where)
    margin = Margin.from_settings(settings.margin.model_dump(), f"{where}.margin")
    shape = network_settings(settings.network)
    session = Session(model_path, settings, seed=seed, threads=threads, device=device, label=label, where=where)

    unreadable = check_readable(faces, landmarks, max_unreadable, label)
    kept, points = located(faces, landmarks)
    people = kept.groupby("split", observed=True)["identity_id"].nunique()
    for split, least in (("train", 2), ("val", 2)):
        if people.get(split, 0) < least:
            raise UserError(
                f"{where}.dataset: data set {settings.dataset!r} shows {people.get(split, 0)} people in its split "
                f"{split}; at least {least} are needed"
            )
    rows = {name: np.flatnonzero(kept["split"] == name) for name in ("train", "val", "test")}
    if not kept["identity_id"].iloc[rows["val"]].duplicated().any():
        raise UserError(
            f"{where}.dataset: data set {settings.dataset!r} shows every person of its split val once; two images of a "
            f"person are needed to tell people apart"
        )
    if len(rows["train"]) % settings.batch_size == 1:
        rows["train"] = rows["train"][:-1]  # a batch of one has no statistics to normalise by
    names = sorted(kept["identity_id"].iloc[rows["train"]].unique())
    labels = kept["identity_id"].map({n: i for i, n in enumerate(names)}).fillna(-1).to_numpy(np.int64)
    shared = (labels[np.r_[rows["val"], rows["test"]]] >= 0).sum()
    if shared:
        raise UserError(f"{where}.dataset: {shared} validation or test images show people of the split train")

    pixels = _load(kept, points, settings.cache_mb << 20, session.folder, threads, f"{label}: aligning")
    identities = kept["identity_id"].to_numpy(object)
    data = {
        **{f"{name}_images": len(r) for name, r in rows.items()},
        **{f"{name}_people": int(people.get(name, 0)) for name in rows},
        "without_face": int(len(faces) - len(kept)),
        **({"unreadable_by_cell": unreadable} if unreadable else {}),
        "image_ids_sha256": text_digest(kept["image_id"]),
        "identities_sha256": text_digest(kept["identity_id"]),
        "landmarks_sha256": _sha256(points),
    }
    session.identify(data, text_digest(kept["split"]))
    problem = Problem(
        session=session,
        settings=settings,
        faces=kept,
        pixels=pixels,
        train_rows=rows["train"],
        validation_rows=rows["val"],
        draw=lambda *drawn: session.draw(
            lambda: Recogniser(
                networks.build("iresnet", shape), MagFaceLayer(shape.get("embedding", 512), len(names), margin)
            ),
            *drawn,
        ),
        normalisation=Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        degrade=degrade(settings.degraded),
    )
    method = Recognition(problem, labels, identities)
    fitted = method.run(session)
    network = method.networks["network"]
    verification = {
        name: verification_auc(
            outputs_of(
                network,
                pixels,
                rows[name],
                batch_size=_BATCH,
                device=session.device,
                normalisation=problem.normalisation,
            ).numpy(),
            identities[rows[name]],
        )
        for name in ("val", "test")
        if len(rows[name])
    }
    _gate(verification["val"]["auc"], settings.min_verification_auc, where, label)
    manifest = {
        "network": {"name": "iresnet", "settings": shape},
        "input": {"rows": 112, "columns": 112, "channels": "BGR", "mean": [0.0] * 3, "deviation": [1.0] * 3},
        "margin": {**margin.__dict__, "smallest_lambda_g": round(margin.smallest_lambda_g, 6)},
        "verification": {
            name: {
                k: round(v, 6) if k == "auc" and np.isfinite(v) else (None if k == "auc" else v) for k, v in r.items()
            }
            for name, r in verification.items()
        },
        "data": data,
    }
    state = network.backbone.state_dict()
    return session.write(fitted, state, manifest, log_path)


def _gate(auc: float, minimum: float, where: str, label: str) -> None:
    log.info("%s: validation AUC %.4f", label, auc)
    if not auc >= minimum:
        raise UserError(
            f"the MagFace network trained here tells people apart with an AUC of {auc:.3f}, below {where}."
            f"min_verification_auc {minimum}: raise its epochs, give it more people, or lower the minimum"
        )


def _load(
    faces: pd.DataFrame, points: np.ndarray, budget: int, scratch: Path, threads: int, label: str
) -> np.ndarray | Pixels:
    """Aligned crops uint8 (n, 112, 112, 3), in memory up to ``budget`` bytes.

    They are packed in ``scratch``, so that a killed training decodes nothing again. The rule ``pack`` does not make
    them, since landmarks decide them and no other job reads them.
    """
    path = scratch / "aligned.pixels"
    write_pack(path, faces, (112, 112), landmarks=points, store="packed", threads=threads, label=label)
    images = packed_faces(faces, [Pack(path)])
    for row in images.rejected.itertuples():
        raise ImageError(row.image, row.reason, row.detail)
    return held(images.pixels, budget, label)


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
