"""Computing with networks: precision, and outputs for images without augmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evenface.networks.finite import answers_of
from evenface.networks.normalisation import CENTRED, Normalisation
from evenface.pixels.background import prefetch
from evenface.training.augmentation import to_input


def autocast(device: str, precision: str) -> torch.autocast:
    """Context in which a network computes in ``precision`` on ``device``."""
    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=precision == "bfloat16")


def outputs_of(
    network: Callable[[Tensor], Tensor],
    pixels: Any,
    rows: np.ndarray,
    *,
    batch_size: int,
    device: str,
    precision: str = "float32",
    normalisation: Normalisation = CENTRED,
) -> Tensor:
    """Outputs, or ``features``, of ``network`` in evaluation mode for ``pixels[rows]``: float32 (n, k) on the CPU.

    A row with a number that is not finite is NaN (:func:`evenface.networks.finite.answers_of`).
    """
    batches = (pixels[rows[start : start + batch_size]] for start in range(0, len(rows), batch_size))
    with torch.inference_mode(), autocast(device, precision):
        parts = [answers_of(network(normalisation(to_input(batch, device)))) for batch in prefetch(batches)]
    return torch.cat([part for (part,) in parts])
