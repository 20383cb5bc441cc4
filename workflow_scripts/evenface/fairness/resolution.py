"""What the test set of a finished evaluation could have seen, beside every gap: from the rows' own standard errors."""

from __future__ import annotations

import numpy as np

from evenface.fairness.criteria import is_ratio, metrics_of
from evenface.fairness.metrics import COMPLEMENT
from evenface.fairness.observed import Observed
from evenface.fairness.power import pair_freedom, reach


class Resolution:
    """Detectable gaps of one model in one grouping; ``power`` is the chance with which they are seen.

    A difference between *any two* of the used groups that is as large as the detectable gap has a p below the level with
    this chance. Other criteria are bounded by differences: a standard deviation is at most half of the largest
    difference, a ratio is 1 minus the difference over the best rate, and criteria of two metrics are larger than a bound
    only if one of the metrics is.
    """

    def __init__(self, observed: Observed, power: float):
        self._observed, self._power = observed, power
        self._known: dict[tuple[str, float], np.ndarray] = {}
        both = observed.jointly()
        self._both = self if both is observed else Resolution(both, power)

    def difference(self, metric: str, level: float) -> np.ndarray:
        """(A,) the smallest largest difference of the metric that is seen; NaN with fewer than two groups."""
        metric = COMPLEMENT.get(metric, metric)  # 1 - x differs as much as x
        if (metric, level) not in self._known:
            observed, (g, h) = self._observed, self._observed.pairs
            used = observed.rates.used[metric]
            variance, n_eff = observed.group_scale(metric) ** 2, observed.support[metric].n_eff
            freedom = pair_freedom((variance[:, g], variance[:, h]), (n_eff[:, g], n_eff[:, h]))
            se, k, both = observed.pair_scale(metric), used.sum(axis=-1), used[:, g] & used[:, h]
            # the widest pair, as Student's t grows to first order; exact quantiles of all pairs would take long
            wide = np.where(both, np.nan_to_num(se, nan=np.inf) * (1 + 2 / freedom), -1)
            if not wide.shape[1]:
                return np.full(len(k), np.nan)
            hardest = np.arange(len(k)), wide.argmax(axis=-1)
            self._known[metric, level] = reach(se[hardest], freedom[hardest], k, level, self._power)
        return self._known[metric, level]

    def _ratio(self, metric: str, level: float, of: str | None = None) -> np.ndarray:
        """(A,) the ratio of the lowest to the highest rate below which a difference is seen; 0 if none is.

        of  the metric whose difference is tested, if it is another
        """
        rates = self._observed.rates
        top = np.where(rates.used[metric], rates.x[metric], 0).max(axis=-1, initial=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(1 - self.difference(of or metric, level) / top, 0)

    def detectable(self, name: str, aggregation: str, fair: float, alpha: float, level: float) -> np.ndarray:
        """(A,) the value of a criterion nearest to ``fair`` at which it is seen; NaN where no bound is known.

        level  of its test; the two metrics of a combined criterion share it
        """
        metrics = metrics_of(name)
        if len(metrics) > 1 and self._both is not self:
            return self._both.detectable(name, aggregation, fair, alpha, level)
        level = level / len(metrics)
        differences = [self.difference(m, level) for m in metrics]
        if np.isnan(fair) or name == "gini_aggregation_rate":
            return np.full(len(differences[0]), np.nan)
        if name == "fairness_discrepancy_rate":
            return 1 - (alpha * differences[1] + (1 - alpha) * differences[0])
        with np.errstate(divide="ignore"):
            if name == "inequity_rate":
                return self._ratio("fpr", level) ** -alpha * self._ratio("fnr", level, "tpr") ** (alpha - 1)
            if is_ratio(name):
                ratios = [self._ratio(m, level) for m in metrics]
                if aggregation == "worst_over_geometric_mean":
                    return 1 / ratios[0]
                return np.mean(ratios, axis=0) if aggregation == "mean" else np.minimum.reduce(ratios)
        found = np.mean(differences, axis=0) if aggregation == "mean" else np.maximum.reduce(differences)
        return found / 2 if aggregation == "std" else found
