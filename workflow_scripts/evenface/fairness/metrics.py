"""Rates of one group, from its outcome counts.

Each is a ratio of two linear forms of (TN, FP, FN, TP, U0, U1), so they apply to integer counts and also to
counts weighted over identities. A rate with denominator 0 is NaN: a group without positives does not have a true
positive rate, which is not the same as a rate of zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evenface.fairness.cube import OUTCOMES


def form(text: str) -> np.ndarray:
    """Coefficients (6,) int64 of a linear form such as ``"2TP+FP-FN"``."""
    weights = np.zeros(6, dtype=np.int64)
    for term in text.replace("-", "+-").split("+"):
        if term:
            weights[OUTCOMES.index(term[-2:])] += int({"": "1", "-": "-1"}.get(term[:-2], term[:-2]))
    return weights


DEFINED, ALL = "TN+FP+FN+TP", "TN+FP+FN+TP+U0+U1"

#: Metric -> the one it is 1 minus of.
COMPLEMENT = {"fnr": "tpr", "tnr": "fpr"}


@dataclass(frozen=True)
class Metric:
    """better: ``high``, ``low``, ``zero`` (the nearer to 0 the better) or ``neutral``."""

    name: str
    numerator: str
    denominator: str
    better: str


RATIOS = {
    metric.name: metric
    for metric in (
        Metric("selection_rate", "TP+FP", DEFINED, "neutral"),
        Metric("selection_rate_all", "TP+FP+U1", ALL, "neutral"),
        Metric("base_rate", "TP+FN", DEFINED, "neutral"),
        Metric("prevalence_bias", "FP-FN", DEFINED, "zero"),
        Metric("tpr", "TP", "TP+FN", "high"),
        Metric("fnr", "FN", "TP+FN", "low"),
        Metric("fpr", "FP", "TN+FP", "low"),
        Metric("tnr", "TN", "TN+FP", "high"),
        Metric("precision", "TP", "TP+FP", "high"),
        Metric("npv", "TN", "TN+FN", "high"),
        Metric("accuracy", "TP+TN", DEFINED, "high"),
        Metric("f1", "2TP", "2TP+FP+FN", "high"),
        Metric("label_coverage", DEFINED, ALL, "high"),
    )
}

# balanced accuracy is the mean of two ratios; weighted_error is the group's part in the alpha criteria
BETTER = {**{m.name: m.better for m in RATIOS.values()}, "balanced_accuracy": "high", "weighted_error": "low"}

METRICS = (
    "selection_rate", "selection_rate_all", "base_rate", "prevalence_bias", "tpr", "fnr", "fpr", "tnr",
    "precision", "npv", "accuracy", "balanced_accuracy", "f1", "label_coverage",
)  # fmt: skip


def ratio_of(counts: np.ndarray, numerator: str, denominator: str) -> np.ndarray:
    """Ratio of two linear forms over the last axis of ``counts`` (..., 6); NaN where undefined."""
    return divide(linear(counts, numerator), linear(counts, denominator))


def linear(counts: np.ndarray, text: str) -> np.ndarray:
    """Value (...) of the linear form ``text`` over the last axis of ``counts`` (..., 6), in their memory order."""
    total = None
    for outcome, coefficient in enumerate(form(text)):
        if coefficient:
            term = counts[..., outcome] if coefficient == 1 else counts[..., outcome] * coefficient
            total = term if total is None else total + term
    return total


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b as float64, NaN where b is 0."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    zero = b == 0
    if not zero.any():
        return a / b
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(zero, np.nan, a / b)


def rate(counts: np.ndarray, metric: str) -> np.ndarray:
    """Value (...) float64 of a metric for counts (..., 6); NaN where its denominator is 0."""
    if metric == "balanced_accuracy":
        return (rate(counts, "tpr") + rate(counts, "tnr")) / 2
    return ratio_of(counts, RATIOS[metric].numerator, RATIOS[metric].denominator)


def denominators(metric: str) -> tuple[str, ...]:
    """The linear forms that must all be positive for the metric to be defined."""
    if metric == "balanced_accuracy":
        return RATIOS["tpr"].denominator, RATIOS["tnr"].denominator
    return (RATIOS[metric].denominator,)


def images_of(metric: str) -> tuple[str, ...]:
    """The linear forms that count the images in each of :func:`denominators`; F1 counts true positives twice."""
    return ("TP+FP+FN",) if metric == "f1" else denominators(metric)
