"""How training images are changed by chance, and how pixels become numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evenface.networks.normalisation import normalise


@dataclass(frozen=True)
class _Batch:
    rows: np.ndarray
    pixels: np.ndarray
    gain: np.ndarray | None
    offset: np.ndarray | None


#: Changes one image, uint8 (rows, columns, 3), by chance.
Degrade = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _augment(
    pixels: np.ndarray, rows: np.ndarray, settings: Mapping[str, Any], seed: int, degrade: Degrade | None = None
) -> _Batch:
    random = np.random.Generator(np.random.PCG64(seed))
    if settings["flip"]:
        mirrored = random.random(len(rows)) < 0.5
        pixels[mirrored] = pixels[mirrored, :, ::-1]
    if settings["shift"]:
        height, width = pixels.shape[1:3]
        reach = np.array([height, width]) * settings["shift"]
        for i, (down, right) in enumerate(np.rint(random.uniform(-reach, reach, (len(rows), 2))).astype(int)):
            y = np.clip(np.arange(height) - down, 0, height - 1)
            x = np.clip(np.arange(width) - right, 0, width - 1)
            pixels[i] = pixels[i][y[:, None], x]
    if degrade:
        for i in range(len(pixels)):
            pixels[i] = degrade(pixels[i], random)
    width = settings["colour_jitter"]
    if not width:
        return _Batch(rows, pixels, None, None)
    gain = 1 + random.uniform(-width, width, (len(rows), 1)) + random.uniform(-width / 2, width / 2, (len(rows), 3))
    offset = random.uniform(-width, width, (len(rows), 1)).repeat(3, 1)
    return _Batch(rows, pixels, gain.astype(np.float32), offset.astype(np.float32))


def to_input(pixels: np.ndarray, device: str) -> Tensor:
    """uint8 (N, rows, columns, 3) as float32 (N, 3, rows, columns) in [-1, 1], channels last in memory."""
    return normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device, non_blocking=True))
