"""How far the luck of training moves the rates of a run, from the differences between its seeds.

The test set is the same for all seeds. What their rates differ by is training, and the part of the choice of people that
the seeds do not share. The latter is known from people and counted there already, so it is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr

from evenface.fairness.metrics import METRICS, divide
from evenface.fairness.rate_limits import student

#: share of a group's own variance in the estimate; the rest is the mean of all groups
_OWN = 0.5

_MOST_FREEDOM = 1e9

Spread = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Luck:
    """The variance of a mean over seeds that comes from training, all of one shape (...).

    variance  what training adds to the choice of people, at least 0
    estimate  the variance between seeds that this was taken from; it has ``freedom`` degrees of freedom
    """

    variance: np.ndarray
    estimate: np.ndarray
    freedom: np.ndarray

    def __getitem__(self, key) -> Luck:
        return Luck(self.variance[key], self.estimate[key], self.freedom[key])

    def times(self, factor: np.ndarray) -> Luck:
        """That of a value multiplied by ``factor`` (...)."""
        return Luck(self.variance * factor**2, self.estimate * factor**2, self.freedom)

    def plus(self, other: Luck) -> Luck:
        """That of a difference of two groups of the same metric."""
        return Luck(self.variance + other.variance, self.estimate + other.estimate, self.freedom)

    def _total(self, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Variance of people and training together, and its degrees of freedom by Satterthwaite."""
        total = people + self.variance
        freedom = divide(total**2 * self.freedom, self.estimate**2)
        return total, np.clip(np.nan_to_num(freedom, nan=_MOST_FREEDOM), 1, _MOST_FREEDOM)

    def widen(self, reach: np.ndarray, z: np.ndarray | float) -> np.ndarray:
        """How far a limit at the normal quantile ``z`` is from its estimate, if people alone give ``reach``."""
        total, freedom = self._total((reach / z) ** 2)
        return np.where(self.estimate > 0, student(z, freedom) * np.sqrt(total), reach)

    def normal(self, squared: np.ndarray, people: np.ndarray) -> np.ndarray:
        """The square of the normal deviate that is as unlikely as a squared deviation.

        people  its variance for the choice of people
        """
        total, freedom = self._total(people)
        t = np.sqrt(squared / total)
        z = np.where(freedom < _MOST_FREEDOM, -ndtri(stdtr(freedom, -t)), t)
        return np.minimum(z, 30.0) ** 2  # beyond, the probability is 0 in double precision


@dataclass(frozen=True)
class Training:
    """The luck of training of a run of several seeds, by metric.

    own       (A, G) of each group's rate
    relative  (A, G) of each group's rate beside those of the others: what moves all used groups alike is left out
    mean      (A,) of the mean of the used groups
    """

    own: dict[str, Luck]
    relative: dict[str, Luck]
    mean: dict[str, Luck]

    @classmethod
    def of(cls, seeds: Sequence[Spread], se: Mapping[str, np.ndarray], used: Mapping[str, np.ndarray]) -> Training:
        """From the rates of two or more seeds.

        seeds  of each seed, metric -> its rates (A, G), and metric -> their standard errors for the choice of people
        se     of the rates over all seeds; used metric -> (A, G) groups that are compared
        """
        found = cls({}, {}, {})
        for metric in METRICS:
            x, of_seeds = (
                np.nan_to_num(np.stack([part[metric] for part in parts])) for parts in zip(*seeds, strict=True)
            )
            own, relative, mean = _of_metric(x, of_seeds, np.nan_to_num(se[metric]), used[metric])
            found.own[metric], found.relative[metric], found.mean[metric] = own, relative, mean
        return found


def _of_metric(x: np.ndarray, se: np.ndarray, together: np.ndarray, used: np.ndarray) -> tuple[Luck, Luck, Luck]:
    """x, se (S, A, G) of the seeds; together (A, G) standard error of their mean; used (A, G)."""
    n = len(x)
    k = used.sum(axis=-1, keepdims=True)
    # of deviations u_si, sum over seeds of (u_si - mean u_i)^2 / (S - 1): what seeds do not share of the choice of people
    people = np.maximum((se**2).sum(axis=0) - n * together**2, 0) / (n - 1)
    step = np.where(used, x - x.mean(axis=0), 0)
    own = (step**2).sum(axis=0) / (n - 1)
    alone = np.where(used, step - step.sum(axis=-1, keepdims=True) / np.maximum(k, 1), 0)
    between = (alone**2).sum(axis=0) / (n - 1) * k / np.maximum(k - 1, 1)
    mixed, mixed_people = (
        np.where(
            used, _OWN * part + (1 - _OWN) * np.where(used, part, 0).sum(axis=-1, keepdims=True) / np.maximum(k, 1), 0
        )
        for part in (between, people)
    )
    # of a difference: own parts of two groups, and the mean of all, which contains them
    freedom = (n - 1) * np.maximum(k - 1, 1) / (_OWN**2 * k / 2 + 1 - _OWN**2)
    of_mean = (step.sum(axis=-1) / np.maximum(k[:, 0], 1)) ** 2
    of_mean = of_mean.sum(axis=0) / (n - 1)
    people_of_mean = np.where(used, people, 0).sum(axis=-1) / np.maximum(k[:, 0], 1) ** 2

    def luck(variance, of_people, freedom):
        freedom = np.broadcast_to(np.asarray(freedom, dtype=np.float64), variance.shape)
        return Luck(np.maximum(variance - of_people, 0) / n, variance / n, freedom)

    return luck(own, people, n - 1), luck(mixed, mixed_people, freedom), luck(of_mean, people_of_mean, n - 1)
