"""Tests whether groups differ at all.

If every identity belongs to one group, the test permutes whole identities between groups and compares studentised
differences. If levels vary between
the images of a person (predicted age), this would split people. A few stray images count in the group that their person
is in most often; if there are more, a Wald test on the jackknife covariance is used instead. Both report the mean gap under no difference, because a raw gap is positive even when groups do not differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import f as f_distribution

from evenface.fairness.criteria import WEIGHTED_ERROR, Rates, fair_value, gap_values, metrics_of
from evenface.fairness.metrics import BETTER, COMPLEMENT, RATIOS, divide, linear
from evenface.fairness.observed import Observed
from evenface.fairness.training_luck import Luck

PERMUTATION, EXACT, WALD = "perm_identity", "perm_identity_exact", "wald_jackknife"

TOLERANCE = 1e-12

_LEAST = 1e-12

#: bounds the sums of :attr:`Studentised.columns`, which are then exact in single precision
_LARGEST_SUM = 2.0**23

#: statistics that differ relatively by less are equal, but for rounding
_SAME = 1e-5


@dataclass(frozen=True)
class DifferenceTest:
    """A test of one criterion for each attribute: null_mean and p (a,) float64, NaN where undefined."""

    null_mean: np.ndarray
    p: np.ndarray
    n: np.ndarray  # (a,) int64 permutations in which the gap is defined

    @classmethod
    def concatenate(cls, parts: list[DifferenceTest]) -> DifferenceTest:
        return cls(*(np.concatenate([getattr(part, field) for part in parts]) for field in ("null_mean", "p", "n")))


def distance(value: np.ndarray, fair: float) -> np.ndarray:
    """How far a criterion is from equal treatment; for a level without a fair value, its value."""
    return value if np.isnan(fair) else np.abs(value - fair)


def null_means(
    observed: Mapping[str, np.ndarray], permuted: Rates, alpha: float, first: int = 0
) -> dict[str, DifferenceTest]:
    """Criterion -> mean over the rates (a, P, groups) of permuted identities from ``first`` on; p is still undefined.

    observed  criterion -> observed value (a,)
    """
    found = {}
    for name, gap in gap_values(permuted, alpha):
        value = gap.value[:, first:]
        defined = ~np.isnan(value)
        n = defined.sum(axis=-1)
        mean = np.where(defined, value, 0).sum(axis=-1) / np.maximum(n, 1)
        undefined = np.isnan(observed[name]) | (n == 0)
        found[name] = DifferenceTest(np.where(undefined, np.nan, mean), np.full(len(n), np.nan), n)
    return found


def against_permutations(
    tests: dict[str, DifferenceTest], observed: dict[str, np.ndarray], permuted: dict[str, np.ndarray], *, exact=False
) -> dict[str, DifferenceTest]:
    """The tests with their p values.

    observed, permuted  metric -> the statistic of :class:`Studentised`, (a,) and (a, P)

    p = (1 + permutations with a statistic at least as large) / (P + 1). When every assignment is listed, the observed one
    is among them, and p is the share itself. All criteria of the same metrics test the same thing, whether the groups'
    rates differ at all, and so have the same p.
    """
    found, known = {}, {}
    for name, test in tests.items():
        metrics = metrics_of(name)
        if metrics not in known:
            seen = np.maximum.reduce([observed[m] for m in metrics])
            drawn = np.maximum.reduce([permuted[m] for m in metrics])
            defined = ~np.isnan(drawn)
            with np.errstate(invalid="ignore"):
                beyond = defined & (drawn >= seen[:, None] * (1 - _SAME) - TOLERANCE)
            extra = 0 if exact else 1
            n = defined.sum(axis=-1)
            known[metrics] = np.where(
                np.isnan(seen) | (n == 0), np.nan, (extra + beyond.sum(axis=-1)) / np.maximum(n + extra, 1)
            )
        undefined = np.isnan(test.null_mean) | np.isnan(fair_value(name))
        found[name] = replace(test, p=np.where(undefined, np.nan, known[metrics]))
    return found


class Studentised:
    """The statistic of the permutation test: the largest difference of two groups' rates over its standard error.

    A plain difference would take a few erratic people for a bad group, because after permutation their spread belongs to
    everybody (Janssen, Statistics and Probability Letters 36, 1997). The standard errors are those at the common rate.

    person   (people, a, 6) counts of the people who are permuted
    columns  (people, a, columns) whole numbers in float64, whose sums over groups :meth:`largest` takes
    """

    def __init__(self, person: np.ndarray):
        self._columns: dict[str, np.ndarray] = {}
        self._centre: dict[str, np.ndarray] = {}
        for metric, ratio in RATIOS.items():
            if metric in COMPLEMENT:
                continue
            a, d = linear(person, ratio.numerator), linear(person, ratio.denominator)
            self._centre[metric] = a.sum(axis=0) / np.maximum(d.sum(axis=0), 1)
            self._columns[metric] = (a - self._centre[metric] * d) ** 2
            self._columns.setdefault(ratio.denominator, (d * d).astype(np.float64))

        # whole numbers, so that sums are exact in any order: ties are ties, on every machine
        values = np.stack(list(self._columns.values()), axis=-1)
        self._scale = _LARGEST_SUM / np.maximum(values.sum(axis=0), 1)
        self.columns = np.rint(values * self._scale)

    def largest(
        self,
        used: Mapping[str, np.ndarray],
        rates: Mapping[str, np.ndarray],
        counts: np.ndarray,
        sums: np.ndarray,
        luck: Mapping[str, Luck] | None = None,
    ) -> dict[str, np.ndarray]:
        """Metric -> (a, P) largest statistic in float32; NaN where a used group has no images.

        used    metric -> (a, groups) groups that are compared
        rates   metric -> (a, P, groups) rates of the groups in P assignments
        counts  (a, P, groups, 6) their counts; sums (a, P, groups, columns) those of :attr:`columns`
        luck    metric -> (a, groups) the luck of training that the rates contain: permuted people do not have it, so a
                difference becomes the normal deviate that is as unlikely
        """
        # (groups, a, P); single precision is far more than a comparison of permutations needs
        counts, sums = (np.moveaxis(part, 2, 0).astype(np.float32, copy=False) for part in (counts, sums))
        scale = (1 / self._scale).astype(np.float32)[:, None]
        names = {name: k for k, name in enumerate(self._columns)}
        parts, per_square, inverses = {}, {}, {}
        for metric, common in self._centre.items():
            denominator, own = RATIOS[metric].denominator, names[metric]
            with np.errstate(divide="ignore", invalid="ignore"):  # groups without images
                if denominator not in inverses:
                    per_square[denominator] = 1 / linear(counts, denominator) ** 2
                    of_denominator = names[denominator]
                    inverses[denominator] = (
                        sums[..., of_denominator] * scale[..., of_denominator] * per_square[denominator]
                    )  # 1 / n_eff
                spread = (
                    sums[..., own] * scale[..., own] * per_square[denominator]
                )  # of deviations from the common rate
            x, centre = np.moveaxis(rates[metric], 2, 0).astype(np.float32), common[:, None].astype(np.float32)
            if BETTER[metric] == "zero":  # a signed share, as a share
                x, centre, spread = (x + 1) / 2, (centre + 1) / 2, spread / 4
            parts[metric] = x, centre, spread, inverses[denominator]
        (x, c, s, i), (y, d, t, j) = parts["tpr"], parts["fpr"]
        parts["balanced_accuracy"] = (x + 1 - y) / 2, (c + 1 - d) / 2, (s + t) / 4, np.maximum(i, j)
        luck = luck or {}
        found = {
            metric: _largest(used[metric].T[..., None], *part, _as_share(luck.get(metric), metric))
            for metric, part in parts.items()
        }
        return found | {metric: found[other] for metric, other in COMPLEMENT.items()}


def _as_share(luck: Luck | None, metric: str) -> Luck | None:
    return luck.times(0.5) if luck is not None and BETTER[metric] == "zero" else luck


def _largest(used: np.ndarray, x, centre, spread, inverse, luck: Luck | None) -> np.ndarray:
    """(a, P) from rates x, own variances and 1 / n_eff, each (groups, a, P); used (groups, a, 1), centre (a, 1)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.maximum(at_common_rate(x, centre, spread, inverse), np.float32(_LEAST))
    if not used.all():  # an infinite variance keeps a group out of every pair
        x, variance = np.where(used, x, 0), np.where(used, variance, np.inf)
    largest = np.zeros(x.shape[1:], dtype=np.float32)
    for g in range(1, len(x)):
        squared = x[:g] - x[g]
        squared *= squared
        if luck is None:
            squared /= variance[:g] + variance[g]
        else:
            for h in range(g):
                of_pair = luck[:, g].plus(luck[:, h])[:, None]
                squared[h] = of_pair.normal(squared[h], variance[h] + variance[g])
        np.maximum(largest, squared.max(axis=0), out=largest)
    largest = np.sqrt(largest)
    largest[used[..., 0].sum(axis=0) < 2] = np.nan
    return largest


def at_common_rate(rate: np.ndarray, common: np.ndarray, variance: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """The variances of rates as they would be at a common rate, by the model of :mod:`evenface.fairness.rate_limits`.

    A group whose few bad cases happen to be missing looks better than it is, and surer.

    inverse  1 / n_eff
    """
    own, there = np.maximum(rate * (1 - rate), _LEAST), common * (1 - common)
    # people who always or never succeed (rho = 1) where nobody differs
    rho = np.where(variance > _LEAST, np.minimum(variance / (own * inverse), 1), 1)
    return there * inverse * rho * there / np.maximum(rho * there + (1 - rho) * own, _LEAST)


def centred(replicates: Rates, observed: Observed, block: slice) -> Rates:
    """Bootstrap replicates, moved so that all groups have the pooled rate: draws under no difference.

    The bootstrap's variance is 1 - 1/n of the true one, for n people of equal weight.
    """
    x, rates = {}, observed.rates
    for metric in rates.used:
        of = ("fpr", "fnr") if metric == WEIGHTED_ERROR else (metric,)
        n = np.maximum(np.minimum.reduce([observed.support[one].n_eff[block] for one in of]), 2)
        step = replicates.x[metric] - rates.x[metric][block][:, None, :]
        moved = rates.pooled[metric][block][:, None, None] + step * np.sqrt(n / (n - 1))[:, None, :]
        x[metric] = moved if metric == "prevalence_bias" else np.clip(moved, 0, 1)
    return Rates(x, replicates.used, replicates.pooled, {})


def wald(observed: Observed, metrics: tuple[str, ...]) -> np.ndarray:
    """p (A,) of equal rates in all used groups, for one metric or several at once.

    W = (C r)' (C V C')^-1 (C r) with the jackknife covariance V at the pooled rate and contrasts C against the last group;
    with q contrasts, v = n_eff - k degrees of freedom for k groups, W (v - q + 1) / (q v) is held against F(q, v - q + 1).
    A group without errors has the variance of people who always or never succeed. The luck of training is added to V, and counts in v by
    its share.
    """
    covariance = {
        (a, b): observed.covariance(a, None if a == b else b)
        * _root_at_pooled_rate(observed, a)[:, :, None] * _root_at_pooled_rate(observed, b)[:, None, :]
        for i, a in enumerate(metrics)
        for b in metrics[i:]
    }  # fmt: skip
    used = np.logical_and.reduce([observed.rates.used[m] for m in metrics])
    diagonal = np.arange(observed.n_groups)
    n_eff = np.minimum.reduce([observed.effective_people(m, used) for m in metrics])
    freedom = n_eff - used.sum(axis=-1)
    for metric in metrics:
        people = np.where(
            observed.at_boundary(metric),
            _at_pooled_rate(observed, metric),
            covariance[metric, metric][:, diagonal, diagonal],
        )
        total = people
        if observed.training:
            luck = observed.training.relative[metric]
            total = people + luck.variance
            share = divide(np.where(used, luck.estimate, 0).sum(axis=-1), np.where(used, total, 0).sum(axis=-1))
            share = np.clip(np.nan_to_num(share), 0, 1)
            of_people, of_seeds = np.maximum(n_eff - used.sum(axis=-1), 1), luck.freedom[:, 0]
            freedom = np.minimum(freedom, 1 / ((1 - share) ** 2 / of_people + share**2 / of_seeds))
        covariance[metric, metric][:, diagonal, diagonal] = total
    return np.array([_wald(observed, metrics, covariance, used, freedom, a) for a in range(observed.n_attributes)])


def _at_pooled_rate(observed: Observed, metric: str) -> np.ndarray:
    """(A, G) squared standard errors as they would be at the pooled rate."""
    variance = observed.se[metric] ** 2
    if BETTER[metric] == "zero":
        return np.where(variance == 0, observed.group_scale(metric) ** 2, variance)
    pooled, inverse = observed.rates.pooled[metric][:, None], divide(1, observed.support[metric].n_eff)
    return at_common_rate(observed.rates.x[metric], pooled, variance, inverse)


def _root_at_pooled_rate(observed: Observed, metric: str) -> np.ndarray:
    """(A, G) factor on standard errors that turns them into those at the pooled rate."""
    return np.sqrt(np.nan_to_num(divide(_at_pooled_rate(observed, metric), observed.se[metric] ** 2)))


def _wald(observed: Observed, metrics, covariance, used, freedom, attribute: int) -> float:
    groups = np.flatnonzero(used[attribute])
    k = len(groups)
    if k < 2:
        return np.nan
    contrast = np.hstack([np.eye(k - 1), -np.ones((k - 1, 1))])
    r = np.concatenate([contrast @ observed.rates.x[m][attribute][groups] for m in metrics])
    inside = np.ix_(groups, groups)
    blocks = [
        [
            contrast @ (covariance[a, b][attribute][inside] if (a, b) in covariance
                        else covariance[b, a][attribute][inside].T) @ contrast.T
            for b in metrics
        ]
        for a in metrics
    ]  # fmt: skip
    if np.abs(r).max() < TOLERANCE:
        return 1.0  # also where nobody errs, and nothing varies
    v = np.block(blocks)
    q, freedom = len(r), freedom[attribute]
    if observed.training:
        freedom = max(freedom, q)
    if freedom - q + 1 < 1 or np.linalg.matrix_rank(v, hermitian=True) < q:
        return np.nan
    statistic = r @ np.linalg.solve(v, r)
    return float(f_distribution.sf(statistic * (freedom - q + 1) / (q * freedom), q, freedom - q + 1))
