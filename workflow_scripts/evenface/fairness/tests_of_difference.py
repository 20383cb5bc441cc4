"""Tests whether groups differ at all.

If every identity belongs to one group, the test permutes whole identities between groups. If levels vary between
the images of a person (predicted age), this would split people; a Wald test on the jackknife covariance is used
instead. Both report the mean gap under no difference, because a raw gap is positive even when groups do not differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution

from evenface.fairness.criteria import Rates, fair_value, gap_values
from evenface.fairness.observed import Observed

PERMUTATION, EXACT, WALD = "perm_identity", "perm_identity_exact", "wald_jackknife"

TOLERANCE = 1e-12


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


def against_permutations(
    observed: Rates, permuted: Rates, alpha: float, *, exact: bool = False
) -> dict[str, DifferenceTest]:
    """Criterion -> test from the rates (a, P, groups) of permuted identities.

    p = (1 + permutations at least as far from equal treatment) / (P + 1). When ``permuted`` lists every
    assignment, the observed one is among them, and p is the share itself.
    """
    found = {}
    values = dict(gap_values(observed, alpha))
    for name, gap in gap_values(permuted, alpha):
        fair, value = fair_value(name), values[name].value
        defined = ~np.isnan(gap.value)
        n = defined.sum(axis=-1)
        null_mean = np.where(n > 0, np.where(defined, gap.value, 0).sum(axis=-1) / np.maximum(n, 1), np.nan)
        with np.errstate(invalid="ignore"):
            beyond = distance(gap.value, fair) >= distance(value, fair)[:, None] - TOLERANCE
        extra = 0 if exact else 1
        p = (extra + (beyond & defined).sum(axis=-1)) / np.maximum(n + extra, 1)
        undefined = np.isnan(value) | (n == 0)
        p = np.where(undefined | np.isnan(fair), np.nan, p)
        found[name] = DifferenceTest(np.where(undefined, np.nan, null_mean), p, n)
    return found


def centred(replicates: Rates, observed: Rates, block: slice, alpha: float) -> Rates:
    """Bootstrap replicates, moved so that all groups have the pooled rate: draws under no difference."""
    x = {}
    for metric in observed.used:
        shift = observed.pooled[metric][block][:, None] - observed.x[metric][block]
        moved = replicates.x[metric] + shift[:, None, :]
        x[metric] = moved if metric == "prevalence_bias" else np.clip(moved, 0, 1)
    return Rates(x, replicates.used, replicates.pooled, {})


def wald(observed: Observed, metrics: tuple[str, ...]) -> np.ndarray:
    """p (A,) of equal rates in all used groups, for one metric or several at once.

    W = (C r)' (C V C')^-1 (C r) with the jackknife covariance V and contrasts C against the last group;
    with q contrasts, v = I - k degrees of freedom, W (v - q + 1) / (q v) is held against F(q, v - q + 1).
    """
    covariance = {
        (a, b): observed.covariance(a, None if a == b else b)
        for i, a in enumerate(metrics)
        for b in metrics[i:]
    }  # fmt: skip
    used = np.logical_and.reduce([observed.rates.used[m] for m in metrics])
    return np.array([_wald(observed, metrics, covariance, used, a) for a in range(observed.n_attributes)])


def _wald(observed: Observed, metrics, covariance, used, attribute: int) -> float:
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
    v = np.block(blocks)
    people = observed.n_people(used[attribute])
    q, freedom = len(r), people - k
    if freedom - q + 1 < 1 or np.linalg.matrix_rank(v, hermitian=True) < q:
        return np.nan
    statistic = r @ np.linalg.solve(v, r)
    return float(f_distribution.sf(statistic * (freedom - q + 1) / (q * freedom), q, freedom - q + 1))
