"""Standard errors and intervals that are valid although images of the same person are similar.

Rates get percentile intervals of the identity bootstrap. Gaps do not: the bootstrap distribution of
max - min is shifted upwards and cannot contain 0. They get simultaneous intervals of all pairs of
groups (max-|t|, Westfall and Young 1993), from which the interval of the largest difference follows.

Shapes: a attributes, B replicates, G groups, P pairs of groups. Replicate arrays are (a, B, G) views
whose replicates are adjacent in memory.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from evenface.fairness.criteria import NAMED, Rates
from evenface.fairness.interval import CONSERVATIVE, PERCENTILE, SIMULTANEOUS, WILSON, Interval
from evenface.fairness.metrics import BETTER, COMPLEMENT, METRICS, divide
from evenface.fairness.observed import Observed
from evenface.fairness.quantiles import exp, quantiles, spread, tails
from evenface.intervals import wilson

_TINY = 1e-300  # stands for 0 under a logarithm, so that differences stay numbers


class Replicates:
    """Intervals of one block of attributes from its replicates.

    observed  the whole model in this grouping; block the attributes ``rates`` has replicates of
    rates     Rates of replicates, x (a, B, G)
    """

    def __init__(self, observed: Observed, rates: Rates, block: slice, alpha: float):
        self.observed, self.rates, self.block, self.alpha = observed, rates, block, alpha
        self.level = observed.level
        self.n_boot = rates.x["accuracy"].shape[1]
        self._max_t: dict[tuple[str, bool], np.ndarray] = {}

    # rates of groups

    def rate(self, metric: str) -> Interval:
        """(a, G) percentile interval; Wilson's, on identities, if the replicates do not vary."""
        if metric in COMPLEMENT:
            return self.rate(COMPLEMENT[metric]).map(lambda end: 1 - end, self.n_boot)
        x = self._by_group(metric)
        value = self.observed.rates.x[metric][self.block]
        n_valid = self.n_boot - np.isnan(x).sum(axis=-1).T
        low, high = (q.T for q in quantiles(x, tails(self.level)))
        spreadless = (value == 0) & (BETTER[metric] != "zero") | (value == 1) | self._constant(x)
        w_low, w_high = wilson(value, self.observed.n_identities[metric][self.block], ndtri((1 + self.level) / 2))
        if BETTER[metric] == "zero":  # a bias of 0 may hide either sign
            w_low = np.where(value == 0, -w_high, w_low)
        return Interval.of(
            np.where(spreadless, w_low, low), np.where(spreadless, w_high, high), n_valid,
            np.where(spreadless, WILSON, PERCENTILE), self.n_boot,
        )  # fmt: skip

    def _by_group(self, metric: str) -> np.ndarray:
        return self.rates.x[metric].transpose(2, 0, 1)

    @staticmethod
    def _constant(x: np.ndarray) -> np.ndarray:
        low, high = np.fmin.reduce(x, axis=-1), np.fmax.reduce(x, axis=-1)
        return (low == high).T

    # pairs of groups

    def max_t(self, metric: str, logs: bool = False) -> np.ndarray:
        """(a, B) largest studentised deviation over the pairs of used groups; NaN if one is undefined."""
        key = metric if logs else COMPLEMENT.get(metric, metric), logs  # 1 - x differs as much as x
        if key not in self._max_t:
            metric = key[0]
            centred = self._centred(metric, logs)
            scale = self.observed.pair_scale(metric, logs=logs)[self.block]
            used = self._used_pairs(metric) & (scale > 0)
            inverse = divide(used, np.where(used, scale, 1)).T[..., None]
            largest = np.zeros(centred.shape[1:])
            step = np.empty_like(largest)
            for p, (g, h) in enumerate(zip(*self.observed.pairs, strict=True)):
                np.subtract(centred[g], centred[h], out=step)
                step *= inverse[p]
                np.abs(step, out=step)
                np.maximum(largest, step, out=largest)
            self._max_t[key] = largest
        return self._max_t[key]

    def _centred(self, metric: str, logs: bool) -> np.ndarray:
        """(G, a, B) deviations of the replicates from the estimate; 0 in unused groups."""
        x, value = self._by_group(metric), self.observed.rates.x[metric][self.block].T
        if logs:
            x, value = np.log(np.maximum(x, _TINY)), np.log(np.maximum(value, _TINY))
        centred = x - value[..., None]
        used = self.observed.rates.used[metric][self.block].T
        if not used.all():
            centred[~used] = 0
        return centred

    def _used_pairs(self, metric: str) -> np.ndarray:
        g, h = self.observed.pairs
        used = self.observed.rates.used[metric][self.block]
        return used[:, g] & used[:, h]

    def _quantile(self, t: np.ndarray, metrics: tuple[str, ...]) -> np.ndarray:
        """(a,) critical value; at least the normal one if a used rate is at its boundary."""
        q = quantiles(t, (self.level,))[0]
        boundary = np.zeros(len(q), dtype=bool)
        for metric in metrics:
            boundary |= (self.observed.at_boundary(metric) & self.observed.rates.used[metric])[self.block].any(axis=-1)
        return np.where(boundary, np.maximum(q, ndtri((1 + self.level) / 2)), q)

    def _pair_ends(self, metric: str, q: np.ndarray, logs: bool) -> tuple[np.ndarray, np.ndarray]:
        """(a, P) ends of d_p -+ q s_p, NaN for unused pairs."""
        g, h = self.observed.pairs
        x = self.observed.rates.x[metric][self.block]
        if logs:
            x = np.log(np.maximum(x, _TINY))
        d = x[:, g] - x[:, h]
        reach = q[:, None] * self.observed.pair_scale(metric, logs=logs)[self.block]
        used = self._used_pairs(metric)
        return np.where(used, d - reach, np.nan), np.where(used, d + reach, np.nan)

    def pairwise(self, metric: str) -> Interval:
        """(a, P) simultaneous intervals of the signed differences."""
        t = self.max_t(metric)
        low, high = self._pair_ends(metric, self._quantile(t, (metric,)), False)
        return Interval.of(low, high, self._valid(t)[:, None], SIMULTANEOUS, self.n_boot)

    def largest_difference(self, metrics: tuple[str, ...], logs: bool = False) -> Interval:
        """(a,) interval of the largest difference of rates (or of their logarithms) over all pairs.

        Several metrics form one family, so the interval is valid for the larger of their differences.
        """
        t = self.max_t(metrics[0], logs)
        for metric in metrics[1:]:
            t = np.maximum(t, self.max_t(metric, logs))
        q = self._quantile(t, metrics)
        lower, upper = np.zeros(len(t)), np.zeros(len(t))
        none = np.zeros(len(t), dtype=bool)
        for metric in metrics:
            low, high = self._pair_ends(metric, q, logs)
            lower = np.fmax(lower, np.fmax.reduce(np.fmax(low, -high), axis=-1, initial=-np.inf))
            upper = np.fmax(upper, np.fmax.reduce(np.fmax(high, -low), axis=-1, initial=-np.inf))
            used = self.observed.rates.used[metric][self.block]
            none |= (used.sum(axis=-1) < 2) | np.isnan(np.where(self._used_pairs(metric), high, 0)).any(axis=-1)
            if logs:
                none |= (used & (self.observed.rates.x[metric][self.block] == 0)).any(axis=-1)
        return Interval.of(np.where(none, np.nan, lower), upper, self._valid(t), SIMULTANEOUS, self.n_boot)

    @staticmethod
    def _valid(t: np.ndarray) -> np.ndarray:
        return t.shape[-1] - np.isnan(t).sum(axis=-1)

    # one contrast per group

    def _contrasts(self, metric: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Contrasts (G, a, B) of the replicates and (G, a) of the estimate."""
        x, value = self._by_group(metric), self.observed.rates.x[metric][self.block].T
        used = self.observed.rates.used[metric][self.block].T
        if kind == "overall":
            return x - self.rates.pooled[metric], value - self.observed.rates.pooled[metric][self.block]
        if kind == "geometric_mean":
            x, value = np.log(np.maximum(x, _TINY)), np.log(np.maximum(value, _TINY))
            n = np.maximum(used.sum(axis=0), 1)
            return (
                x - (np.where(used[..., None], x, 0).sum(axis=0) / n[:, None]),
                value - np.where(used, value, 0).sum(axis=0) / n,
            )
        return x, value

    def per_group(self, metrics: tuple[str, ...], kind: str, pick: str) -> Interval:
        """(a,) interval of the largest (``max``, ``abs``) or smallest (``min``) contrast of a group.

        The contrasts are studentised by the standard deviation of their replicates.
        """
        t, parts = 0.0, []
        none = np.zeros(self._by_group(metrics[0]).shape[1], dtype=bool)
        for metric in metrics:
            used = self.observed.rates.used[metric][self.block].T
            contrasts, value = self._contrasts(metric, kind)
            centred = np.where(used[..., None], contrasts - value[..., None], 0)
            scale = spread(centred)
            if kind == "rate":
                scale = np.fmax(scale, self.observed.group_scale(metric)[self.block].T)
            inverse = divide(used & (scale > 0), np.where(scale > 0, scale, 1))
            t = np.maximum(t, np.abs(centred * inverse[..., None]).max(axis=0, initial=0))
            parts.append((used, value, scale))
            none |= used.sum(axis=0) < 2
            if kind == "geometric_mean":
                none |= (used & (self.observed.rates.x[metric][self.block].T == 0)).any(axis=0)
        q = self._quantile(t, metrics)
        low, high = (np.full(len(q), np.inf if pick == "min" else -np.inf) for _ in range(2))
        for used, value, scale in parts:
            reach = q * scale
            a, b = value - reach, value + reach
            if pick == "abs":
                a, b = np.maximum(np.maximum(a, -b), 0), np.maximum(b, -a)
            if pick == "min":
                low = np.minimum(low, np.where(used, a, np.inf).min(axis=0, initial=np.inf))
                high = np.minimum(high, np.where(used, b, np.inf).min(axis=0, initial=np.inf))
            else:
                low = np.maximum(low, np.where(used, a, -np.inf).max(axis=0, initial=-np.inf))
                high = np.maximum(high, np.where(used, b, -np.inf).max(axis=0, initial=-np.inf))
        none |= ~np.isfinite(low) | ~np.isfinite(high)
        return Interval.of(np.where(none, np.nan, low), high, self._valid(t), SIMULTANEOUS, self.n_boot)

    def macro_mean(self, metric: str) -> Interval:
        """(a,) percentile interval of the mean of the used groups' rates, which is smooth."""
        used = self.observed.rates.used[metric][self.block]
        n = used.sum(axis=-1)
        x = np.where(used.T[..., None], self._by_group(metric), 0).sum(axis=0) / np.maximum(n, 1)[:, None]
        low, high = quantiles(x, tails(self.level))
        boundary = (self.observed.at_boundary(metric)[self.block] | ~used).all(axis=-1)
        none = (n < 2) | boundary
        return Interval.of(np.where(none, np.nan, low), high, self._valid(x), PERCENTILE, self.n_boot)

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
        return found | self._combined(found)

    def _of_metric(self, metric: str) -> dict[str, Interval]:
        better = BETTER[metric]
        found = {"difference": self.largest_difference((metric,))}
        if better != "zero":
            found["ratio"] = self._as_ratio(self.largest_difference((metric,), logs=True))
            if better != "neutral":
                pick = "max" if better == "low" else "min"
                worst = self.per_group((metric,), "rate", pick)
                found["worst_group"] = worst.map(lambda end: np.clip(end, 0, 1), self.n_boot)
        found["difference_to_overall"] = self.per_group((metric,), "overall", "abs")
        found["macro_mean"] = self.macro_mean(metric)
        return found

    def _as_ratio(self, of_logs: Interval) -> Interval:
        return of_logs.map(lambda end: np.exp(-end), self.n_boot)

    def _combined(self, found: dict[str, Interval]) -> dict[str, Interval]:
        alpha, both = self.alpha, ("tpr", "fpr")
        tpr, fpr = found["equal_opportunity_difference"], found["fpr_difference"]
        fnr = found["fnr_difference"]
        logs = [self.largest_difference((m,), logs=True) for m in ("fpr", "fnr")]
        combined = {
            "equalized_odds_difference_worst": self.largest_difference(both),
            "equalized_odds_difference_mean": self._sum((0.5, tpr), (0.5, fpr)),
            "equalized_odds_ratio_worst": self._as_ratio(self.largest_difference(both, logs=True)),
            "equalized_odds_ratio_mean": self._sum((0.5, found["equal_opportunity_ratio"]), (0.5, found["fpr_ratio"])),
            "equalized_odds_difference_to_overall": self.per_group(both, "overall", "abs"),
            "fairness_discrepancy_rate": self._sum((alpha, fpr), (1 - alpha, fnr)).map(
                lambda end: 1 - end, self.n_boot
            ),
            "inequity_rate": self._sum((alpha, logs[0]), (1 - alpha, logs[1])).map(exp, self.n_boot),
        }
        for metric in ("fpr", "fnr"):
            interval = self.per_group((metric,), "geometric_mean", "max")
            combined[f"worst_over_geometric_mean_{metric}"] = interval.map(
                lambda end: exp(np.maximum(end, 0)), self.n_boot
            )
        return combined

    def _sum(self, *parts: tuple[float, Interval]) -> Interval:
        """Ends combined with non-negative weights. The result is wider than needed, as if errors of all parts added up."""
        low = sum(weight * part.low for weight, part in parts)
        high = sum(weight * part.high for weight, part in parts)
        n_valid = np.minimum.reduce([part.n_valid for _, part in parts])
        return Interval.of(low, high, n_valid, CONSERVATIVE, self.n_boot)
