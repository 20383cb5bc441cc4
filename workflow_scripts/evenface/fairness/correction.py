"""Corrects group rates for known errors of the annotator that assigned the groups.

With K[t, o] = P(observed o | true t), observed counts over groups are K' times the true counts, for each outcome.
This assumes that, within a true group, the annotator's errors do not depend on label and prediction. Corrected
rates are additional rows; they never replace others.
"""

from __future__ import annotations

import numpy as np

from evenface.fairness.interval import PERCENTILE, Interval
from evenface.fairness.metrics import METRICS, rate
from evenface.fairness.quantiles import quantiles, tails
from evenface.fairness.resampling import CONFUSION, generators

METHOD, FAILED = "confusion_inverse", "correction_failed"

MAX_CONDITION = 10.0
MAX_NEGATIVE = 0.005  # share of a group's images by which a corrected count may be below 0


def rates_of_rows(counts: np.ndarray) -> np.ndarray:
    """K (groups, groups) from validation counts; rows are true and columns observed groups; each row sums to 1."""
    counts = np.asarray(counts, dtype=np.float64)
    return counts / counts.sum(axis=-1, keepdims=True)


def condition_number(confusion: np.ndarray) -> float:
    """Largest over smallest singular value; it says how much the correction magnifies noise."""
    return float(np.linalg.cond(confusion))


def corrected_counts(counts: np.ndarray, confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True counts (..., groups, 6) from observed ones, and whether (...) they are impossible.

    confusion  (groups, groups) or one per replicate (..., groups, groups), rows summing to 1

    A count further below 0 than 0.5 % of its group's images means that the confusion does not fit the
    data; nearer ones are noise and become 0.
    """
    true = np.linalg.solve(np.swapaxes(confusion, -1, -2), np.asarray(counts, dtype=np.float64))
    total = np.abs(true.sum(axis=-1, keepdims=True))
    failed = (true < -MAX_NEGATIVE * total).any(axis=(-1, -2))
    return np.maximum(true, 0), failed


def confusion_draws(counts: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Random matrices (n, groups, groups) with rows from Dirichlet(count + 0.5): the validation's uncertainty."""
    counts = np.asarray(counts, dtype=np.float64)
    draws = np.empty((n, *counts.shape))
    for replicates, rng in generators(seed, CONFUSION, n):
        gamma = rng.standard_gamma(counts + 0.5, (replicates.stop - replicates.start, *counts.shape))
        draws[replicates] = gamma / gamma.sum(axis=-1, keepdims=True)
    return draws


class Correction:
    """Corrected rates of one grouping, and their intervals.

    counts  validation counts (groups, groups) of the annotator
    """

    def __init__(self, counts: np.ndarray, n_boot: int, seed: int, level: float):
        self.confusion = rates_of_rows(counts)
        self.condition = condition_number(self.confusion)
        self.draws = confusion_draws(counts, n_boot, seed)
        self.level = level

    @property
    def possible(self) -> bool:
        return bool(np.isfinite(self.condition)) and self.condition <= MAX_CONDITION

    def rates(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Metric -> (A, groups) of observed counts (A, groups, 6); NaN where the correction fails."""
        if not self.possible:
            return {metric: np.full(counts.shape[:2], np.nan) for metric in METRICS}
        true, failed = corrected_counts(counts, self.confusion)
        return {metric: np.where(failed[:, None], np.nan, rate(true, metric)) for metric in METRICS}

    def intervals(self, counts: np.ndarray) -> dict[str, Interval]:
        """Metric -> percentile intervals (a, groups) from replicates (a, B, groups, 6) and drawn confusions."""
        n_boot = counts.shape[1]
        if not self.possible:
            nothing = np.full((counts.shape[0], counts.shape[2]), np.nan)
            none = Interval.of(nothing, nothing, np.zeros(nothing.shape, dtype=np.int64), PERCENTILE, n_boot)
            return dict.fromkeys(METRICS, none)
        true, failed = corrected_counts(counts, self.draws)
        found = {}
        for metric in METRICS:
            x = np.where(failed[..., None], np.nan, rate(true, metric)).transpose(0, 2, 1)
            low, high = quantiles(np.ascontiguousarray(x), tails(self.level))
            found[metric] = Interval.of(low, high, n_boot - np.isnan(x).sum(axis=-1), PERCENTILE, n_boot)
        return found
