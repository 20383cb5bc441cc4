"""The protocol of generators that draw from a latent vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from evenface.errors import UserError, check_names
from evenface.parts import Generator, load, part, parts


@runtime_checkable
class LatentGenerator(Protocol):
    """Turns latent vectors into faces.

    ``spaces`` are the names of its latent spaces, such as ("z", "w"); the first is the one it draws from. A generator
    that knows what it draws also has ``truths(latents, space)``, the truth about the face of each row (as
    ``GeneratedFace.truth``), and ``known_directions(space)``, (factor, level) -> unit vector towards the level.
    """

    name: str
    spaces: tuple[str, ...]

    def dimension(self, space: str) -> int:
        """Coordinates of a latent of ``space``; UserError for a space it does not have."""
        ...

    def sample(self, count: int, seed: int, space: str) -> np.ndarray:
        """Latents of ``count`` random faces, float32 (count, dimension); row i depends on (seed, i) alone."""
        ...

    def draw(self, latents: np.ndarray, space: str) -> Iterator[np.ndarray]:
        """RGB uint8 (H, W, 3) of each row of ``latents``, in order; none depends on the others."""
        ...


def class_of(name: str) -> type:
    """The class of the latent generator ``name``; UserError if it does not draw from a latent space."""
    about = part(Generator, name, "latent_directions.generator")
    if not about.latent_code:
        able = ", ".join(p.name for p in parts(Generator).values() if p.latent_code)
        raise UserError(f"generator {name!r} does not draw from a latent space; choose one of {able}")
    return load(about.latent_code)


def create_latent(name: str, settings: Mapping[str, Any]) -> LatentGenerator:
    """The latent generator ``name``. ``settings`` are its own, with ``files``, ``device`` and ``threads``.

    UserError for an unknown name, for a generator without a latent space, and for settings that it refuses.
    """
    return class_of(name)(settings)


def space_of(generator: LatentGenerator, space: str | None) -> str:
    """``space``, or the generator's first space if it is None; UserError for an unknown space."""
    chosen = space or generator.spaces[0]
    check_names(f"latent spaces of the generator {generator.name}", [chosen], generator.spaces)
    return chosen
