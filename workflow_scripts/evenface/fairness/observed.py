"""What the observed counts of a model in one grouping say, without replicates: rates, standard errors, pairs of groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import ndtri

from evenface.fairness.criteria import Rates
from evenface.fairness.cube import GroupCounts
from evenface.fairness.metrics import BETTER, COMPLEMENT, METRICS, RATIOS, denominators, divide, linear
from evenface.fairness.rate_limits import Spread, limits

NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Support:
    """For one metric: used groups, and the identities in its denominator; all (attributes, groups).

    n_eff  effective number of identities: a person with half of the images counts for little more than one with a tenth
    """

    used: np.ndarray
    n_identities: np.ndarray
    n_eff: np.ndarray


class Observed:
    """What intervals and tests need of one model in one grouping, besides its replicates.

    rates    the observed rates
    support  metric -> identities in its denominator
    se       metric -> (A, G) delete-one-identity standard error, NaN where one identity carries a group
    """

    def __init__(self, counted: GroupCounts, rates: Rates, support: dict[str, Support], level: float):
        self.rates, self.support, self.level = rates, support, level
        self.n_attributes, self.n_groups = rates.x["accuracy"].shape
        last = np.searchsorted(counted.group, self.n_groups)
        self.person, self.group, self.identity = (
            counted.person[:last], counted.group[:last], counted.identity[:last],
        )  # fmt: skip
        self.pairs = np.triu_indices(self.n_groups, 1)
        self._linearised: dict[str, np.ndarray] = {}
        self._covariances: dict[tuple[str, str], np.ndarray] = {}
        self._spreads: dict[str, Spread] = {}
        self._pair_scales: dict[tuple[str, bool], np.ndarray] = {}
        self.se = {metric: self._se(metric) for metric in METRICS}

    @cached_property
    def spans(self) -> bool:
        """Whether some identity has images in several groups."""
        return len(np.unique(self.identity)) < len(self.identity)

    def effective_people(self, metric: str, groups: np.ndarray) -> np.ndarray:
        """(A,) effective number of identities of a metric's denominator in groups (mask (A, G)) together."""
        people, row = np.unique(self.identity, return_inverse=True)
        found = []
        for denominator in denominators(metric):
            d = np.zeros((len(people), self.n_attributes))
            np.add.at(d, row, linear(self.person, denominator) * groups.T[self.group])
            found.append(divide(d.sum(axis=0) ** 2, (d * d).sum(axis=0)))
        return np.minimum.reduce(found)

    def linearised(self, metric: str) -> np.ndarray:
        """u (identity-group pairs, A): the effect on its group's rate of leaving an identity out.

        u_i = (a_i - r d_i) / D / (1 - d_i / D), the jackknife of a ratio; 0 where undefined.
        """
        if metric not in self._linearised:
            self._linearised[metric] = self._linearise(metric)
        return self._linearised[metric]

    def _linearise(self, metric: str) -> np.ndarray:
        if metric == "balanced_accuracy":
            return (self.linearised("tpr") + self.linearised("tnr")) / 2
        if metric in COMPLEMENT:
            return -self.linearised(COMPLEMENT[metric])
        a = linear(self.person, RATIOS[metric].numerator)
        d = linear(self.person, RATIOS[metric].denominator)
        total = self.sum_by_group(d)[self.group]
        rate = np.nan_to_num(self.rates.x[metric].T)[self.group]
        return np.nan_to_num(divide(a - rate * d, total - d))

    def _se(self, metric: str) -> np.ndarray:
        se = np.sqrt(self.sum_by_group(self.linearised(metric) ** 2))
        se[se < NO_SPREAD] = 0  # identities that all have the same rate leave rounding errors
        se[np.isnan(self.rates.x[metric].T)] = np.nan
        se[self.support[metric].n_identities.T < 2] = np.nan  # one identity carries the group
        return se.T

    def sum_by_group(self, values: np.ndarray) -> np.ndarray:
        """Sum (pairs, A) over the identities of each group: (G, A)."""
        total = np.zeros((self.n_groups, values.shape[1]), dtype=values.dtype)
        present, starts = np.unique(self.group, return_index=True)
        if len(present):
            total[present] = np.add.reduceat(values, starts, axis=0)
        return total

    @cached_property
    def z(self) -> float:
        """The normal quantile of the level."""
        return float(ndtri((1 + self.level) / 2))

    def spread(self, metric: str) -> Spread:
        """What limits of the metric's rates (A, G) need."""
        if metric not in self._spreads:
            u = self.linearised(metric)
            squared = u * u
            second, third, fourth = (self.sum_by_group(part).T for part in (squared, squared * u, squared * squared))
            carriers = np.nan_to_num(divide(second**2, fourth), nan=1.0)
            self._spreads[metric] = Spread(self.se[metric], self.support[metric].n_eff, carriers, np.sign(third))
        return self._spreads[metric]

    def limits(self, metric: str, z: np.ndarray | float, block: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limit (a, G) of the rates of a block of attributes; ``z`` broadcasts against them."""
        x, spread = self.rates.x[metric][block], self.spread(metric)[block]
        if BETTER[metric] != "zero":
            return limits(x, spread, z)
        low, high = limits((x + 1) / 2, replace(spread, se=spread.se / 2), z)  # a signed share, in [-1, 1]
        return 2 * low - 1, 2 * high - 1

    def as_one_assignment(self, values: np.ndarray) -> np.ndarray:
        """Sums by group of values (people, a, k), in the form of those of a single permutation: (a, 1, G, k)."""
        sums = self.sum_by_group(values.reshape(len(values), -1)).reshape(self.n_groups, *values.shape[1:])
        return sums.transpose(1, 0, 2)[:, None]

    def covariance(self, metric: str, other: str | None = None) -> np.ndarray:
        """(A, G, G) sum over identities of u_ig u_ih, between a metric and itself or another."""
        key = metric, other or metric
        if key not in self._covariances:
            if self.spans:
                a = self._wide(metric)
                b = a if other is None else self._wide(other)
                self._covariances[key] = np.matmul(a, b.transpose(0, 2, 1))
            else:
                products = self.linearised(metric) * self.linearised(other or metric)
                self._covariances[key] = np.eye(self.n_groups) * self.sum_by_group(products).T[..., None]
        return self._covariances[key]

    def _wide(self, metric: str) -> np.ndarray:
        people, row = np.unique(self.identity, return_inverse=True)
        wide = np.zeros((self.n_attributes, self.n_groups, len(people)))
        wide[:, self.group, row] = self.linearised(metric).T
        return wide

    def at_boundary(self, metric: str) -> np.ndarray:
        """(A, G) bool: the rate is at its smallest or largest possible value, so its replicates do not vary."""
        return self.se[metric] == 0

    @cached_property
    def _safe_se(self) -> dict[str, np.ndarray]:
        safe = {}
        for metric, se in self.se.items():
            boundary = self.at_boundary(metric)
            low, high = self.limits(metric, self.z) if boundary.any() else (se, se)
            safe[metric] = np.where(boundary, (high - low) / (2 * self.z), se)
        return safe

    def group_scale(self, metric: str) -> np.ndarray:
        """(A, G) standard error; for a rate at its boundary, as wide as its interval says."""
        return self._safe_se[metric]

    def pair_scale(self, metric: str, *, logs: bool = False) -> np.ndarray:
        """(A, P) standard error of the difference of two groups' rates, or of their logarithms."""
        key = metric, logs
        if key not in self._pair_scales:
            g, h = self.pairs
            inverse = divide(1, self.rates.x[metric]) if logs else np.ones_like(self.rates.x[metric])
            se = self.group_scale(metric) * np.abs(inverse)
            variance = se[:, g] ** 2 + se[:, h] ** 2
            if self.spans:
                variance = variance - 2 * self.covariance(metric)[:, g, h] * inverse[:, g] * inverse[:, h]
            self._pair_scales[key] = np.sqrt(np.maximum(variance, 0))
        return self._pair_scales[key]

    def correlation(self, metric: str) -> np.ndarray:
        """(A, G, G) between the groups' rates: 1 on the diagonal, 0 elsewhere if no identity is in two groups."""
        whole = np.broadcast_to(np.eye(self.n_groups), (self.n_attributes, self.n_groups, self.n_groups))
        if not self.spans:
            return whole
        se = np.nan_to_num(self.group_scale(metric))
        found = np.nan_to_num(divide(self.covariance(metric), se[:, :, None] * se[:, None, :]))
        return np.where(whole == 1, 1.0, np.clip(found, -1, 1))

    def pair_correlation(self, metric: str) -> np.ndarray:
        """(A, P) correlation of the two rates of each pair."""
        g, h = self.pairs
        return self.correlation(metric)[:, g, h]

    def design_effect(self, metric: str, denominator: np.ndarray) -> np.ndarray:
        """(A, G) variance divided by the variance for equally many independent images; NaN where the latter is 0."""
        x = self.rates.x[metric]
        if metric in ("prevalence_bias", "balanced_accuracy", "f1"):  # these are no shares of images
            return np.full(x.shape, np.nan)
        return divide(self.se[metric] ** 2, divide(x * (1 - x), denominator))
