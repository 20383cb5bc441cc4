"""What every generator gives back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from evenface.plan.requests import Request


@dataclass(frozen=True)
class GeneratedFace:
    """One image: RGB uint8 (H, W, 3), how it was made, and, where the generator knows it, the truth.

    ``truth`` holds ``attributes`` (CelebA names in {+1, -1, 0}) and a level per demographic dimension.
    """

    request: Request
    image: np.ndarray
    provenance: dict[str, Any]
    truth: dict[str, Any] | None = None


class Generator(Protocol):
    """Turns requests into faces; ``version`` rises when the same request gives other pixels."""

    name: str
    version: int

    def generate(self, requests: Iterable[Request]) -> Iterator[GeneratedFace]:
        """Faces in the order of the requests; none depends on the others."""
        ...
