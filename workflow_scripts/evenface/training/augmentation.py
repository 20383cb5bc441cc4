"""Random changes of training images, and pixels as a network's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from evenface.networks.normalisation import normalise


@dataclass(frozen=True)
class Batch:
    """Pixels uint8 (n, height, width, 3) of ``rows``, and gains and offsets for their channels, applied on the device."""

    rows: np.ndarray
    pixels: np.ndarray
    gain: np.ndarray | None
    offset: np.ndarray | None


#: A random change of one image, uint8 (rows, columns, 3).
Degrade = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def augment(
    pixels: np.ndarray, rows: np.ndarray, settings: Mapping[str, Any], seed: int, degrade: Degrade | None = None
) -> Batch:
    """``pixels`` of ``rows``, randomly mirrored, shifted, degraded and changed in colour, by ``settings`` and ``seed``.

    ``settings``: flip, shift and colour_jitter of ``EpochSettings``. ``pixels`` is overwritten.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    mirrored = random.random(len(rows)) < 0.5 if settings["flip"] else np.zeros(len(rows), bool)
    moved = np.zeros((len(rows), 2), int)
    if settings["shift"]:
        reach = np.array(pixels.shape[1:3]) * settings["shift"]
        moved = np.rint(random.uniform(-reach, reach, (len(rows), 2))).astype(int)
    _move(pixels, mirrored.tolist(), moved.tolist())
    if degrade:
        for i in range(len(pixels)):
            pixels[i] = degrade(pixels[i], random)
    width = settings["colour_jitter"]
    if not width:
        return Batch(rows, pixels, None, None)
    gain = 1 + random.uniform(-width, width, (len(rows), 1)) + random.uniform(-width / 2, width / 2, (len(rows), 3))
    offset = random.uniform(-width, width, (len(rows), 1)).repeat(3, 1)
    return Batch(rows, pixels, gain.astype(np.float32), offset.astype(np.float32))


def _move(pixels: np.ndarray, mirrored: list[bool], moved: list[list[int]]) -> None:
    """Mirror images, then move them (down, right); the border is repeated. OpenCV does both 20 times as fast as NumPy."""
    height, width = pixels.shape[1:3]
    image = np.empty(pixels.shape[1:], np.uint8)
    for i, (down, right) in enumerate(moved):
        if mirrored[i]:
            cv2.flip(pixels[i], 1, image)
        elif down or right:
            image[:] = pixels[i]
        if down or right:
            inside = image[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
            border = max(down, 0), max(-down, 0), max(right, 0), max(-right, 0)
            cv2.copyMakeBorder(inside, *border, cv2.BORDER_REPLICATE, pixels[i])
        elif mirrored[i]:
            pixels[i] = image


def to_input(pixels: np.ndarray, device: str) -> Tensor:
    """uint8 (N, rows, columns, 3) as float32 (N, 3, rows, columns) in [-1, 1], channels last in memory."""
    return normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device, non_blocking=True))
