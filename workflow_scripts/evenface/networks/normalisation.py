"""How pixels become a network's input: ``(pixel / 255 - mean) / deviation`` per channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: Mean and deviation that bring pixels to [-1, 1].
HALF: tuple[float, float, float] = (0.5, 0.5, 0.5)


def normalise(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) to float32 in [-1, 1]: (v / 255 - 0.5) / 0.5."""
    return images.to(torch.float32).div_(255).sub_(0.5).div_(0.5)


class Normalisation:
    """Turns images in [-1, 1] into the input of a network with ``mean`` and ``deviation``.

    Augmentation works on images in [-1, 1].
    """

    def __init__(self, mean: Sequence[float] = HALF, deviation: Sequence[float] = HALF):
        self.mean, self.deviation = tuple(mean), tuple(deviation)
        self.scale = [0.5 / d for d in self.deviation]
        self.shift = [(0.5 - m) / d for m, d in zip(self.mean, self.deviation, strict=True)]

    def __call__(self, x: Tensor) -> Tensor:
        """float32 (N, 3, H, W), in place."""
        if (self.mean, self.deviation) == (HALF, HALF):
            return x
        scale, shift = (x.new_tensor(values)[:, None, None] for values in (self.scale, self.shift))
        return x.mul_(scale).add_(shift)


#: For networks whose input is in [-1, 1].
CENTRED = Normalisation()
