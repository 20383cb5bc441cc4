"""Bounds on rates for all possible values of undefined labels.

Undefined labels are not missing at random, so a rate over defined labels alone can mislead. The bounds come
from giving every undefined label the value that is worst, and then best, for the rate.
"""

from __future__ import annotations

import numpy as np

from evenface.fairness.metrics import ALL, DEFINED, ratio_of

#: metric -> ((numerator, denominator) of the lower bound, the same of the upper bound)
BOUNDS = {
    "tpr": (("TP", "TP+FN+U0"), ("TP+U1", "TP+U1+FN")),
    "fpr": (("FP", "FP+TN+U0"), ("FP+U1", "FP+U1+TN")),
    "accuracy": (("TP+TN", ALL), ("TP+TN+U0+U1", ALL)),
    "base_rate": (("TP+FN", ALL), ("TP+FN+U0+U1", ALL)),
    "prevalence_bias": (("FP-FN-U0", ALL), ("FP+U1-FN", ALL)),
    "precision": (("TP", "TP+FP+U1"), ("TP+U1", "TP+FP+U1")),
    "npv": (("TN", "TN+FN+U0"), ("TN+U0", "TN+FN+U0")),
    "f1": (("2TP", "2TP+FP+FN+U0+U1"), ("2TP+2U1", "2TP+2U1+FP+FN")),
}

#: metrics that need no labels, or are about them: the same ratio is both bounds
_EXACT = {"selection_rate_all": ("TP+FP+U1", ALL), "label_coverage": (DEFINED, ALL)}
#: with every label, the selection rate is that of all images
_EXACT["selection_rate"] = _EXACT["selection_rate_all"]


def bounds(counts: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound (...) of a metric for counts (..., 6)."""
    if metric == "balanced_accuracy":  # one undefined label moves only one of the two rates
        ends = [bounds(counts, part) for part in ("tpr", "tnr")]
        return (ends[0][0] + ends[1][0]) / 2, (ends[0][1] + ends[1][1]) / 2
    low, high = bound_forms(metric)
    return ratio_of(counts, *low), ratio_of(counts, *high)


def bound_forms(metric: str) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Numerator and denominator of the lower bound and of the upper bound; None for the balanced accuracy, a sum of two."""
    if metric in _EXACT:
        return _EXACT[metric], _EXACT[metric]
    if metric == "fnr":
        return ("FN", "TP+FN+U1"), ("FN+U0", "FN+U0+TP")
    if metric == "tnr":
        return ("TN", "TN+FP+U1"), ("TN+U0", "TN+U0+FP")
    return BOUNDS.get(metric)


def separated(low: np.ndarray, high: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(...) bool: some group's lower bound is above another's upper bound, for all possible labels.

    low, high  (..., groups); used (..., groups) marks the groups that take part.
    """
    largest_low = np.where(used & ~np.isnan(low), low, -np.inf).max(axis=-1)
    smallest_high = np.where(used & ~np.isnan(high), high, np.inf).min(axis=-1)
    return largest_low > smallest_high
