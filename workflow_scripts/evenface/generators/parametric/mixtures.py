"""Levels of ethnicity that the renderer has no head for, as mixtures of the three that it has.

They are stand-ins for the names of published groups, and not models of people: a data set that has these groups needs
faces that differ between them, and know which group they are of. The weights were chosen by eye (docs/standins.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

#: Standard deviation of the logarithm of a person's weights around those of the mixture.
SPREAD = 0.25


@dataclass(frozen=True)
class Mixture:
    """Weights of the renderer's levels in the shape of the head and in the skin, and the range of ``skin_tone`` (0 to 1)."""

    shape: Mapping[str, float]
    skin: Mapping[str, float]
    tone: tuple[float, float]


MIXTURES: dict[str, Mixture] = {
    "east_asian": Mixture({"asian": 0.92, "black": 0.03, "white": 0.05}, {"asian": 1}, (0.0, 0.8)),
    "southeast_asian": Mixture(
        {"asian": 0.72, "black": 0.20, "white": 0.08}, {"asian": 0.76, "black": 0.24}, (0.3, 1.0)
    ),
    "indian": Mixture(
        {"asian": 0.10, "black": 0.18, "white": 0.72}, {"asian": 0.20, "black": 0.42, "white": 0.38}, (0.15, 0.95)
    ),
    "middle_eastern": Mixture(
        {"asian": 0.04, "black": 0.08, "white": 0.88}, {"black": 0.14, "white": 0.86}, (0.3, 0.9)
    ),
    "latino_hispanic": Mixture(
        {"asian": 0.30, "black": 0.12, "white": 0.58}, {"asian": 0.25, "black": 0.15, "white": 0.60}, (0.15, 1.0)
    ),
}

_DARK = {"black": 0.68, "blond": 0.02, "brown": 0.16, "gray": 0.14}
_MIXED = {"black": 0.46, "blond": 0.06, "brown": 0.34, "gray": 0.14}

#: Level -> shares of hair colours. They are the defaults of stand-ins with more levels than the renderer's.
HAIR: dict[str, dict[str, float]] = {
    "white": {"black": 0.18, "blond": 0.24, "brown": 0.42, "gray": 0.16},
    **dict.fromkeys(("black", "asian", "east_asian", "southeast_asian", "indian"), _DARK),
    **dict.fromkeys(("middle_eastern", "latino_hispanic", "others"), _MIXED),
}

#: Levels that gather several: each person is of one of these, with equal probability.
GATHERED: dict[str, tuple[str, ...]] = {"others": ("latino_hispanic", "middle_eastern")}


def mixture_of(level: str, random: Generator) -> Mixture | None:
    """The mixture of a level, drawn if it gathers several; None for the renderer's own levels."""
    if level in GATHERED:
        level = GATHERED[level][int(random.integers(len(GATHERED[level])))]
    return MIXTURES.get(level)


def personal(weights: Mapping[str, float], random: Generator) -> dict[str, float]:
    """One person's weights around ``weights``; they sum to 1."""
    drawn = {level: weight * math.exp(random.normal(0, SPREAD)) for level, weight in sorted(weights.items())}
    total = sum(drawn.values())
    return {level: round(weight / total, 4) for level, weight in drawn.items()}
