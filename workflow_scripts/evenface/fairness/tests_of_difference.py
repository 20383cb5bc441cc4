"""Tests whether groups differ at all.

If every identity belongs to one group, the test permutes whole identities between groups and compares studentised
differences. If levels vary between the images of a person (predicted age), this would split people. A few stray images
count in the group that their person is in most often; if there are more, the simultaneous intervals of all pairs are
inverted. Both report the mean gap under no difference, because a raw gap is positive even when groups do not differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from evenface.fairness.criteria import WEIGHTED_ERROR, Rates, fair_value, gap_values, metrics_of
from evenface.fairness.metrics import BETTER, COMPLEMENT, RATIOS, linear
from evenface.fairness.observed import Observed
from evenface.fairness.training_luck import Luck

PERMUTATION, EXACT, INVERTED = "perm_identity", "perm_identity_exact", "simultaneous_inverted"

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


def of_both_errors(tests: Mapping[str, DifferenceTest]) -> dict[str, DifferenceTest]:
    """Those of criteria that combine both errors."""
    return {name: test for name, test in tests.items() if len(metrics_of(name)) > 1}


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
