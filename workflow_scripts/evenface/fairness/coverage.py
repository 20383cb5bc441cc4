"""Bounds on rates for all possible values of undefined labels.

Undefined labels are not missing at random, so a rate over defined labels alone can mislead. The bounds come
from giving every undefined label the value that is worst, and then best, for the rate.
"""

from __future__ import annotations

import numpy as np

from evenface.fairness.metrics import ALL, COMPLEMENT, ratio_of

#: metric -> ((numerator, denominator) of the lower bound, the same of the upper bound)
BOUNDS = {
    "tpr": (("TP", "TP+FN+U0"), ("TP+U1", "TP+U1+FN")),
    "fpr": (("FP", "FP+TN+U0"), ("FP+U1", "FP+U1+TN")),
    "accuracy": (("TP+TN", ALL), ("TP+TN+U0+U1", ALL)),
    "base_rate": (("TP+FN", ALL), ("TP+FN+U0+U1", ALL)),
}


def bounds(counts: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper bound (...) of a metric for counts (..., 6); None if the metric has none."""
    if metric in COMPLEMENT:
        low, high = bounds(counts, COMPLEMENT[metric])
        return 1 - high, 1 - low
    if metric == "selection_rate_all":  # needs no labels
        value = ratio_of(counts, "TP+FP+U1", ALL)
        return value, value
    if metric not in BOUNDS:
        return None
    low, high = BOUNDS[metric]
    return ratio_of(counts, *low), ratio_of(counts, *high)


def separated(low: np.ndarray, high: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(...) bool: some group's lower bound is above another's upper bound, for all possible labels.

    low, high  (..., groups); used (..., groups) marks the groups that take part.
    """
    largest_low = np.where(used & ~np.isnan(low), low, -np.inf).max(axis=-1)
    smallest_high = np.where(used & ~np.isnan(high), high, np.inf).min(axis=-1)
    return largest_low > smallest_high
