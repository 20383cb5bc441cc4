"""When a score says yes. Training, prediction and evaluation all ask here."""

from __future__ import annotations

import numpy as np


def selected(scores: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
    """Whether scores (..., a) say yes: bool (..., a), true where a score is at least its threshold, (a,) or one for all.

    A threshold is taken in the precision of the scores, so a float32 score of 0.7 reaches the threshold 0.7. Rounding
    never makes a threshold 0, which every score would reach. NaN says yes nowhere.
    """
    scores = np.asarray(scores)
    precision = scores.dtype if scores.dtype.kind == "f" else np.dtype(np.float64)
    exact = np.asarray(thresholds, np.float64)
    rounded = exact.astype(precision)
    return scores >= np.where((rounded == 0) & (exact > 0), np.finfo(precision).smallest_subnormal, rounded)


def between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Thresholds (n,) in the precision of the scores ``low`` < ``high`` (n,), which ``low`` misses and ``high`` reaches.

    Halfway, and ``high`` itself where no number lies between.
    """
    halfway = (low.astype(np.float64) + high.astype(np.float64)) / 2
    halfway = halfway.astype(low.dtype)
    return np.where(halfway > low, halfway, high)
