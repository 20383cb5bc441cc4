"""Permutation tests of several groupings at once.

With thousands of people, sums over permuted people take nearly all of the time. Groupings that place the same people,
with the same counts, in groups therefore share them. The sums are those of classes: people who are in one group of every
such grouping. Each grouping adds up its classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from evenface.fairness import resampling
from evenface.fairness.criteria import Rates, gap_values, replicate_rates
from evenface.fairness.cube import OUTCOMES, Grouping
from evenface.fairness.observed import Observed, People
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tests_of_difference import (
    EXACT,
    PERMUTATION,
    DifferenceTest,
    Studentised,
    against_permutations,
    null_means,
    of_both_errors,
)

#: most bytes of the sums of a block of attributes; they are read many times, so they should fit a cache
_MAX_BYTES = 16_000_000


@dataclass(frozen=True)
class _People:
    """The people of groupings that share their sums.

    identity, strata  (people,)
    person            (people, A, 6) counts
    assignments       every distinct order of the people, if there are few; such a grouping shares nothing
    group             grouping -> (people,) number of the group
    """

    identity: np.ndarray
    strata: np.ndarray
    person: np.ndarray
    assignments: np.ndarray | None
    group: dict[str, np.ndarray]

    @classmethod
    def of(cls, grouping: Grouping, people: People, strata: np.ndarray, n_perm: int) -> _People:
        of_people = strata[people.identity]
        if len(np.unique(of_people)) == 1 and resampling.n_assignments(people.group) <= n_perm:
            order, assignments = slice(None), resampling.all_assignments(people.group)
        else:  # an order that all groupings share
            order, assignments = np.argsort(people.identity), None
        parts = people.identity, of_people, people.person, people.group
        identity, of_people, person, group = (part[order] for part in parts)
        return cls(identity, of_people, person, assignments, {grouping.name: group})

    def same(self, other: _People) -> bool:
        return (
            self.assignments is None
            and other.assignments is None
            and np.array_equal(self.identity, other.identity)
            and np.array_equal(self.strata, other.strata)
            and np.array_equal(self.person, other.person)
        )


def shared_tests(
    observed: Mapping[str, tuple[Grouping, Observed]],
    strata: Callable[[Grouping], np.ndarray],
    orders: Callable[[np.ndarray], np.ndarray],
    settings: FairnessSettings,
) -> Iterator[SharedTests]:
    """The tests of all groupings in which nobody, but for stray images, is in several groups.

    strata  of a grouping, (identities,) within which identities are permuted
    orders  of strata (people,), the permutations (n_perm, people)
    """
    found: list[_People] = []
    apart: dict[Observed, list[_Fewer]] = {}
    for grouping, one in observed.values():
        permutable = one.permutable
        if permutable is None:
            continue  # permuting identities would split people
        own = strata(grouping)
        people = _People.of(grouping, permutable, own, settings.n_perm)
        if people.assignments is None:
            for each in (one, one.jointly()):
                apart[each] = _Fewer.all_of(each, own, orders)
        known = next((other for other in found if people.same(other)), None)
        if known is None:
            found.append(people)
        else:
            known.group.update(people.group)
    for people in found:
        yield SharedTests(people, orders, {name: observed[name] for name in people.group}, apart, settings.alpha)


@dataclass
class _Statistics:
    """Of attributes: rates of permuted people (a, P, G), and statistics of these (a, P) and of the observed ones (a,)."""

    permuted: Rates
    drawn: dict[str, np.ndarray]
    seen: dict[str, np.ndarray]

    @classmethod
    def of(cls, statistic: Studentised, observed: Observed, rows: np.ndarray, every: np.ndarray, alpha: float):
        """``every`` (a, 1 + P, G, k): sums of the counts and the statistic's columns, those of the observed people first."""
        counts, sums = every[..., : len(OUTCOMES)], every[..., len(OUTCOMES) :]
        rates = replicate_rates(counts, observed.rates, rows, alpha)
        used = {metric: mask[rows] for metric, mask in observed.rates.used.items()}
        largest = statistic.largest(used, rates.x, counts, sums)
        seen = largest
        if observed.training is not None:
            luck = {metric: one[rows] for metric, one in observed.training.relative.items()}
            first = {metric: x[:, :1] for metric, x in rates.x.items()}
            seen = statistic.largest(used, first, counts[:, :1], sums[:, :1], luck)
        return cls(rates, {m: t[:, 1:] for m, t in largest.items()}, {m: t[:, 0] for m, t in seen.items()})

    def replace(self, metric: str, to: np.ndarray, other: _Statistics, of: np.ndarray) -> None:
        """Take the attributes ``of`` of another's metric in the place of the attributes ``to``."""
        for mine, theirs in (
            (self.permuted.x, other.permuted.x), (self.permuted.pooled, other.permuted.pooled), (self.drawn, other.drawn),
            (self.seen, other.seen),
        ):  # fmt: skip
            mine[metric][to] = theirs[metric][of]


@dataclass(frozen=True)
class _Fewer:
    """Permutations of the people of some groups, for metrics that leave the other groups out.

    where  metric -> (A,) attributes for which they take the place of those of all people
    """

    people: People
    members: sparse.csr_array
    where: dict[str, np.ndarray]

    @classmethod
    def all_of(cls, observed: Observed, strata: np.ndarray, orders) -> list[_Fewer]:
        """One for every set of groups that some metric uses, except all groups."""
        people = observed.permutable
        return [
            cls.of(people.of(groups), strata, orders, observed.n_groups, where)
            for groups, where in observed.left_out(people).items()
        ]

    @classmethod
    def of(cls, people: People, strata: np.ndarray, orders, n_groups: int, where) -> _Fewer:
        drawn = orders(strata[people.identity])
        drawn = np.vstack([np.arange(drawn.shape[1], dtype=drawn.dtype), drawn])
        return cls(people, resampling.membership(drawn, people.group, n_groups), where)

    def put_into(self, found: _Statistics, observed: Observed, rows: np.ndarray, alpha: float) -> None:
        chosen = np.logical_or.reduce(list(self.where.values()))[rows]
        if not chosen.any():
            return
        person = self.people.person[:, rows[chosen]]
        statistic = Studentised(person)
        values = np.concatenate([person, statistic.columns], axis=-1)
        sums = resampling.permuted_sums(self.members, values)  # (groups, k, a, 1 + P)
        every = sums.transpose(2, 3, 0, 1)
        fewer = _Statistics.of(statistic, observed, rows[chosen], every, alpha)
        for metric, mask in self.where.items():
            found.replace(metric, mask[rows], fewer, mask[rows[chosen]])


class SharedTests:
    """The tests of groupings of the same people.

    p_method    how their p values are computed
    block_size  most attributes to compute at a time; it does not change results
    """

    def __init__(
        self,
        people: _People,
        orders,
        observed: Mapping[str, tuple[Grouping, Observed]],
        apart: Mapping[Observed, list[_Fewer]],
        alpha: float,
    ):
        exact = people.assignments is not None
        drawn = people.assignments if exact else orders(people.strata)
        drawn = np.vstack([np.arange(drawn.shape[1], dtype=drawn.dtype), drawn])  # first the observed one
        groups, classes = np.unique(np.stack(list(people.group.values())), axis=1, return_inverse=True)
        self._person, self._alpha, self._apart = people.person, alpha, apart
        self._members = resampling.membership(drawn, classes.ravel(), groups.shape[1])
        self._parts = [
            (replace(grouping, of_cell=of_class), one, {name: gap.value for name, gap in gap_values(one.rates, alpha)})
            for (grouping, one), of_class in zip(observed.values(), groups, strict=True)
        ]
        self.p_method = EXACT if exact else PERMUTATION
        n_columns = Studentised(people.person[:, :1]).columns.shape[-1] + len(OUTCOMES)
        self.block_size = max(1, _MAX_BYTES // (4 * n_columns * groups.shape[1] * len(drawn)))

    def tests(self, block: slice) -> dict[str, dict[str, DifferenceTest]]:
        """Grouping -> criterion -> test (a,) of a block of attributes."""
        statistic = Studentised(self._person[:, block])
        values = np.concatenate([self._person[:, block], statistic.columns], axis=-1)
        sums = resampling.permuted_sums(self._members, values)
        classes = resampling.CellCounts(np.arange(len(sums)), sums)
        rows, tested = np.arange(self._person.shape[1])[block], {}
        for grouping, observed, gaps in self._parts:
            every = resampling.sum_cells(classes, grouping, observed.n_groups)
            values_of = {name: gap[block] for name, gap in gaps.items()}

            def test(observed: Observed, every=every, values_of=values_of) -> dict[str, DifferenceTest]:
                found = _Statistics.of(statistic, observed, rows, every, self._alpha)
                for fewer in self._apart.get(observed, ()):
                    fewer.put_into(found, observed, rows, self._alpha)
                means = null_means(values_of, found.permuted, self._alpha, first=1)
                return against_permutations(means, found.seen, found.drawn, exact=self.p_method == EXACT)

            tested[grouping.name] = test(observed)
            if observed.jointly() is not observed:
                tested[grouping.name] |= of_both_errors(test(observed.jointly()))
        return tested
