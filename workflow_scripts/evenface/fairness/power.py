"""What a test set can see: the power of the tests of this package, without a single prediction.

**Test of a gap.** ``k`` groups, of which two differ by ``gap`` and the others lie halfway: the arrangement that is hardest
to see. The largest studentised difference is compared with the range of ``k`` equal groups. The range of independent
normal values has an exact distribution (Hartley, 1942), with and without a difference, and Student's t stands for the
normal distribution where people are few. Groups of unequal size are held to the same critical value, which is then too
strict (Hayter, Annals of Statistics 12, 1984): their power is higher than planned.

**Variance of a rate.** ``r (1 - r) (rho / n_eff + (1 - rho) / D)`` for ``D`` images of ``n_eff`` effective people, whose
images correlate by ``rho``. People differ as logistic-normal ones of a standard deviation ``person_sd`` do, so ``rho``
depends on the rate.

**Change of a method.** Student's t with the variance of people and of seeds and Satterthwaite's degrees of freedom, as in
:mod:`evenface.fairness.comparison`.

Arrays broadcast. ``docs/statistics.md`` compares the planned power with that of the real test on simulated people.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri

from evenface.fairness.comparison import with_training
from evenface.fairness.rate_limits import student

#: nobody plans more
MOST_SEEDS, MOST_PEOPLE = 1000, 10**8

_POINTS = np.linspace(-12, 12, 801)  # of the integrals over a standard normal value
_WEIGHTS = np.exp(-(_POINTS**2) / 2) / np.exp(-(_POINTS**2) / 2).sum()
_LOGITS = np.linspace(-30, 30, 601)
_EDGE = 1e-4  # rates are at least this far from 0 and 1


# --- how much images of a person are alike ---


@lru_cache
def _person_table(person_sd: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits of mean rates, ascending, and the correlation of a person's images at each."""
    chance = expit(_LOGITS[:, None] + person_sd * _POINTS)
    mean = chance @ _WEIGHTS
    spread = (chance - mean[:, None]) ** 2 @ _WEIGHTS
    return logit(mean), spread / (mean * (1 - mean))


def intraclass(rate: np.ndarray, person_sd: float) -> np.ndarray:
    """Correlation of two images of a person, in [0, 1], where rates (...) are ``rate`` on average.

    >>> print(f"{float(intraclass(0.8, 1.5)):.2f}")
    0.25
    """
    rate = np.clip(rate, _EDGE, 1 - _EDGE)
    return np.interp(logit(rate), *_person_table(float(person_sd)))


def person_sd_of(rate: float, rho: float) -> float:
    """The standard deviation on the logit scale at which images of a person correlate by ``rho``; 0 for none."""
    if rho <= float(intraclass(rate, 1e-3)):
        return 0.0
    most = 12.0
    if rho >= float(intraclass(rate, most)):
        return most
    return float(brentq(lambda sd: float(intraclass(rate, sd)) - rho, 1e-3, most, xtol=1e-4))


def variance(rate: np.ndarray, n_eff: np.ndarray, images: np.ndarray, person_sd: float) -> np.ndarray:
    """Variance (...) of the rates of groups with ``n_eff`` effective people and ``images`` images that count."""
    rate = np.clip(rate, _EDGE, 1 - _EDGE)
    rho = intraclass(rate, person_sd)
    return rate * (1 - rate) * (rho / n_eff + (1 - rho) / images)


# --- the largest difference of k groups ---


def _range_below(q: float, shift: float, k: int) -> float:
    """P(largest - smallest of k independent normal values <= q); two of their means are ``shift`` apart, around the others."""
    ends = shift / 2, -shift / 2
    t = _POINTS * (1 + shift / 12)

    def inside(mean: float) -> np.ndarray:
        return ndtr(t + q - mean) - ndtr(t - mean)

    def density(mean: float) -> np.ndarray:
        return np.exp(-((t - mean) ** 2) / 2) / np.sqrt(2 * np.pi)

    a, b, middle = inside(ends[0]), inside(ends[1]), inside(0.0)
    total = (density(ends[0]) * b + density(ends[1]) * a) * middle ** (k - 2)
    if k > 2:
        total = total + (k - 2) * density(0.0) * a * b * middle ** (k - 3)
    return float(total.sum() * (t[1] - t[0]))


@lru_cache
def needed_errors(k: int, level: float, power: float) -> tuple[float, float]:
    """The largest of k groups' differences in standard errors: beyond what it is significant, and how much further the
    true difference must be to be seen with this power.

    >>> [round(x, 2) for x in needed_errors(2, 0.05, 0.8)]
    [1.96, 0.84]
    """
    if k == 2:
        critical = -ndtri(level / 2) * np.sqrt(2)
    else:
        critical = brentq(lambda q: 1 - _range_below(q, 0.0, k) - level, 0, 20, xtol=1e-6)
    shift = brentq(lambda s: 1 - _range_below(critical, s, k) - power, 0, 40, xtol=1e-6) if power > level else 0.0
    return float(critical / np.sqrt(2)), max(float((shift - critical) / np.sqrt(2)), 0.0)


def reach(se: np.ndarray, freedom: np.ndarray, k: np.ndarray, level: float, power: float) -> np.ndarray:
    """(...) the smallest difference of two groups that is seen with this power, from its standard error.

    freedom  degrees of freedom of ``se``; k (...) groups that are compared; NaN for fewer than two
    """
    found = np.full(np.shape(se), np.nan)
    for n in np.unique(k[k > 1]):
        here = k == n
        found[here] = sum(student(z, freedom[here]) for z in needed_errors(int(n), level, power)) * se[here]
    return found


def pair_freedom(variances: tuple[np.ndarray, np.ndarray], n_eff: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(...) Satterthwaite's degrees of freedom of the standard error of a difference of two groups."""
    below = sum(v**2 / np.maximum(n - 1, 1) for v, n in zip(variances, n_eff, strict=True))
    return np.maximum(sum(variances) ** 2 / np.maximum(below, 1e-300), 1.0)


# --- planning ---

#: (n_eff (...), images (...)) of one group
Support = tuple[np.ndarray, np.ndarray]


def gap_needed(gap, rate, better: Support, worse: Support, person_sd, k, level, power) -> np.ndarray:
    """(...) the gap that would be seen, if the standard errors are those of a gap of ``gap``.

    rate  of the better group, at least 0.5; that of the ``worse`` group is lower by ``gap``

    The standard errors of the test are those of the rates it meets. A gap is missed when chance brings both rates closer,
    so the critical value is multiplied by the standard error there.
    """
    rates = rate, rate - gap
    variances = [variance(r, *group, person_sd) for r, group in zip(rates, (better, worse), strict=True)]
    freedom = pair_freedom(tuple(variances), (better[0], worse[0]))
    se = np.sqrt(sum(variances))
    critical, beyond = needed_errors(k, level, power)
    reached = student(np.asarray(beyond), freedom)
    moved = [np.minimum(reached * v / se, 0.45 * gap) for v in variances]
    met = [variance(r, *group, person_sd)
           for r, group in zip((rates[0] - moved[0], rates[1] + moved[1]), (better, worse), strict=True)]  # fmt: skip
    return student(np.asarray(critical), freedom) * np.sqrt(sum(met)) + reached * se


def _either(gap, rate, a: Support, b: Support, *more) -> np.ndarray:
    """:func:`gap_needed`, whichever of two groups is the worse one."""
    return np.maximum(gap_needed(gap, rate, a, b, *more), gap_needed(gap, rate, b, a, *more))


def _mirrored(rate: np.ndarray) -> np.ndarray:
    return np.clip(np.maximum(rate, 1 - rate), 0.5, 1 - _EDGE)  # r and 1 - r differ as much


def _least(
    enough: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray, steps: int = 60
) -> np.ndarray:
    """The least value at which ``enough`` holds, by bisection; NaN where it does not hold at ``high``."""
    none = ~enough(high)
    for _ in range(steps):
        middle = (low + high) / 2
        good = enough(middle)
        low, high = np.where(good, low, middle), np.where(good, middle, high)
    return np.where(none, np.nan, high)


def detectable_gap(rate, a: Support, b: Support, person_sd: float, k: int, level: float, power: float) -> np.ndarray:
    """(...) smallest gap between two of k groups that is seen with this power; NaN if none is.

    rate  of the best group; a, b  the two groups that say least

    >>> group = np.array([200.0]), np.array([8000.0])
    >>> print(f"{detectable_gap(np.array([0.8]), group, group, 1.5, 2, 0.05, 0.8)[0]:.3f}")
    0.062
    """
    rate = _mirrored(rate)
    low, high = np.full(rate.shape, _EDGE), rate - _EDGE
    return _least(lambda gap: _either(gap, rate, a, b, person_sd, k, level, power) <= gap, low, high)


def people_needed(gap: float, rate, share, images, person_sd: float, k: int, level: float, power: float) -> np.ndarray:
    """(...) people per group, if all groups have as many, to see ``gap``; NaN if it cannot exist or none suffice.

    share   effective people for each person, in (0, 1]; images (...) images that count for each person
    """
    rate = _mirrored(rate)

    def enough(logs: np.ndarray) -> np.ndarray:
        n = np.exp(logs)
        group = np.maximum(n * share, 2.0), n * images
        return gap_needed(gap, rate, group, group, person_sd, k, level, power) <= gap

    few, many = np.full(rate.shape, np.log(2.0)), np.full(rate.shape, np.log(MOST_PEOPLE))
    return np.where(gap < rate, np.ceil(np.exp(_least(enough, few, many)) - 1e-6), np.nan)


def change_seen(people, n_eff, training, n_seeds, level: float, power: float) -> np.ndarray:
    """(...) smallest change of a method's gap that is seen with this power.

    people    variance of the choice of people, on ``n_eff`` effective ones
    training  variance of the change between seeds, over which ``n_seeds`` seeds take the mean
    """
    total, freedom = with_training(people, n_eff, (training / n_seeds, n_seeds))
    quantiles = student(-ndtri(level / 2), freedom) + student(np.asarray(max(ndtri(power), 0.0)), freedom)
    return quantiles * np.sqrt(total)


def seeds_needed(change: float, people, n_eff, training, level: float, power: float) -> np.ndarray:
    """(...) least number of seeds, at least 2, that show ``change``; NaN if no number up to :data:`MOST_SEEDS` does."""
    people, n_eff, training = np.broadcast_arrays(people, n_eff, training)
    found = np.full(people.shape, np.nan)
    possible = change_seen(people, n_eff, training, MOST_SEEDS, level, power) <= change
    for n in range(2, MOST_SEEDS + 1):
        missing = possible & np.isnan(found)
        if not missing.any():
            break
        found[missing & (change_seen(people, n_eff, training, n, level, power) <= change)] = n
    return found


def times_as_many_people(
    change: float, people, n_eff, training, n_seeds: int, level: float, power: float
) -> np.ndarray:
    """(...) how many times as many people show ``change`` with these seeds; NaN if no number of people does."""
    people, n_eff, training = np.broadcast_arrays(people, n_eff, training)

    def enough(logs: np.ndarray) -> np.ndarray:
        times = np.exp(logs)
        return change_seen(people / times, n_eff * times, training, n_seeds, level, power) <= change

    return np.exp(_least(enough, np.full(people.shape, np.log(1e-3)), np.full(people.shape, np.log(1e6))))
