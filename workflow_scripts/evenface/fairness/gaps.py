"""Criteria that summarise how far groups are apart.

All functions take rates ``x`` (..., groups) and a mask ``used`` that broadcasts against it and marks
the groups that are defined and supported; leading axes (attributes, replicates) are independent. They
return a Gap of values (...) with NaN where undefined, and the reason.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def _few(used: np.ndarray) -> np.ndarray:
    return used.sum(axis=-1) < 2


def _max(x, used):
    return np.where(used, x, -np.inf).max(axis=-1, initial=-np.inf)


def _min(x, used):
    return np.where(used, x, np.inf).min(axis=-1, initial=np.inf)


def _mean(x, used):
    return divide(np.where(used, x, 0).sum(axis=-1), used.sum(axis=-1))


def difference(x: np.ndarray, used: np.ndarray) -> Gap:
    """Largest minus smallest rate."""
    few = _few(used)
    top, bottom = np.where(few, 0, _max(x, used)), np.where(few, 0, _min(x, used))
    return Gap.of(top - bottom, (few, TOO_FEW))


def ratio(x: np.ndarray, used: np.ndarray) -> Gap:
    """Smallest over largest rate; undefined (all_zero) when every rate is 0."""
    few = _few(used)
    top, bottom = np.where(few, 1, _max(x, used)), np.where(few, 1, _min(x, used))
    return Gap.of(divide(bottom, top), (few, TOO_FEW), (top == 0, ALL_ZERO))


def difference_to_overall(x: np.ndarray, used: np.ndarray, overall: np.ndarray) -> Gap:
    """Largest distance of a group from the pooled rate ``overall`` (...) of the same images."""
    few = _few(used)
    far = _max(np.abs(x - np.expand_dims(overall, -1)), used)
    return Gap.of(np.where(few, 0, far), (few, TOO_FEW))


def worst_group(x: np.ndarray, used: np.ndarray, better: str) -> Gap:
    """The worst rate by the metric's direction (``high``, ``low`` or ``zero``)."""
    few = _few(used)
    if better == "low":
        value = _max(x, used)
    elif better == "zero":
        top, bottom = _max(x, used), _min(x, used)
        value = np.where(np.abs(bottom) > np.abs(top), bottom, top)
    else:
        value = _min(x, used)
    return Gap.of(value, (few, TOO_FEW))


def worst_index(x: np.ndarray, used: np.ndarray, better: str) -> np.ndarray:
    """(...) number of the worst used group, the first of equals; of a neutral metric, the lowest."""
    badness = {"high": -x, "neutral": -x, "low": x, "zero": np.abs(x)}[better]
    return np.where(used, badness, -np.inf).argmax(axis=-1)


def best_index(x: np.ndarray, used: np.ndarray, better: str) -> np.ndarray:
    """(...) number of the best used group, the first of equals; of a neutral metric, the highest."""
    goodness = {"high": x, "neutral": x, "low": -x, "zero": -np.abs(x)}[better]
    return np.where(used, goodness, -np.inf).argmax(axis=-1)


def macro_mean(x: np.ndarray, used: np.ndarray) -> Gap:
    """Mean of the group rates, each group counting once."""
    return Gap.of(_mean(x, used), (_few(used), TOO_FEW))


def std(x: np.ndarray, used: np.ndarray) -> Gap:
    """Population standard deviation of the group rates."""
    centred = x - np.expand_dims(_mean(x, used), -1)
    return Gap.of(np.sqrt(_mean(centred**2, used)), (_few(used), TOO_FEW))


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


def inequity_rate(fpr, fpr_used, fnr, fnr_used, alpha: float) -> Gap:
    """(max FPR / min FPR)^alpha * (max FNR / min FNR)^(1-alpha); NIST IR 8429.

    A factor whose rates are all 0 is 1. If only the smallest rate of a factor is 0, the factor is infinite and
    the criterion undefined.
    """
    factors = [_inequity_factor(fpr, fpr_used), _inequity_factor(fnr, fnr_used)]
    value = factors[0].value ** alpha * factors[1].value ** (1 - alpha)
    return _combine(value, *factors)


def _inequity_factor(x, used) -> Gap:
    few = _few(used)
    top, bottom = np.where(few, 1, _max(x, used)), np.where(few, 1, _min(x, used))
    value = np.where(top == 0, 1, divide(top, bottom))
    return Gap.of(value, (few, TOO_FEW), ((bottom == 0) & (top > 0), INFINITE))


def gini(x: np.ndarray, used: np.ndarray) -> Gap:
    """Gini coefficient of the group rates with the small-sample factor k/(k-1); 0 for equal rates."""
    k = used.sum(axis=-1)
    few = k < 2
    ordered = np.sort(np.where(used, x, np.inf), axis=-1)
    rank = np.arange(1, x.shape[-1] + 1)
    inside = rank <= k[..., None]
    # sum over ordered pairs |x_g - x_h| = 2 * sum (2r - k - 1) x_(r)
    ordered = np.where(inside & np.isfinite(ordered), ordered, 0)  # an undefined rate leaves the mean undefined
    pairs = 2 * ((2 * rank - k[..., None] - 1) * ordered).sum(axis=-1)
    mean = _mean(x, used)
    n = np.where(few, 2, k)
    value = n / (n - 1) * divide(pairs, 2 * n**2 * mean)
    equal = np.where(few, True, _max(x, used) == _min(x, used))
    return Gap.of(np.where(equal, 0, value), (few, TOO_FEW))


def gini_aggregation_rate(fpr, fpr_used, fnr, fnr_used, alpha: float) -> Gap:
    """alpha * G(FPR) + (1 - alpha) * G(FNR); Howard et al., 2022."""
    a, b = gini(fpr, fpr_used), gini(fnr, fnr_used)
    return _combine(alpha * a.value + (1 - alpha) * b.value, a, b)


def worst_over_geometric_mean(x: np.ndarray, used: np.ndarray) -> Gap:
    """Largest rate over the geometric mean of all; undefined (zero_rate) when some rate is 0."""
    few = _few(used)
    zero = ~few & (np.where(used, x, 1) == 0).any(axis=-1)
    logs = np.log(np.where(used & (x > 0), x, 1))
    top = np.where(few, 1, _max(x, used))
    return Gap.of(top / np.exp(_mean(logs, used)), (few, TOO_FEW), (zero, ZERO_RATE))


def _combine(value: np.ndarray, *parts: Gap) -> Gap:
    """A value that is undefined where a part is; the reason that comes first in REASONS is kept."""
    code = parts[0].code
    for part in parts[1:]:
        code = np.where((code == 0) | ((part.code > 0) & (part.code < code)), part.code, code)
    return Gap(np.where(code > 0, np.nan, value), code)
