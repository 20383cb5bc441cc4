"""Levels of ethnicity that the renderer has no head for, as mixtures of the three that it has.

They are stand-ins for the names of published groups, and not models of people: a data set that has these groups needs
faces that differ between them, and know which group they are of. The weights were chosen by eye (docs/standins.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

#: Standard deviation of the logarithm of a person's weights around those of the mixture.
SPREAD = 0.25


@dataclass(frozen=True)
class Mixture:
    """Weights of the renderer's levels in the shape of the head and in the skin, and the range of ``skin_tone`` (0 to 1).

    ``hair`` holds the shares of hair colours where a configuration gives none.
    """

    shape: Mapping[str, float]
    skin: Mapping[str, float]
    tone: tuple[float, float] = (0.0, 1.0)
    hair: Mapping[str, float] = field(default_factory=dict)


_DARK = {"black": 0.66, "brown": 0.18, "blond": 0.02, "gray": 0.14}

MIXTURES: dict[str, Mixture] = {
    "east_asian": Mixture({"asian": 0.92, "white": 0.05, "black": 0.03}, {"asian": 1}, (0.0, 0.8), _DARK),
    "southeast_asian": Mixture(
        {"asian": 0.72, "white": 0.08, "black": 0.20}, {"asian": 0.76, "black": 0.24}, (0.3, 1.0), _DARK
    ),
    "indian": Mixture(
        {"asian": 0.10, "white": 0.72, "black": 0.18}, {"asian": 0.20, "white": 0.38, "black": 0.42}, (0.15, 0.95), _DARK
    ),
    "middle_eastern": Mixture(
        {"asian": 0.04, "white": 0.88, "black": 0.08}, {"white": 0.86, "black": 0.14}, (0.3, 0.9),
        {"black": 0.48, "brown": 0.34, "blond": 0.04, "gray": 0.14},
    ),
    "latino_hispanic": Mixture(
        {"asian": 0.30, "white": 0.58, "black": 0.12}, {"asian": 0.25, "white": 0.60, "black": 0.15}, (0.15, 1.0),
        {"black": 0.46, "brown": 0.34, "blond": 0.06, "gray": 0.14},
    ),
}  # fmt: skip

#: Levels that gather several: each person is of one of these, with equal probability.
GATHERED: dict[str, tuple[str, ...]] = {"others": ("latino_hispanic", "middle_eastern")}


def mixture_of(level: str, random: np.random.Generator) -> Mixture | None:
    """The mixture of a level, drawn if it gathers several; None for the renderer's own levels."""
    if level in GATHERED:
        level = GATHERED[level][int(random.integers(len(GATHERED[level])))]
    return MIXTURES.get(level)


def personal(weights: Mapping[str, float], random: np.random.Generator) -> dict[str, float]:
    """One person's weights around ``weights``; they sum to 1."""
    drawn = {level: weight * float(np.exp(random.normal(0, SPREAD))) for level, weight in sorted(weights.items())}
    total = sum(drawn.values())
    return {level: round(weight / total, 4) for level, weight in drawn.items()}
