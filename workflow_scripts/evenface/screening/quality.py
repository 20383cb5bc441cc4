"""Quality scores of recognition crops that do not need a network: one protocol, and scorers by name.

A scorer gets batches of 112x112 crops (:func:`evenface.faces.alignment.align_112`) and returns one number
each; higher is better. MagFace judges after screening (:mod:`evenface.screening.scoring`). It loads its network
once for many shards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np

from evenface.errors import check_names


class Scorer(Protocol):
    """``name`` goes into the screening table's metadata."""

    name: str

    def score(self, crops: np.ndarray) -> np.ndarray:
        """Quality of RGB uint8 crops (n, 112, 112, 3), float32 (n,); NaN without a score."""
        ...


class NoScore:
    """Scores nothing: every score is NaN, and images are never rejected for quality."""

    name = "none"

    def __init__(self, settings: dict[str, Any]):
        pass

    def score(self, crops: np.ndarray) -> np.ndarray:
        """NaN for every crop."""
        return np.full(len(crops), np.nan, np.float32)


class Sharpness:
    """Variance of the Laplacian of luma (levels squared): a focus measure, not a face quality.

    Pech-Pacheco et al., ICPR 2000. It also rises with noise and with contrast, which differs
    between skin tones: look at the acceptance table before trusting a threshold.
    """

    name = "sharpness"

    def __init__(self, settings: dict[str, Any]):
        pass

    def score(self, crops: np.ndarray) -> np.ndarray:
        """Variance of the 3x3 Laplacian per crop."""
        luma = (cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in crops)
        return np.array([cv2.Laplacian(grey, cv2.CV_64F).var() for grey in luma], np.float32)


SCORERS: dict[str, Callable[[dict[str, Any]], Scorer]] = {"none": NoScore, "sharpness": Sharpness}


def create(name: str, settings: dict[str, Any]) -> Scorer:
    """The scorer called ``name``; UserError for an unknown name, listing all names."""
    check_names("screening.quality.scorer", [name], SCORERS)
    return SCORERS[name](settings)


def from_config(settings: dict[str, Any]) -> tuple[Scorer, float | None]:
    """Scorer and threshold of screening settings: ``quality.scorer`` and ``quality.threshold``."""
    threshold = settings["quality"]["threshold"]
    return create(settings["quality"]["scorer"], {}), None if threshold is None else float(threshold)
