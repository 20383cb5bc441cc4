"""Faces and five landmarks by RetinaFace, as the Facer toolkit finds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import nn

from evenface.networks.finite import NOT_FINITE, answers_of
from evenface.networks.retinaface import Faces, centre, select

#: Largest number of pixels in a batch of images of one size; a larger image is processed alone.
_PIXELS = 4_000_000


class RetinaFaceFinder:
    """The network with its decoding, for images of any size.

    As published, the network gets images at their own size. Memory grows with the size: about 70 bytes per pixel,
    2.8 GB for 40 megapixels. ``max_side`` bounds the longer side for the network; a larger image is reduced for
    detection, and its faces are returned in its own pixels. Scores are strictly above ``min_score``.
    """

    def __init__(self, network: nn.Module, *, min_score: float = 0.8, max_side: int | None = None, device: str = "cpu"):
        cv2.setNumThreads(1)
        self.network = network.to(device, memory_format=torch.channels_last).eval()
        self.min_score = min_score
        self.max_side = max_side
        self.device = device

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Faces of each RGB uint8 (H, W, 3) image, best score first; none, with a ``failure``, without finite numbers."""
        found: list[Faces] = []
        for group in _of_one_size([self._reduced(image) for image in images]):
            found += self._detect(group)
        return [_scaled(faces, *self._scale(image)) for faces, image in zip(found, images, strict=True)]

    def _scale(self, image: np.ndarray) -> tuple[float, float]:
        """How much wider and higher the image is than the network's input."""
        height, width = image.shape[:2]
        if self.max_side is None or max(height, width) <= self.max_side:
            return 1.0, 1.0
        scale = self.max_side / max(height, width)
        return width / max(1, round(width * scale)), height / max(1, round(height * scale))

    def _reduced(self, image: np.ndarray) -> np.ndarray:
        wider, higher = self._scale(image)
        if (wider, higher) == (1.0, 1.0):
            return image
        size = round(image.shape[1] / wider), round(image.shape[0] / higher)
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    @torch.inference_mode()
    def _detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        height, width = images[0].shape[:2]
        pixels = torch.from_numpy(np.stack(images)).to(self.device)
        boxes, logits, landmarks = answers_of(*self.network(centre(pixels)))
        scores = logits.softmax(-1)[..., 1]
        found = [select(*answers, height, width, min_score=self.min_score) for answers in zip(boxes, scores, landmarks)]
        return [f if score.isfinite().all() else f._replace(failure=NOT_FINITE) for f, score in zip(found, scores)]


def _of_one_size(images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """The images in order, in groups of one size with at most :data:`_PIXELS` pixels."""
    group: list[np.ndarray] = []
    for image in images:
        pixels = image.shape[0] * image.shape[1]
        if group and (image.shape != group[0].shape or (len(group) + 1) * pixels > _PIXELS):
            yield group
            group = []
        group.append(image)
    if group:
        yield group


def _scaled(faces: Faces, wider: float, higher: float) -> Faces:
    if (wider, higher) == (1.0, 1.0):
        return faces
    factors = np.array([wider, higher], np.float32)
    return faces._replace(boxes=faces.boxes * np.tile(factors, 2), points=faces.points * factors)
