"""The protocol of all generators, and the faces they return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evenface.plan.requests import Request


@dataclass(frozen=True)
class GeneratedFace:
    """One image: RGB uint8 (H, W, 3), how it was made, and the truth if the generator knows it.

    ``truth`` holds ``attributes`` (CelebA names -> +1, -1 or 0 for undefined) and a level per demographic dimension.
    """

    request: Request
    image: np.ndarray
    provenance: dict[str, Any]
    truth: dict[str, Any] | None = None


class Generator(Protocol):
    """Turns requests into faces. Raise ``version`` when the same request gives other pixels."""

    name: str
    version: int

    def generate(self, requests: Iterable[Request]) -> Iterator[GeneratedFace]:
        """Faces in the order of the requests; none depends on the others."""
        ...
