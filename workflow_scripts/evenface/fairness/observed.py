"""What the observed counts of a model in one grouping say, without replicates: rates, standard errors, pairs of groups."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import ndtri

from evenface.fairness.criteria import Rates
from evenface.fairness.cube import GroupCounts
from evenface.fairness.metrics import BETTER, COMPLEMENT, METRICS, RATIOS, denominators, divide, linear
from evenface.fairness.rate_limits import Spread, limits, mover
from evenface.fairness.training_luck import Training

NO_SPREAD = 1e-12

#: share of images that may be outside of their person's main group in a permutation of people
_FEW_STRAYS = 0.05


@dataclass(frozen=True)
class Support:
    """For one metric: used groups, and the identities in its denominator; all (attributes, groups).

    n_eff  effective number of identities: a person with half of the images counts for little more than one with a tenth
    """

    used: np.ndarray
    n_identities: np.ndarray
    n_eff: np.ndarray


@dataclass(frozen=True)
class People:
    """People, each in one group: identity, ascending group (people,) and counts (people, A, 6)."""

    identity: np.ndarray
    group: np.ndarray
    person: np.ndarray

    def of(self, groups: bytes) -> People:
        """The people of some groups only, a mask (G,) of bools as bytes."""
        keep = np.frombuffer(groups, dtype=bool)[self.group]
        return People(self.identity[keep], self.group[keep], self.person[keep])

    def as_one_assignment(self, values: np.ndarray, n_groups: int) -> np.ndarray:
        """Sums by group of values (people, a, k), in the form of those of a single permutation: (a, 1, G, k)."""
        sums = np.zeros((n_groups, *values.shape[1:]), dtype=values.dtype)
        present, starts = np.unique(self.group, return_index=True)
        sums[present] = np.add.reduceat(values, starts, axis=0)
        return sums.transpose(1, 0, 2)[:, None]


class Observed:
    """What intervals and tests need of one model in one grouping, besides its replicates.

    rates    the observed rates
    support  metric -> identities in its denominator
    se       metric -> (A, G) delete-one-identity standard error, NaN where one identity carries a group
    training the luck of training of a run of several seeds, or None
    """

    def __init__(
        self,
        counted: GroupCounts,
        rates: Rates,
        support: dict[str, Support],
        level: float,
        training: Training | None = None,
    ):
        self.rates, self.support, self.level, self.training = rates, support, level, training
        self.n_attributes, self.n_groups = rates.x["accuracy"].shape
        last = np.searchsorted(counted.group, self.n_groups)
        self.person, self.group, self.identity = (
            counted.person[:last], counted.group[:last], counted.identity[:last],
        )  # fmt: skip
        self.pairs = np.triu_indices(self.n_groups, 1)
        self._linearised: dict[str, np.ndarray] = {}
        self._denominators: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._kept: dict[str, np.ndarray] = {}
        self._covariances: dict[str, np.ndarray] = {}
        self._parts: dict[str, _Parts] = {}
        self._means: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._image_shares: dict[str, np.ndarray] = {}
        self._pair_scales: dict[tuple[str, bool], np.ndarray] = {}
        self.se = {metric: self._se(metric) for metric in METRICS}

    def jointly(self) -> Observed:
        """The same for criteria of both errors, which compare the groups that have both; itself if these are the same."""
        return self if self.rates.jointly() is self.rates else self._together

    @cached_property
    def _together(self) -> Observed:
        other = copy.copy(self)
        other.rates, other._means, other._image_shares = self.rates.jointly(), {}, {}
        return other

    def prepare(self) -> None:
        """Compute what intervals need, and drop what is as large as the counts and not needed any more."""
        for metric in METRICS:
            self.pair_scale(metric), self.pair_scale(metric, logs=True), self.limits_of_mean(metric)
        self.jointly()
        self._drop()

    def _drop(self) -> None:
        for metric in METRICS:
            self._parts_of(metric)
        for kept in (self._linearised, self._denominators, self._kept):
            kept.clear()

    @cached_property
    def spans(self) -> bool:
        """Whether some identity has images in several groups."""
        return len(np.unique(self.identity)) < len(self.identity)

    def person_of(self, attributes: np.ndarray) -> np.ndarray:
        """Counts (identity-group pairs, a, 6) of some attributes, in the order of ``group``."""
        return self.person[:, attributes]

    @cached_property
    def permutable(self) -> People | None:
        """The people of groups that some metric uses, each in one group; None if too many of their images are elsewhere.

        People of groups that are left out say nothing about the others, so they do not change places with them. A few
        stray images, such as wrong predictions of an age, count in the group that their person is in most often.
        """
        used = np.logical_or.reduce([self.rates.used[metric].any(axis=0) for metric in METRICS])
        keep = used[self.group]
        identity, group, person = self.identity[keep], self.group[keep], self.person[keep]
        people, row = np.unique(identity, return_inverse=True)
        if len(people) == len(identity):
            return People(identity, group, person) if len(identity) else None
        images = person[:, :1].sum(axis=(1, 2))
        order = np.lexsort((group, -images, row))  # of equals, the first group
        home = group[order[np.searchsorted(row[order], np.arange(len(people)))]]
        stray = images[group != home[row]].sum()
        if stray > _FEW_STRAYS * images.sum() or len(np.unique(home)) < len(np.unique(group)):
            return None
        total = np.zeros((len(people), *person.shape[1:]), dtype=person.dtype)
        np.add.at(total, row, person)
        by_group = np.argsort(home, kind="stable")
        return People(people[by_group], home[by_group], total[by_group])

    def left_out(self, people: People) -> dict[bytes, dict[str, np.ndarray]]:
        """Groups (a mask (G,) of bools, as bytes) -> metric -> (A,) attributes that use these groups only, of two or more.

        Those that use all groups of ``people`` are not listed.
        """
        found: dict[bytes, dict[str, np.ndarray]] = {}
        present = np.bincount(people.group, minlength=self.n_groups) > 0
        for metric in METRICS:
            used = self.rates.used[metric] & present
            fewer = (used.sum(axis=-1) >= 2) & (used != present).any(axis=-1)
            for attribute in np.flatnonzero(fewer):
                where = found.setdefault(used[attribute].tobytes(), {})
                where.setdefault(metric, np.zeros(self.n_attributes, dtype=bool))[attribute] = True
        return found

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
        d, rest, empty = self._others(RATIOS[metric].denominator)
        u = self._of_group(np.nan_to_num(self.rates.x[metric].T))
        u *= d
        np.subtract(linear(self.person, RATIOS[metric].numerator), u, out=u)
        with np.errstate(divide="ignore", invalid="ignore"):
            u /= rest
        u[empty] = 0
        return u

    def _others(self, denominator: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(pairs, A) images of a linear form, those of the group's other people, and where there are none."""
        if denominator not in self._denominators:
            d = linear(self.person, denominator)
            rest = self._of_group(self.sum_by_group(d)) - d
            self._denominators[denominator] = d, rest, rest == 0
        return self._denominators[denominator]

    def _se(self, metric: str) -> np.ndarray:
        se = np.sqrt(self.sum_by_group(self.linearised(metric) ** 2))
        se[se < NO_SPREAD] = 0  # identities that all have the same rate leave rounding errors
        se[np.isnan(self.rates.x[metric].T)] = np.nan
        se[self.support[metric].n_identities.T < 2] = np.nan  # one identity carries the group
        return se.T

    def sum_by_group(self, values: np.ndarray) -> np.ndarray:
        """Sum (pairs, A) over the identities of each group: (G, A)."""
        total = np.zeros((values.shape[1], self.n_groups), dtype=values.dtype)
        present = np.flatnonzero(self._sizes)
        if len(present):
            starts = (np.cumsum(self._sizes) - self._sizes)[present]
            total[:, present] = np.add.reduceat(values.T, starts, axis=1)
        return total.T

    @cached_property
    def _sizes(self) -> np.ndarray:
        return np.bincount(self.group, minlength=self.n_groups)

    def _of_group(self, values: np.ndarray) -> np.ndarray:
        """(pairs, A) the values (G, A) of each pair's group; like the counts, pairs are adjacent in memory."""
        return np.repeat(np.ascontiguousarray(values.T), self._sizes, axis=1).T

    @cached_property
    def z(self) -> float:
        """The normal quantile of the level."""
        return float(ndtri((1 + self.level) / 2))

    def _unbiased(self, metric: str) -> np.ndarray:
        """(pairs, A) deviations whose squares add up to an unbiased variance where people vary alike (HC2)."""
        if metric == "balanced_accuracy":
            return (self._unbiased("tpr") + self._unbiased("tnr")) / 2
        if metric in COMPLEMENT:
            return -self._unbiased(COMPLEMENT[metric])
        return self.linearised(metric) * self._less_leverage(RATIOS[metric].denominator)

    def _less_leverage(self, denominator: str) -> np.ndarray:
        """(pairs, A) sqrt(1 - d_i / D), which turns the deviations of the jackknife into those of HC2."""
        if denominator not in self._kept:
            d = self._others(denominator)[0]
            self._kept[denominator] = np.nan_to_num(np.sqrt(1 - divide(d, self._of_group(self.sum_by_group(d)))))
        return self._kept[denominator]

    def limits(self, metric: str, z: np.ndarray | float, block: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limit (a, G) of the rates of a block of attributes; ``z`` broadcasts against them."""
        return self._parts_of(metric).limits(z, block)

    def limits_of(self, wanted: Sequence[tuple[str, np.ndarray]], block: slice) -> list[tuple[np.ndarray, np.ndarray]]:
        """:meth:`limits` of several metrics at normal quantiles (a,) of their own, found in one search."""
        parts = [self._parts_of(metric) for metric, _ in wanted]
        z = [q for of, (_, q) in zip(parts, wanted, strict=True) for _ in of.parts]
        x, spreads = zip(*((x[block], spread[block]) for of in parts for x, spread in of.parts), strict=True)
        found = limits(np.concatenate(x), Spread.concatenate(spreads), np.concatenate(z)[:, None])
        ends = zip(*(np.split(end, len(x)) for end in found), strict=True)
        return [of.joined([next(ends) for _ in of.parts], block) for of in parts]

    def _parts_of(self, metric: str) -> _Parts:
        if metric not in self._parts:
            parts = [(x.T, u) for x, u in self._shares(metric)]
            self._parts[metric] = _Parts.of(
                parts, lambda u: self.sum_by_group(u).T, self.support[metric].n_eff, np.isnan(self.se[metric])
            )
        return self._parts[metric]

    def spread(self, metric: str) -> Spread:
        """What limits of the rates (A, G) of a metric need; of a signed one, that of its first part."""
        return self._parts_of(metric).parts[0][1]

    @cached_property
    def widths(self) -> Widths:
        """What comparisons of runs need; it keeps no counts of people."""
        return Widths({metric: self._parts_of(metric) for metric in METRICS}, self.se, self.z)

    def limits_of_mean(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limit (A,) of the mean of the used groups' rates.

        It is a rate itself, to which a person of a small group contributes more than one of a large group.
        """
        if metric in COMPLEMENT:
            low, high = self.limits_of_mean(COMPLEMENT[metric])
            return 1 - high, 1 - low
        if metric not in self._means:
            self._means[metric] = self._limits_of_mean(metric)
        return self._means[metric]

    def _limits_of_mean(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        used = self.rates.used[metric].T
        weight = divide(used, used.sum(axis=0))
        of_pair, n_eff = self._of_group(weight), []
        for denominator in denominators(metric):
            d = self._others(denominator)[0]
            share = np.nan_to_num(divide(d, self._of_group(self.sum_by_group(d))))
            share = self._by_person(share * of_pair)
            n_eff.append(divide(1, (share**2).sum(axis=0)))
        used_pairs = self._of_group(used)
        parts = [
            ((weight * np.where(used, x, 0)).sum(axis=0), self._by_person(np.where(used_pairs, u * of_pair, 0)))
            for x, u in self._shares(metric)
        ]
        unknown = (used & np.isnan(self.se[metric].T)).any(axis=0)
        return _Parts.of(parts, lambda u: u.sum(axis=0), np.minimum.reduce(n_eff), unknown).limits(self.z)

    def _shares(self, metric: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rates (G, A) in [0, 1] and their deviations (pairs, A): the metric's own; of a signed one, its two parts."""
        if BETTER[metric] != "zero":
            return [(self.rates.x[metric].T, self._unbiased(metric))]
        ratio, found = RATIOS[metric], []
        d, rest, _ = self._others(ratio.denominator)
        total = self.sum_by_group(d)
        for part in ratio.numerator.split("-"):
            a = linear(self.person, part)
            x = divide(self.sum_by_group(a), total)
            deviation = np.nan_to_num(divide(a - self._of_group(np.nan_to_num(x)) * d, rest))
            found.append((x, deviation * self._less_leverage(ratio.denominator)))
        return found

    def _by_person(self, values: np.ndarray) -> np.ndarray:
        """(people, A) sums over the groups of each identity of values (pairs, A)."""
        if not self.spans:
            return values
        people, row = np.unique(self.identity, return_inverse=True)
        total = np.zeros((len(people), values.shape[1]))
        np.add.at(total, row, values)
        return total

    def covariance(self, metric: str) -> np.ndarray:
        """(A, G, G) sum over identities of u_ig u_ih."""
        if metric not in self._covariances:
            if self.spans:
                wide = self._wide(metric)
                self._covariances[metric] = np.matmul(wide, wide.transpose(0, 2, 1))
            else:
                squares = self.sum_by_group(self.linearised(metric) ** 2).T
                self._covariances[metric] = np.eye(self.n_groups) * squares[..., None]
        return self._covariances[metric]

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

    def image_shares(self, metric: str) -> np.ndarray:
        """(A, G) shares of the used groups in the images of the pooled rate, the mean over its denominators."""
        if metric not in self._image_shares:
            used, parts = self.rates.used[metric], []
            for denominator in denominators(metric):
                d = np.where(used, self.sum_by_group(linear(self.person, denominator)).T, 0)
                parts.append(np.nan_to_num(divide(d, d.sum(axis=-1, keepdims=True))))
            self._image_shares[metric] = np.mean(parts, axis=0)
        return self._image_shares[metric]

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
        if metric in ("prevalence_bias", "balanced_accuracy", "f1"):  # these are not shares of images
            return np.full(x.shape, np.nan)
        return divide(self.se[metric] ** 2, divide(x * (1 - x), denominator))


@dataclass(frozen=True)
class Widths:
    """How far the rates of one model in one grouping may be off, for the choice of people.

    se  metric -> (A, G) jackknife standard error; z  normal quantile of the level
    """

    _parts: Mapping[str, _Parts]
    se: Mapping[str, np.ndarray]
    z: float
    _stretch: dict[str, np.ndarray] = field(default_factory=dict)

    def limits(self, metric: str, block: slice, z: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limit (a, G), as :meth:`Observed.limits`."""
        return self._parts[metric].limits(z, block)

    def spread(self, metric: str) -> Spread:
        """As :meth:`Observed.spread`."""
        return self._parts[metric].parts[0][1]

    def at_boundary(self, metric: str) -> np.ndarray:
        """As :meth:`Observed.at_boundary`."""
        return self.se[metric] == 0

    def stretch(self, metric: str) -> np.ndarray:
        """(A, G) width of a rate's interval over that of a normal distribution; NaN without spread."""
        if metric not in self._stretch:
            low, high = self._parts[metric].limits(self.z)
            self._stretch[metric] = divide(high - low, 2 * self.z * self.se[metric])
        return self._stretch[metric]


@dataclass(frozen=True)
class _Parts:
    """Rates in [0, 1] with their spreads, all (...); two rates stand for their difference, which is correlated."""

    parts: tuple[tuple[np.ndarray, Spread], ...]
    correlation: np.ndarray

    @classmethod
    def of(cls, shares: list[tuple[np.ndarray, np.ndarray]], total, n_eff: np.ndarray, unknown: np.ndarray) -> _Parts:
        """From rates and deviations (pairs, A); ``total`` adds up those of each rate. ``unknown``: nothing says how sure it is."""
        found = []
        for x, u in shares:
            squared = u * u
            second, third, fourth = total(squared), total(squared * u), total(squared * squared)
            carriers = np.nan_to_num(divide(second**2, fourth), nan=1.0)
            se = np.sqrt(second)
            few = np.minimum(x, 1 - x)
            # people who are all alike, but not always right or always wrong, have at least 1 / few images each
            alike = np.where(few > 0, np.sqrt(np.maximum(x * (1 - x) * few, 0) / np.maximum(n_eff, 1)), 0)
            se = np.where(se < NO_SPREAD, alike, se)
            se[unknown] = np.nan
            found.append((x, Spread(se, n_eff, carriers, np.sign(third))))
        both = total(shares[0][1] * shares[-1][1])
        return cls(tuple(found), np.clip(np.nan_to_num(divide(both, found[0][1].se * found[-1][1].se)), -1, 1))

    def limits(self, z: np.ndarray | float, block: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limit (...) at normal quantile ``z``."""
        return self.joined([limits(x[block], spread[block], z) for x, spread in self.parts], block)

    def joined(self, ends: list[tuple[np.ndarray, np.ndarray]], block: slice) -> tuple[np.ndarray, np.ndarray]:
        """The limits, from those of each rate."""
        if len(ends) == 1:
            return ends[0]
        (p, n), correlation = (x[block] for x, _ in self.parts), self.correlation[block]
        (p_low, p_high), (n_low, n_high) = ends
        return p - n - mover(p - p_low, n_high - n, correlation), p - n + mover(p_high - p, n - n_low, correlation)
