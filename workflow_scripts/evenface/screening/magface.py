"""Quality by MagFace: the length of an aligned crop's embedding says how usable the face is."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from evenface.checkpoints import load_model, load_network, manifest_path, recorded
from evenface.errors import UserError, check_names
from evenface.networks.device import choose_device, choose_precision, deterministic
from evenface.networks.finite import IN_WORDS, answers_of
from evenface.networks.folded_iresnet import FoldedIResNet
from evenface.networks.inference import map_batches
from evenface.networks.iresnet import to_input
from evenface.screening.settings import BACKBONES, PUBLISHED_THRESHOLD, is_calibrated

Item = TypeVar("Item")


class MagFace:
    """A MagFace network that embeds 112x112 crops.

    ``weights``: a published checkpoint of ``backbone``, or a network trained here (safetensors, and a
    manifest with its shape). ``precision`` is float32, bfloat16 or auto (bfloat16 if the processor computes
    in it). ``sha256`` identifies the weights; ``origin`` has the verdict on a published file
    (:mod:`evenface.checkpoints.origin`). Raises UserError for files that are missing or do not fit.
    """

    name = "magface"

    def __init__(
        self,
        weights: str | os.PathLike,
        *,
        backbone: str = "iresnet100",
        batch_size: int = 16,
        precision: str = "float32",
        device: str = "cpu",
        threads: int = 1,
    ):
        check_names("screening.magface.backbone", [backbone], BACKBONES)
        deterministic()
        self.origin: list[dict[str, str]] = []
        self.batch_size, self.threads = batch_size, threads
        self.device = choose_device(device)
        if Path(weights).suffix == ".safetensors" and manifest_path(weights).is_file():
            network, manifest = load_model(weights)
            if manifest["network"]["name"] != "iresnet":
                raise UserError(f"{weights}: this is not a recognition network; screening.magface.weights needs one")
            self.network_name, self.sha256 = "iresnet trained here", manifest["weights_sha256"]
        else:
            with recorded() as self.origin:
                network = load_network(f"magface-{backbone}", weights)
            self.network_name, self.sha256 = f"magface-{backbone}", self.origin[0]["sha256"]
        self.precision = choose_precision(precision, self.device)
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        self.network = FoldedIResNet(network, dtype).eval().to(self.device)

    def _embed(self, crops: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2)
        (embeddings,) = answers_of(self.network(to_input(batch)))
        return embeddings.numpy()

    def embed_all(
        self, items: Iterable[Item], crop_of: Callable[[Item], np.ndarray] | None = None
    ) -> Iterator[np.ndarray]:
        """Embeddings float32 (features,) of RGB uint8 (112, 112, 3) crops, in order; each thread computes a batch.

        An embedding with a number that is not finite is NaN throughout.
        ``items`` are crops, or ``crop_of`` turns them into crops. The threads call it, so one thread decodes while
        another computes.
        """

        def embed(batch: list[Item]) -> np.ndarray:
            return self._embed(np.stack([crop_of(item) for item in batch] if crop_of else batch))

        for embeddings in map_batches(embed, _batches(items, self.batch_size), self.threads):
            yield from embeddings

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embeddings float32 (n, features), not normalised, of RGB uint8 crops (n, 112, 112, 3)."""
        if not len(crops):
            return np.zeros((0, 0), np.float32)
        return np.stack(list(self.embed_all(crops)))

    def score(self, crops: np.ndarray) -> np.ndarray:
        """Magnitudes float32 (n,)."""
        return magnitudes(self.embed(crops))


def from_settings(
    settings: Mapping[str, Any], weights: str | os.PathLike, gpu: int | bool = False, threads: int = 1
) -> MagFace:
    """The network of the configuration's ``screening.magface``, with the weights in the file ``weights``."""
    return MagFace(
        weights,
        backbone=settings["backbone"],
        batch_size=settings["batch_size"],
        precision=settings["precision"],
        device="cuda" if gpu else "cpu",
        threads=threads,
    )


def magnitudes(embeddings: np.ndarray) -> np.ndarray:
    """Euclidean lengths float32 (n,) of embeddings (n, features); NaN for an embedding that is not finite."""
    lengths = np.sqrt(np.square(np.asarray(embeddings, np.float64)).sum(-1))
    return np.where(np.isfinite(lengths), lengths, np.nan).astype(np.float32)


def finite_magnitudes(embeddings: np.ndarray, what: str) -> np.ndarray:
    """:func:`magnitudes` of faces that are known to be good; UserError naming ``what`` they are if one is not a number."""
    lengths = magnitudes(embeddings)
    wrong = int(np.isnan(lengths).sum())
    if wrong:
        raise UserError(
            f"{what}: {IN_WORDS} for {wrong} of {len(lengths)} faces, so this MagFace network cannot judge quality; name "
            f"other weights as screening.magface.weights, or set screening.magface.precision to float32 if it is not"
        )
    return lengths


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def threshold_of(settings: Mapping[str, Any], weights_sha256: str, calibration: Mapping[str, Any] | None) -> float:
    """The magnitude below which faces are rejected: the number ``settings["threshold"]``, or the calibrated one.

    ``calibration`` is the record of :func:`evenface.screening.calibration.calibrate`. Raises UserError
    when it belongs to other weights, or is needed and missing.
    """
    if not is_calibrated(settings):
        return PUBLISHED_THRESHOLD if settings["threshold"] == "auto" else float(settings["threshold"])
    if calibration is None:
        raise UserError("screening.magface.threshold is to be calibrated; the rule calibrate_magface has not run")
    if calibration.get("weights_sha256") != weights_sha256:
        raise UserError(
            "the calibrated threshold belongs to other MagFace weights; run the rule calibrate_magface again"
        )
    threshold = calibration.get("threshold")
    if not isinstance(threshold, (int, float)) or not math.isfinite(threshold):
        raise UserError("the calibrated threshold is not a number; delete the file and run calibrate_magface again")
    return float(threshold)
