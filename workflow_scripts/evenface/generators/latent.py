"""What a generator that draws from a latent vector gives beyond the protocol of all generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class LatentGenerator(Protocol):
    """Turns latent vectors into faces.

    ``spaces`` are the names of its latent spaces, such as ("z", "w"), the one it draws from first.
    """

    name: str
    spaces: tuple[str, ...]

    def dimension(self, space: str) -> int:
        """Coordinates of a latent of ``space``; UserError for a space it has not."""
        ...

    def sample(self, count: int, seed: int, space: str) -> np.ndarray:
        """Latents of ``count`` random faces, float32 (count, dimension); row i depends on (seed, i) alone."""
        ...

    def draw(self, latents: np.ndarray, space: str) -> Iterator[np.ndarray]:
        """RGB uint8 (H, W, 3) of each row of ``latents``, in order; none depends on the others."""
        ...
