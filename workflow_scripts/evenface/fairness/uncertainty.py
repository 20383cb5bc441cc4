"""Standard errors and intervals that are valid although images of the same person are similar.

Every interval rests on the limits of the groups' rates (``rate_limits``). Gaps do not get percentiles of the identity
bootstrap: its distribution of max - min is shifted upwards and cannot contain 0. They get simultaneous intervals of all
pairs of groups, from which the interval of the largest difference follows. The bootstrap gives their common critical
value (max-|t|, Westfall and Young 1993), because the rates of groups depend on each other through shared people.

Shapes: a attributes, B replicates, G groups, P pairs of groups. Replicate arrays are (a, B, G) views
whose replicates are adjacent in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce

import numpy as np
from scipy.special import ndtr

from evenface.fairness.criteria import NAMED, Rates
from evenface.fairness.interval import BINOMIAL, CONSERVATIVE, MIN_VALID, SIMULTANEOUS, Interval
from evenface.fairness.metrics import BETTER, COMPLEMENT, METRICS, divide
from evenface.fairness.observed import Observed
from evenface.fairness.quantiles import exp, quantiles, share_below, spread
from evenface.fairness.rate_limits import mover, student
from evenface.fairness.training_luck import Luck

_TINY = 1e-300  # stands for 0 under a logarithm, so that differences stay numbers
_TINY_RATE = 1e-9  # likewise under a division

#: the largest normal quantile that is looked at, and how often the interval up to it is halved
_FARTHEST, _HALVINGS = 8.0, 14


class Replicates:
    """Intervals of one block of attributes from its replicates.

    observed  the whole model in this grouping; block the attributes ``rates`` has replicates of
    rates     Rates of replicates, x (a, B, G)
    metrics   those whose own intervals are wanted, besides the criteria of both errors
    """

    def __init__(self, observed: Observed, rates: Rates, block: slice, alpha: float, metrics: Sequence[str] = METRICS):
        self.observed, self.rates, self.block, self.alpha = observed, rates, block, alpha
        self.level = observed.level
        self.n_boot = rates.x["accuracy"].shape[1]
        self._max_t: dict[tuple[str, bool], np.ndarray] = {}
        self._families: dict[tuple[tuple[str, ...], bool], tuple[np.ndarray, np.ndarray]] = {}
        self._limits: dict[tuple[str, bytes], tuple[np.ndarray, np.ndarray]] = {}
        self._of_all_groups: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._deviations: dict[str, np.ndarray] = {}
        self._find_limits(metrics)

    def _find_limits(self, metrics: Sequence[str]) -> None:
        """The limits that all intervals need, in one search."""
        alone = [(metric,) for metric in metrics]
        both = ("tpr", "fpr")
        families = [(one, False) for one in alone] + [(one, True) for one in alone if _has_ratio(*one)]
        families += [(both, False), (both, True), (("fpr", "fnr"), True)]
        critical = [(family, self._of_family(family, logs)[0]) for family, logs in families]
        critical += [(family, self._of_groups(family)[0]) for family in (*alone, both)]
        critical += [(metrics, np.full(len(critical[0][1]), self.observed.z))]
        wanted = {(COMPLEMENT.get(metric, metric), q.tobytes()): q for family, q in critical for metric in family}
        found = self.observed.limits_of([(metric, q) for (metric, _), q in wanted.items()], self.block)
        self._limits.update(zip(wanted, found, strict=True))

    # rates of groups

    def rate(self, metric: str) -> Interval:
        """(a, G) interval of each rate on its own, by :mod:`evenface.fairness.rate_limits`."""
        if metric in COMPLEMENT:
            return self.rate(COMPLEMENT[metric]).map(lambda end: 1 - end, self.n_boot)
        n_valid = self.n_boot - np.isnan(self._by_group(metric)).sum(axis=-1).T
        low, high = self._own_limits(metric, np.full(len(n_valid), self.observed.z))
        return Interval.of(low, high, n_valid, BINOMIAL, self.n_boot)

    def _own_limits(self, metric: str, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(a, G) limits of the rates at the normal quantile ``q`` (a,), with the luck of training."""
        low, high = self._limits_at(metric, q)
        if self.observed.training is None:
            return low, high
        luck, x = self.observed.training.own[metric][self.block], self.observed.rates.x[metric][self.block]
        below, above = luck.widen(x - low, q[:, None]), luck.widen(high - x, q[:, None])
        return np.maximum(x - below, -1 if BETTER[metric] == "zero" else 0), np.minimum(x + above, 1)

    def _relative_luck(self, metric: str, logs: bool) -> Luck | None:
        """(a, G) of rates, or of their logarithms, beside those of other groups; None for one seed."""
        if self.observed.training is None:
            return None
        luck = self.observed.training.relative[metric][self.block]
        return luck.times(1 / np.maximum(self.observed.rates.x[metric][self.block], _TINY_RATE)) if logs else luck

    def _by_group(self, metric: str) -> np.ndarray:
        return self.rates.x[metric].transpose(2, 0, 1)

    # pairs of groups

    def max_t(self, metric: str, logs: bool = False) -> np.ndarray:
        """(a, B) largest studentised deviation over the pairs of used groups; NaN if one is undefined."""
        key = metric if logs else COMPLEMENT.get(metric, metric), logs  # 1 - x differs as much as x
        if key not in self._max_t:
            metric = key[0]
            centred = self._centred(metric, logs)
            scale = self.observed.pair_scale(metric, logs=logs)[self.block]
            used = self._used_pairs(metric) & (scale > 0)
            inverse = divide(used, np.where(used, scale, 1)).T[..., None].astype(np.float32)
            largest = np.zeros_like(centred[0])
            step = np.empty_like(largest)
            for p, (g, h) in enumerate(zip(*self.observed.pairs, strict=True)):
                np.subtract(centred[g], centred[h], out=step)
                step *= inverse[p]
                np.abs(step, out=step)
                np.maximum(largest, step, out=largest)
            self._max_t[key] = largest
        return self._max_t[key]

    def _centred(self, metric: str, logs: bool) -> np.ndarray:
        """(G, a, B) deviations of the replicates from the estimate in single precision; 0 in unused groups."""
        if logs:
            return self._centre(metric, logs)
        if metric not in self._deviations:
            self._deviations[metric] = self._centre(metric, logs)
        return self._deviations[metric]

    def _centre(self, metric: str, logs: bool) -> np.ndarray:
        x, value = self._by_group(metric), self.observed.rates.x[metric][self.block].T
        if logs:
            x, value = np.log(np.maximum(x, _TINY)), np.log(np.maximum(value, _TINY))
        centred = np.subtract(x, value[..., None], dtype=np.float64).astype(np.float32)
        used = self.observed.rates.used[metric][self.block].T
        if not used.all():
            centred[~used] = 0
        return centred

    def _used_pairs(self, metric: str) -> np.ndarray:
        g, h = self.observed.pairs
        used = self.observed.rates.used[metric][self.block]
        return used[:, g] & used[:, h]

    def _critical(self, t: np.ndarray) -> np.ndarray:
        """(a,) common critical value of largest deviations (a, B); at least that of a single interval."""
        return np.maximum(quantiles(t, (self.level,))[0], self.observed.z)

    def _of_family(self, metrics: tuple[str, ...], logs: bool) -> tuple[np.ndarray, np.ndarray]:
        """(a,) critical value of all pairs of all metrics together, and its valid replicates."""
        key = metrics, logs
        if key not in self._families:
            t = reduce(np.maximum, (self.max_t(metric, logs) for metric in metrics))
            self._families[key] = self._critical(t), self._valid(t)
        return self._families[key]

    def _limits_at(self, metric: str, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(a, G) limits of the rates at the normal quantile ``q`` (a,)."""
        key = metric, q.tobytes()
        if key not in self._limits:
            if metric in COMPLEMENT:
                low, high = self._limits_at(COMPLEMENT[metric], q)
                self._limits[key] = 1 - high, 1 - low
            else:
                self._limits[key] = self.observed.limits(metric, q[:, None], self.block)
        return self._limits[key]

    def _reaches(self, metric: str, q: np.ndarray, logs: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(a, G) rates or their logarithms, and how far their limits at the normal quantile ``q`` (a,) are below and above."""
        x = self.observed.rates.x[metric][self.block]
        low, high = self._limits_at(metric, q)
        if logs:
            x, low, high = (np.log(np.maximum(part, _TINY)) for part in (x, low, high))
        return x, np.maximum(x - low, 0), np.maximum(high - x, 0)

    def _pair_ends(self, metric: str, q: np.ndarray, logs: bool) -> tuple[np.ndarray, np.ndarray]:
        """(a, P) ends of the interval of x_g - x_h from the limits of x_g and of x_h, NaN for unused pairs."""
        g, h = self.observed.pairs
        x, below, above = self._reaches(metric, q, logs)
        d, correlation = x[:, g] - x[:, h], self.observed.pair_correlation(metric)[self.block]
        used = self._used_pairs(metric)
        reaches = mover(below[:, g], above[:, h], correlation), mover(above[:, g], below[:, h], correlation)
        luck = self._relative_luck(metric, logs)
        if luck is not None:
            of_pair = luck[:, g].plus(luck[:, h])
            reaches = [of_pair.widen(reach, q[:, None]) for reach in reaches]
        return np.where(used, d - reaches[0], np.nan), np.where(used, d + reaches[1], np.nan)

    def pairwise(self, metric: str) -> Interval:
        """(a, P) simultaneous intervals of the signed differences."""
        q, valid = self._of_family((metric,), False)
        low, high = self._pair_ends(metric, q, False)
        return Interval.of(low, high, valid[:, None], SIMULTANEOUS, self.n_boot)

    def largest_difference(self, metric: str, family: tuple[str, ...] = (), logs: bool = False) -> Interval:
        """(a,) interval of the largest difference of rates (or of their logarithms) over all pairs.

        family  metrics whose intervals are to be right together; without it, this one alone
        """
        q, valid = self._of_family(family or (metric,), logs)
        low, high = self._pair_ends(metric, q, logs)
        lower = np.fmax.reduce(np.fmax(low, -high), axis=-1, initial=0)
        upper = np.fmax.reduce(np.fmax(high, -low), axis=-1, initial=0)
        used = self.observed.rates.used[metric][self.block]
        none = (used.sum(axis=-1) < 2) | np.isnan(np.where(self._used_pairs(metric), high, 0)).any(axis=-1)
        if logs:
            none |= (used & (self.observed.rates.x[metric][self.block] == 0)).any(axis=-1)
        return Interval.of(np.where(none, np.nan, lower), upper, valid, SIMULTANEOUS, self.n_boot)

    def p_of_equality(self, metrics: tuple[str, ...]) -> np.ndarray:
        """(a,) p of equal rates in all used groups: 1 minus the level at which the first pair's interval touches 0.

        Several metrics are one family. Intervals and p never contradict each other.
        """
        t = reduce(np.maximum, (self.max_t(metric) for metric in metrics))
        low, high = np.zeros(len(t)), np.full(len(t), _FARTHEST)
        known = dict(self._limits)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            apart = np.zeros(len(t), dtype=bool)
            for metric in metrics:
                ends = self._pair_ends(metric, middle, False)
                with np.errstate(invalid="ignore"):
                    apart |= ((ends[0] > 0) | (ends[1] < 0)).any(axis=-1)
            low, high = np.where(apart, middle, low), np.where(apart, high, middle)
        self._limits = known
        valid = self._valid(t)
        p = np.maximum(1 - share_below(t.astype(np.float64), low), 2 * ndtr(-low))
        p = np.clip(p, 1 / (valid + 1), 1)
        used = [self.observed.rates.used[metric][self.block] for metric in metrics]
        none = np.logical_or.reduce([mask.sum(axis=-1) < 2 for mask in used]) | (valid < MIN_VALID * self.n_boot)
        for metric in metrics:
            ends = self._pair_ends(metric, np.full(len(t), self.observed.z), False)
            none |= np.isnan(np.where(self._used_pairs(metric), ends[0], 0)).any(axis=-1)
        return np.where(none, np.nan, p)

    @staticmethod
    def _valid(t: np.ndarray) -> np.ndarray:
        return t.shape[-1] - np.isnan(t).sum(axis=-1)

    # one contrast per group

    def _of_groups(self, metrics: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """(a,) critical value of the rates of all groups and metrics together, and its valid replicates."""
        if metrics not in self._of_all_groups:
            self._of_all_groups[metrics] = self._of_groups_together(metrics)
        return self._of_all_groups[metrics]

    def _of_groups_together(self, metrics: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        t = 0.0
        for metric in metrics:
            centred = self._centred(metric, False)
            scale = np.fmax(spread(centred), self.observed.group_scale(metric)[self.block].T)
            used = self.observed.rates.used[metric][self.block].T
            inverse = divide(used & (scale > 0), np.where(scale > 0, scale, 1))
            t = np.maximum(t, np.abs(centred * inverse[..., None]).max(axis=0, initial=0))
        return self._critical(t), self._valid(t)

    def groups(self, metric: str) -> dict[str, Interval]:
        """Aggregation -> (a,) interval of the worst group's rate, and of the largest distance of a group to all."""
        used = self.observed.rates.used[metric][self.block]
        q, valid = self._of_groups((metric,))
        found, better, few = {}, BETTER[metric], used.sum(axis=-1) < 2
        if better in ("low", "high"):
            ends = self._own_limits(metric, q)
            if better == "low":
                ends = (np.where(used, end, -np.inf).max(axis=-1, initial=-np.inf) for end in ends)
            else:
                ends = (np.where(used, end, np.inf).min(axis=-1, initial=np.inf) for end in ends)
            low, high = (np.where(few, np.nan, np.clip(end, 0, 1)) for end in ends)
            found["worst_group"] = Interval.of(low, high, valid, SIMULTANEOUS, self.n_boot)
        return found | {"difference_to_overall": self._to_overall(metric, q, valid)}

    def _to_overall(self, metric: str, q: np.ndarray, valid: np.ndarray) -> Interval:
        """(a,) interval of the largest distance of a group's rate to the pooled one.

        As many distances as groups depend on each other more than the rates, so their critical value is large enough.
        """
        used = self.observed.rates.used[metric][self.block]
        value = self.observed.rates.x[metric][self.block] - self.observed.rates.pooled[metric][self.block][:, None]
        weights = np.eye(used.shape[-1]) - self.observed.image_shares(metric)[self.block][:, None, :]
        a, b = self._ends_of_sums(metric, q, value, weights)
        low, high = np.maximum(np.maximum(a, -b), 0), np.maximum(b, -a)
        low, high = (np.where(used, end, -np.inf).max(axis=-1, initial=-np.inf) for end in (low, high))
        return Interval.of(np.where(used.sum(axis=-1) < 2, np.nan, low), high, valid, SIMULTANEOUS, self.n_boot)

    def over_geometric_mean(self, metric: str) -> Interval:
        """(a,) interval of the largest rate over the geometric mean of all, studentised on the log scale."""
        x, value = self._by_group(metric), self.observed.rates.x[metric][self.block].T
        used = self.observed.rates.used[metric][self.block].T
        x, value = np.log(np.maximum(x, _TINY)), np.log(np.maximum(value, _TINY))
        n = np.maximum(used.sum(axis=0), 1)
        x = x - np.where(used[..., None], x, 0).sum(axis=0) / n[:, None]
        value = value - np.where(used, value, 0).sum(axis=0) / n
        centred = np.where(used[..., None], x - value[..., None], 0)
        scale = spread(centred)
        moves = scale > 0  # a critical value may be infinite
        t = np.abs(centred * divide(used & moves, np.where(moves, scale, 1))[..., None]).max(axis=0, initial=0)
        reach = student(self._critical(t), self.observed.support[metric].n_eff[self.block].T) * np.where(
            moves, scale, 1
        )
        reach = np.where(moves, reach, 0)
        luck = self._relative_luck(metric, logs=True)
        reach = reach if luck is None else luck.widen(reach.T, self._critical(t)[:, None]).T
        low, high = (
            np.where(used, end, -np.inf).max(axis=0, initial=-np.inf) for end in (value - reach, value + reach)
        )
        none = (n < 2) | (used & (self.observed.rates.x[metric][self.block].T == 0)).any(axis=0)
        low, high = (exp(np.maximum(end, 0)) for end in (low, high))
        return Interval.of(np.where(none, np.nan, low), high, self._valid(t), SIMULTANEOUS, self.n_boot)

    def _ends_of_sums(self, metric: str, q: np.ndarray, value: np.ndarray, weights: np.ndarray):
        """(a, C) ends of the intervals of weighted sums of the used groups' rates, from their limits as for pairs.

        value (a, C) the sums; weights (a, C, G), 0 for unused groups
        """
        _, below, above = self._reaches(metric, q, False)
        used = self.observed.rates.used[metric][self.block]
        below, above = (np.where(used, part, 0)[:, None, :] for part in (below, above))
        ends, luck = [], self._relative_luck(metric, logs=False)
        for sign, down, up in ((-1, below, above), (1, above, below)):
            part = weights * np.where(weights > 0, down, up)
            variance = (part**2).sum(axis=-1)
            if self.observed.spans:
                variance = ((part @ self.observed.correlation(metric)[self.block]) * part).sum(axis=-1)
            reach = np.sqrt(np.maximum(variance, 0))
            ends.append(value + sign * (reach if luck is None else luck.widen(reach, q[:, None])))
        return ends

    def macro_mean(self, metric: str) -> Interval:
        """(a,) interval of the mean of the used groups' rates."""
        low, high = (end[self.block] for end in self.observed.limits_of_mean(metric))
        used = self.observed.rates.used[metric][self.block]
        if self.observed.training is not None:
            luck, n = self.observed.training.mean[metric][self.block], np.maximum(used.sum(axis=-1), 1)
            mean = np.where(used, self.observed.rates.x[metric][self.block], 0).sum(axis=-1) / n
            low, high = mean - luck.widen(mean - low, self.observed.z), mean + luck.widen(high - mean, self.observed.z)
            low, high = np.maximum(low, -1 if BETTER[metric] == "zero" else 0), np.minimum(high, 1)
        valid = self.n_boot - np.isnan(np.where(used.T[..., None], self._by_group(metric), 0)).any(axis=0).sum(axis=-1)
        return Interval.of(np.where(used.sum(axis=-1) < 2, np.nan, low), high, valid, BINOMIAL, self.n_boot)

    # criteria

    def criteria(self) -> dict[str, Interval]:
        """Criterion -> (a,) interval, for those that have one.

        The standard deviation over groups and the Gini aggregation do not have one: like max - min they are
        biased upwards under resampling, and contrasts do not bound them usefully.
        """
        found = {}
        for metric in METRICS:
            for aggregation, interval in self._of_metric(metric).items():
                found[NAMED.get((metric, aggregation), f"{metric}_{aggregation}")] = interval
        for metric in ("fpr", "fnr"):
            found[f"worst_over_geometric_mean_{metric}"] = self.over_geometric_mean(metric)
        return found | self.jointly._combined()

    @property
    def jointly(self) -> Replicates:
        """The same for criteria of both errors; itself if both compare the same groups."""
        # an object that keeps a reference to itself would stay in memory, with its replicates, long after its use
        return self if self.observed.jointly() is self.observed else self._together

    @cached_property
    def _together(self) -> Replicates:
        return Replicates(self.observed.jointly(), self.rates.jointly(), self.block, self.alpha, metrics=())

    def _of_metric(self, metric: str) -> dict[str, Interval]:
        found = {"difference": self.largest_difference(metric)}
        if _has_ratio(metric):
            found["ratio"] = self._as_ratio(self.largest_difference(metric, logs=True))
        return found | self.groups(metric) | {"macro_mean": self.macro_mean(metric)}

    def _as_ratio(self, of_logs: Interval) -> Interval:
        return of_logs.map(lambda end: np.exp(-end), self.n_boot)

    def _combined(self) -> dict[str, Interval]:
        alpha, both = self.alpha, ("tpr", "fpr")
        tpr, fpr = (self.largest_difference(metric, both) for metric in both)  # fnr differs as much as tpr
        log_tpr, log_fpr = (self.largest_difference(metric, both, logs=True) for metric in both)
        logs = [self.largest_difference(metric, ("fpr", "fnr"), logs=True) for metric in ("fpr", "fnr")]
        return {
            "equalized_odds_difference_worst": self._either(tpr, fpr),
            "equalized_odds_difference_mean": self._sum((0.5, tpr), (0.5, fpr)),
            "equalized_odds_ratio_worst": self._as_ratio(self._either(log_tpr, log_fpr)),
            "equalized_odds_ratio_mean": self._sum((0.5, self._as_ratio(log_tpr)), (0.5, self._as_ratio(log_fpr))),
            "equalized_odds_difference_to_overall": self._either(
                *(self._to_overall(metric, *self._of_groups(both)) for metric in both)
            ),
            "fairness_discrepancy_rate": self._sum((alpha, fpr), (1 - alpha, tpr)).map(
                lambda end: 1 - end, self.n_boot
            ),
            "inequity_rate": self._sum((alpha, logs[0]), (1 - alpha, logs[1])).map(exp, self.n_boot),
        }

    def _either(self, a: Interval, b: Interval) -> Interval:
        """The interval of the larger of two, from intervals that are right together."""
        ends = (np.maximum(*pair) for pair in ((a.low, b.low), (a.high, b.high)))
        return Interval.of(*ends, np.minimum(a.n_valid, b.n_valid), SIMULTANEOUS, self.n_boot)

    def _sum(self, *parts: tuple[float, Interval]) -> Interval:
        """Ends combined with non-negative weights, from intervals that are right together.

        The result is wider than needed, as if errors of all parts added up.
        """
        low = sum(weight * part.low for weight, part in parts)
        high = sum(weight * part.high for weight, part in parts)
        n_valid = np.minimum.reduce([part.n_valid for _, part in parts])
        return Interval.of(low, high, n_valid, CONSERVATIVE, self.n_boot)


def _has_ratio(metric: str) -> bool:
    return BETTER[metric] != "zero"  # the ratio of signed values says nothing
