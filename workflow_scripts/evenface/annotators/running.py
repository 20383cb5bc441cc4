"""How annotators run their networks: some batches at a time, on one device, in one precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evenface.networks.finite import answers_of
from evenface.networks.inference import map_batches
from evenface.training import runtime
from evenface.training.forward import autocast


def made_ready(settings: Mapping[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of :class:`Runner`: ``batch_size`` and ``precision`` of an annotator, ``device``, ``threads``."""
    runtime.prepare(machine["threads"])
    device = runtime.choose_device(machine["device"])
    return {
        "batch_size": settings["batch_size"],
        "precision": runtime.choose_precision(settings["precision"], device),
        "device": device,
        "threads": machine["threads"],
    }


class Runner:
    """``threads`` batches of ``batch_size`` images side by side; ``precision`` is float32 or bfloat16."""

    def __init__(
        self, *, batch_size: int = 32, precision: str = "float32", device: str = "cpu", threads: int = 1
    ) -> None:
        self.batch_size, self.precision, self.device, self.threads = batch_size, precision, device, threads

    def autocast(self) -> torch.autocast:
        """Context in which the networks compute."""
        return autocast(self.device, self.precision)

    def outputs(self, network: nn.Module, batch: Tensor, *heads: str, **options: Any) -> tuple[np.ndarray, ...]:
        """Outputs of a network for a batch, or the attributes ``heads`` of its output, by :func:`answers_of`."""
        with self.autocast():
            found = network(batch.to(self.device), **options)
        return tuple(v.numpy() for v in answers_of(*([getattr(found, h) for h in heads] if heads else [found])))

    def answers(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What ``_batch`` says of all images: name -> an entry per image; ``_empty(n)`` are those of n images unseen."""
        starts = range(0, len(images), self.batch_size)
        batches = (images[start : start + self.batch_size] for start in starts)
        parts = [self._empty(0), *map_batches(self._batch, batches, self.threads)]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _empty(self, count: int) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def _batch(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError
