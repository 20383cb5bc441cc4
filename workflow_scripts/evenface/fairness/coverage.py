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

#: The same for metrics without columns in the table of coverage. Which images a model selects is known without labels.
_FURTHER = {
    "selection_rate": (("TP+FP+U1", ALL), ("TP+FP+U1", ALL)),
    "selection_rate_all": (("TP+FP+U1", ALL), ("TP+FP+U1", ALL)),
    "prevalence_bias": (("FP-FN-U0", ALL), ("FP+U1-FN", ALL)),
    "precision": (("TP", "TP+FP+U1"), ("TP+U1", "TP+FP+U1")),
    "npv": (("TN", "TN+FN+U0"), ("TN+U0", "TN+FN+U0")),
    "f1": (("2TP", "2TP+FP+FN+U0+U1"), ("2TP+2U1", "2TP+2U1+FP+FN")),
}


def bounds(counts: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper bound (...) of a metric for counts (..., 6); None for the coverage itself, which is known."""
    if metric in COMPLEMENT:
        low, high = bounds(counts, COMPLEMENT[metric])
        return 1 - high, 1 - low
    if metric == "balanced_accuracy":
        (a, b), (c, d) = bounds(counts, "tpr"), bounds(counts, "tnr")
        return (a + c) / 2, (b + d) / 2
    if metric not in BOUNDS and metric not in _FURTHER:
        return None
    low, high = (BOUNDS | _FURTHER)[metric]
    return ratio_of(counts, *low), ratio_of(counts, *high)


def separated(low: np.ndarray, high: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(...) bool: some group's lower bound is above another's upper bound, for all possible labels.

    low, high  (..., groups); used (..., groups) marks the groups that take part.
    """
    largest_low = np.where(used & ~np.isnan(low), low, -np.inf).max(axis=-1)
    smallest_high = np.where(used & ~np.isnan(high), high, np.inf).min(axis=-1)
    return largest_low > smallest_high
