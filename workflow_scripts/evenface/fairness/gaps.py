"""Criteria that summarise how far groups are apart.

All functions take Groups: rates ``x`` (..., groups) and a mask ``used`` that broadcasts against it and marks
the groups that are defined and supported; leading axes (attributes, replicates) are independent. They
return a Gap of values (...) with NaN where undefined, and the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evenface.fairness.metrics import divide

OK, TOO_FEW, ALL_ZERO, ZERO_RATE, INFINITE = "", "too_few_groups", "all_zero", "zero_rate", "infinite"


#: reasons by code; there are many replicates, so a Gap holds codes and looks up the texts when needed
REASONS = (OK, TOO_FEW, ALL_ZERO, ZERO_RATE, INFINITE)


@dataclass(frozen=True)
class Gap:
    """value (...) float64, NaN where undefined; code (...) int8, the reason as a position in REASONS."""

    value: np.ndarray
    code: np.ndarray

    @property
    def status(self) -> np.ndarray:
        """(...) object: the reason why a value is undefined, or empty."""
        return np.array(REASONS, dtype=object)[self.code]

    @classmethod
    def of(cls, value: np.ndarray, *reasons: tuple[np.ndarray, str]) -> Gap:
        """A value that is undefined where a mask is true; the first true mask gives the reason."""
        value = np.array(value, dtype=np.float64)
        code = np.zeros(value.shape, dtype=np.int8)
        for mask, reason in reversed(reasons):
            if mask.any():
                mask = np.broadcast_to(mask, value.shape)
                code[mask] = REASONS.index(reason)
                value[mask] = np.nan
        return cls(value, code)


class Groups:
    """Rates x (..., groups) and which groups are used; what several criteria need is computed once."""

    def __init__(self, x: np.ndarray, used: np.ndarray):
        self.x, self.used = x, used
        self._every = bool(used.all())

    def filled(self, value: float) -> np.ndarray:
        """The rates, and ``value`` for unused groups."""
        return self.x if self._every else np.where(self.used, self.x, value)

    @cached_property
    def few(self) -> np.ndarray:
        """(...) whether fewer than two groups are used, so that a gap is undefined."""
        return self.used.sum(axis=-1) < 2

    @cached_property
    def top(self) -> np.ndarray:
        """(...) largest used rate; -inf without one."""
        return self.filled(-np.inf).max(axis=-1, initial=-np.inf)

    @cached_property
    def bottom(self) -> np.ndarray:
        """(...) smallest used rate; inf without one."""
        return self.filled(np.inf).min(axis=-1, initial=np.inf)

    @cached_property
    def mean(self) -> np.ndarray:
        return self.mean_of(self.filled(0))

    def mean_of(self, values: np.ndarray) -> np.ndarray:
        """(...) mean over the used groups of values that are 0 in the others."""
        return divide(values.sum(axis=-1), self.used.sum(axis=-1))

    def ends(self, without: float) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest rate, or ``without`` where a gap is undefined."""
        ends = self.bottom, self.top
        return tuple(np.where(self.few, without, end) for end in ends) if self.few.any() else ends


def difference(groups: Groups) -> Gap:
    """Largest minus smallest rate."""
    bottom, top = groups.ends(0)
    return Gap.of(top - bottom, (groups.few, TOO_FEW))


def ratio(groups: Groups) -> Gap:
    """Smallest over largest rate; undefined (all_zero) when every rate is 0."""
    bottom, top = groups.ends(1)
    return Gap.of(divide(bottom, top), (groups.few, TOO_FEW), (top == 0, ALL_ZERO))


def difference_to_overall(groups: Groups, overall: np.ndarray) -> Gap:
    """Largest distance of a group from the pooled rate ``overall`` (...) of the same images."""
    far = np.maximum(*(np.abs(end - overall) for end in groups.ends(0)))
    return Gap.of(np.where(groups.few, 0, far), (groups.few, TOO_FEW))


def worst_group(groups: Groups, better: str) -> Gap:
    """The worst rate by the metric's direction (``high``, ``low`` or ``zero``)."""
    value = groups.top if better == "low" else groups.bottom
    if better == "zero":
        value = np.where(np.abs(groups.bottom) > np.abs(groups.top), groups.bottom, groups.top)
    return Gap.of(value, (groups.few, TOO_FEW))


def worst_index(x: np.ndarray, used: np.ndarray, better: str) -> np.ndarray:
    """(...) number of the worst used group, the first of equals; of a neutral metric, the lowest."""
    badness = {"high": -x, "neutral": -x, "low": x, "zero": np.abs(x)}[better]
    return np.where(used, badness, -np.inf).argmax(axis=-1)


def best_index(x: np.ndarray, used: np.ndarray, better: str) -> np.ndarray:
    """(...) number of the best used group, the first of equals; of a neutral metric, the highest."""
    goodness = {"high": x, "neutral": x, "low": -x, "zero": -np.abs(x)}[better]
    return np.where(used, goodness, -np.inf).argmax(axis=-1)


def macro_mean(groups: Groups) -> Gap:
    """Mean of the group rates, each group counting once."""
    return Gap.of(groups.mean, (groups.few, TOO_FEW))


def std(groups: Groups) -> Gap:
    """Population standard deviation of the group rates."""
    mean = np.expand_dims(groups.mean, -1)
    centred = groups.x - mean if groups.used.all() else np.where(groups.used, groups.x - mean, 0)
    return Gap.of(np.sqrt(groups.mean_of(np.square(centred, out=centred))), (groups.few, TOO_FEW))


def worst_of(a: Gap, b: Gap) -> Gap:
    """The larger of two gaps; undefined if one of them is."""
    return _combine(np.maximum(a.value, b.value), a, b)


def smaller_of(a: Gap, b: Gap) -> Gap:
    """The smaller of two ratios; undefined if one of them is."""
    return _combine(np.minimum(a.value, b.value), a, b)


def mean_of(a: Gap, b: Gap) -> Gap:
    """The mean of two gaps; undefined if one of them is."""
    return _combine((a.value + b.value) / 2, a, b)


def fairness_discrepancy_rate(fpr_difference: Gap, fnr_difference: Gap, alpha: float) -> Gap:
    """1 - (alpha * FPR difference + (1 - alpha) * FNR difference).

    Pereira and Marcel, IEEE TBIOM 2022, with false positives and false negatives of an attribute instead of
    false matches and false non-matches.
    """
    value = 1 - (alpha * fpr_difference.value + (1 - alpha) * fnr_difference.value)
    return _combine(value, fpr_difference, fnr_difference)


def inequity_rate(fpr: Groups, fnr: Groups, alpha: float) -> Gap:
    """(max FPR / min FPR)^alpha * (max FNR / min FNR)^(1-alpha); NIST IR 8429.

    A factor whose rates are all 0 is 1. If only the smallest rate of a factor is 0, the factor is infinite and
    the criterion undefined.
    """
    factors = [_inequity_factor(fpr), _inequity_factor(fnr)]
    value = factors[0].value ** alpha * factors[1].value ** (1 - alpha)
    return _combine(value, *factors)


def _inequity_factor(groups: Groups) -> Gap:
    bottom, top = groups.ends(1)
    value = np.where(top == 0, 1, divide(top, bottom))
    return Gap.of(value, (groups.few, TOO_FEW), ((bottom == 0) & (top > 0), INFINITE))


def gini(groups: Groups) -> Gap:
    """Gini coefficient of the group rates with the small-sample factor k/(k-1); 0 for equal rates."""
    k = groups.used.sum(axis=-1)
    ordered = np.sort(groups.filled(np.inf), axis=-1)
    rank = np.arange(1, ordered.shape[-1] + 1)
    inside = rank <= k[..., None]
    # sum over ordered pairs |x_g - x_h| = 2 * sum (2r - k - 1) x_(r)
    ordered = np.where(inside & np.isfinite(ordered), ordered, 0)  # an undefined rate leaves the mean undefined
    pairs = 2 * ((2 * rank - k[..., None] - 1) * ordered).sum(axis=-1)
    n = np.where(groups.few, 2, k)
    value = n / (n - 1) * divide(pairs, 2 * n**2 * groups.mean)
    bottom, top = groups.ends(0)
    return Gap.of(np.where(bottom == top, 0, value), (groups.few, TOO_FEW))


def gini_aggregation_rate(fpr: Groups, fnr: Groups, alpha: float) -> Gap:
    """alpha * G(FPR) + (1 - alpha) * G(FNR); Howard et al., 2022."""
    a, b = gini(fpr), gini(fnr)
    return _combine(alpha * a.value + (1 - alpha) * b.value, a, b)


def worst_over_geometric_mean(groups: Groups) -> Gap:
    """Largest rate over the geometric mean of all; undefined (zero_rate) when some rate is 0."""
    rates = groups.filled(1)
    zero = ~groups.few & (groups.bottom == 0)
    logs = np.log(np.where(rates > 0, rates, 1))
    top = groups.ends(1)[1]
    return Gap.of(top / np.exp(groups.mean_of(logs)), (groups.few, TOO_FEW), (zero, ZERO_RATE))


def _combine(value: np.ndarray, *parts: Gap) -> Gap:
    """A value that is undefined where a part is; the reason that comes first in REASONS is kept."""
    code = parts[0].code
    for part in parts[1:]:
        code = np.where((code == 0) | ((part.code > 0) & (part.code < code)), part.code, code)
    return Gap(np.where(code > 0, np.nan, value), code)
