"""The gap that is sure to exist whatever the undefined labels are.

Each group's rate lies between its bounds (:mod:`evenface.fairness.coverage`). For the values of undefined labels that bring
the groups nearest, a gap is the largest difference of a lower bound from another group's upper bound. Bounds are estimated
from few people like rates, so both get confidence limits, and a difference combines them as in ``uncertainty`` (MOVER).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from evenface.fairness.coverage import bound_forms
from evenface.fairness.criteria import NAMED, WEIGHTED_ERROR
from evenface.fairness.metrics import BETTER, METRICS, divide, linear
from evenface.fairness.observed import Observed
from evenface.fairness.rate_limits import Spread, limits

_TINY = 1e-300

_OF = {NAMED.get((m, kind), f"{m}_{kind}"): (m, kind) for m in METRICS for kind in ("difference", "ratio")}
#: combined criterion -> its two metrics, and whether the larger of their distances counts
_BOTH = {
    "equalized_odds_difference_worst": (("tpr", "fpr"), "difference", True),
    "equalized_odds_difference_mean": (("tpr", "fpr"), "difference", False),
    "equalized_odds_ratio_worst": (("tpr", "fpr"), "ratio", True),
    "equalized_odds_ratio_mean": (("tpr", "fpr"), "ratio", False),
    "fairness_discrepancy_rate": (("fpr", "fnr"), "difference", False),
}


class WorstCase:
    """Lower confidence limits of distances from equal treatment, for some attributes of a model in one grouping.

    observed    the model in its grouping
    attributes  (a,) positions
    alpha       weight of false positives in the fairness discrepancy rate
    """

    def __init__(self, observed: Observed, attributes: np.ndarray, alpha: float):
        self._observed, self._attributes, self._alpha = observed, attributes, alpha
        self._person = observed.person_of(attributes)

    def distance(self, criterion: str) -> np.ndarray:
        """(a,) limit of the distance at the level of the intervals; -inf where nothing is sure."""
        if criterion in _OF:
            metric, kind = _OF[criterion]
            return self._one(metric, kind, 1, self._observed.rates.used[metric])
        if criterion not in _BOTH:
            return np.full(len(self._attributes), -np.inf)
        metrics, kind, larger = _BOTH[criterion]
        used = self._observed.rates.used[WEIGHTED_ERROR]  # the groups that have both errors
        parts = [self._one(metric, kind, 2, used) for metric in metrics]
        if larger:
            return np.maximum(*parts)
        weights = (self._alpha, 1 - self._alpha) if criterion == "fairness_discrepancy_rate" else (0.5, 0.5)
        return sum(weight * np.maximum(part, 0) for weight, part in zip(weights, parts, strict=True))

    def _one(self, metric: str, kind: str, family: int, used: np.ndarray) -> np.ndarray:
        forms = bound_forms(metric)
        used = used[self._attributes]
        k = used.sum(axis=-1)
        if forms is None:
            return np.full(len(k), -np.inf)
        chance = (1 - self._observed.level) / np.maximum(k * (k - 1), 2) / family
        z = ndtri(1 - chance)[:, None]
        signed = BETTER[metric] == "zero"
        (x, low, _), (y, _, high) = (self._limits(*form, z, signed) for form in forms)
        if kind == "ratio":
            x, low, y, high = (np.log(np.maximum(part, _TINY)) for part in (x, low, y, high))
        below, above = np.maximum(x - low, 0)[:, :, None], np.maximum(high - y, 0)[:, None, :]
        sure = x[:, :, None] - y[:, None, :] - np.sqrt(below**2 + above**2)
        pairs = used[:, :, None] & used[:, None, :] & ~np.eye(used.shape[1], dtype=bool)
        best = np.where(pairs & ~np.isnan(sure), sure, -np.inf).max(axis=(1, 2), initial=-np.inf)
        return best if kind == "difference" else -np.expm1(-np.maximum(best, 0))

    def _limits(self, numerator: str, denominator: str, z: np.ndarray, signed: bool):
        """A bound (a, G), and its lower and upper confidence limit."""
        a, d = (linear(self._person, text).astype(np.float64) for text in (numerator, denominator))
        by_group, group = self._observed.sum_by_group, self._observed.group
        total = by_group(d)
        x = divide(by_group(a), total)
        u = np.nan_to_num(divide(a - np.nan_to_num(x)[group] * d, total[group] - d))
        second, third, fourth = (by_group(u**power) for power in (2, 3, 4))
        n_eff = np.nan_to_num(divide(total**2, by_group(d * d)))
        carriers = np.nan_to_num(divide(second**2, fourth), nan=1.0)
        se = np.where(n_eff > 1, np.sqrt(second), np.nan)
        spread = Spread(*(part.T for part in (se / 2 if signed else se, n_eff, carriers, np.sign(third))))
        value = x.T
        low, high = limits((value + 1) / 2 if signed else value, spread, z)
        return (value, 2 * low - 1, 2 * high - 1) if signed else (value, low, high)
