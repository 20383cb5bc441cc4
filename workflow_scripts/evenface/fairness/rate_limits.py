"""Confidence limits of a rate of few people, some of whom have many more images than others.

A rate is a sum of a_i over a sum of d_i, one pair per identity. Its limits are those of Clopper and Pearson for ``n``
independent observations, where ``n`` is the number of people who would make the rate as uncertain as it is (Korn and
Graubard, Survey Methodology 24, 1998). Four things make them right for few people, in simulations of several kinds:

* The standard error takes deviations over sqrt(1 - d_i / D), which is unbiased where people vary alike (HC2: MacKinnon and
  White, Journal of Econometrics 29, 1985). The jackknife, over 1 - d_i / D, is too wide where one person has most images.
* Student's t for the spread, with ``n_eff`` degrees of freedom, ``n_eff = (sum d)^2 / sum d^2``.
* ``n`` belongs to the limit that is tried, not to the estimate: images of a person are more alike the nearer rates are to
  1/2. With rho their correlation, rho / (1 - rho) is proportional to p (1 - p). A rate that is estimated without its few
  bad cases therefore does not look surer than it is.
* If the deviations are skewed away from a limit's side, the variance rests on few people and is likely too small. On the
  long side it is multiplied by 1 + 1 / sqrt(m), with m the number of people who carry it, ``(sum u^2)^2 / sum u^4``.

``docs/statistics.md`` shows the coverage that this reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import expit, logit, ndtr, stdtrit

_STEPS = 9
_LEAST = 1e-9
_FARTHEST = 8.0  # a critical value may be infinite, and its tail probability 0


@dataclass(frozen=True)
class Spread:
    """What the limits of rates need besides the rates; arrays of one shape (...).

    se        HC2 standard error, 0 where nobody differs, NaN where one identity carries the rate
    n_eff     effective number of identities
    carriers  number of identities who carry the variance
    skew      the sign of the skewness of the identities' deviations
    """

    se: np.ndarray
    n_eff: np.ndarray
    carriers: np.ndarray
    skew: np.ndarray

    def __getitem__(self, key) -> Spread:
        return Spread(self.se[key], self.n_eff[key], self.carriers[key], self.skew[key])

    @classmethod
    def concatenate(cls, parts: Sequence[Spread]) -> Spread:
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def student(z: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """The quantile of Student's t at the tail of the normal quantile ``z``; at least one degree of freedom."""
    return -stdtrit(np.maximum(freedom, 1.0), ndtr(-np.asarray(z, dtype=np.float64)))


def mover(a: np.ndarray, b: np.ndarray, correlation: np.ndarray | float) -> np.ndarray:
    """How far a limit of x - y is from its estimate, from the distances of the limits of x and y on that side.

    The distances take the place of standard errors (MOVER: Zou and Donner, Statistics in Medicine 27, 2008), so the interval
    of a difference is as skewed, and as wide for few people, as those of its rates.
    """
    return np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0))


def limits(value: np.ndarray, spread: Spread, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit of rates (...) in [0, 1]; NaN where the rate or its standard error is.

    z  normal quantile of one tail, for example 1.96 for an interval of 95 %; broadcasts against ``value``

    >>> spread = Spread(*(np.array([x]) for x in (0.05, 40.0, 20.0, 0.0)))
    >>> low, high = limits(np.array([0.8]), spread, 1.96)
    >>> print(f"{low[0]:.3f} {high[0]:.3f}")
    0.669 0.885
    """
    z = np.broadcast_to(np.clip(np.asarray(z, dtype=np.float64), _LEAST, _FARTHEST), value.shape)
    stretch = np.maximum(student(z, spread.n_eff) / z, 1)
    both = np.stack([1 - value, value]), np.stack([spread.skew < 0, spread.skew > 0])  # one search for both ends
    low, high = _upper(both[0], spread, z, stretch, both[1])
    none = np.isnan(value) | np.isnan(spread.se)
    return np.where(none, np.nan, 1 - low), np.where(none, np.nan, high)


def _upper(p, spread: Spread, z, stretch, long_side) -> np.ndarray:
    """The rate at which so few cases as seen have the probability of the tail beyond ``z``; by regula falsi."""
    p = np.clip(np.nan_to_num(p, nan=0.5), 0, 1)
    binomial = np.maximum(p * (1 - p), 1e-300)
    grown = 1 + long_side / np.sqrt(np.maximum(spread.carriers, 1))
    with np.errstate(invalid="ignore", over="ignore"):
        # people who always or never succeed (rho = 1) where nobody differs: the least favourable case
        rho = np.where(spread.se > 0, np.minimum(spread.se**2 * grown * spread.n_eff / binomial, 1), 1)
    rest = (1 - rho) * binomial
    n_people = np.maximum(spread.n_eff, _LEAST) / stretch**2

    def deviation(t):
        q = expit(t)
        shape = rho * q * (1 - q)
        n = np.minimum(n_people * (1 + rest / np.maximum(shape, 1e-300)), 1e12)
        x = p * n
        return z - _paulson((x + 1) * (1 - q), np.maximum(n - x, 1e-9) * q, x + 1, np.maximum(n - x, 1e-9))

    n = n_people / rho
    ends = [logit(np.clip(_wilson(p, n, factor * z), _LEAST, 1 - _LEAST)) for factor in (0.6, 2)]
    f = [deviation(end) for end in ends]
    inner, outer = f[0] <= 0, f[1] >= 0  # the guesses do not enclose the limit
    a, b = np.where(inner, logit(np.clip(p, _LEAST, 1 - _LEAST)), ends[0]), np.where(outer, -logit(_LEAST), ends[1])
    fa, fb = np.where(inner, z, f[0]), np.where(outer, -z, f[1])
    for _ in range(_STEPS):
        with np.errstate(invalid="ignore", divide="ignore"):
            t = (a * fb - b * fa) / (fb - fa)
        t = np.where(np.isfinite(t), np.clip(t, a, b), (a + b) / 2)
        ft = deviation(t)
        right = ft > 0  # the limit is further out
        # Anderson and Bjoerck's weights keep the end that does not move from slowing the search down
        with np.errstate(invalid="ignore", divide="ignore"):
            keep_b = np.where(right, 1 - ft / fa, 1)
            keep_a = np.where(right, 1, 1 - ft / fb)
        fb = np.where(right, fb * np.where(keep_b > 0, keep_b, 0.5), ft)
        fa = np.where(right, ft, fa * np.where(keep_a > 0, keep_a, 0.5))
        a, b = np.where(right, t, a), np.where(right, b, t)
    return np.where(p >= 1, 1.0, expit(t))


def _wilson(p, n, z):
    """Wilson's upper limit, near which the search begins."""
    return (p + z**2 / (2 * n) + z * np.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)) / (1 + z**2 / n)


def _paulson(e, f, a, b):
    """The normal quantile of the chance that Beta(a, b) exceeds q, for e = a (1 - q) and f = b q; Paulson, 1942."""
    root = np.cbrt(f / np.maximum(e, 1e-300))
    return ((1 - 1 / (9 * b)) * root - (1 - 1 / (9 * a))) / np.sqrt(root**2 / (9 * b) + 1 / (9 * a))
