"""Permutation tests of several groupings at once.

With thousands of people, sums over permuted people take nearly all of the time. Groupings that place the same people,
with the same counts, in groups therefore share them. The sums are those of classes: people who are in one group of every
such grouping. Each grouping adds up its classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from evenface.fairness import resampling
from evenface.fairness.criteria import gap_values, replicate_rates
from evenface.fairness.cube import OUTCOMES, Grouping
from evenface.fairness.observed import Observed
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tests_of_difference import (
    EXACT,
    PERMUTATION,
    DifferenceTest,
    Studentised,
    against_permutations,
    null_means,
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
    def of(cls, grouping: Grouping, observed: Observed, strata: np.ndarray, n_perm: int) -> _People:
        of_people = strata[observed.identity]
        if len(np.unique(of_people)) == 1 and resampling.n_assignments(observed.group) <= n_perm:
            order, assignments = slice(None), resampling.all_assignments(observed.group)
        else:  # an order that all groupings share
            order, assignments = np.argsort(observed.identity), None
        parts = observed.identity, of_people, observed.person, observed.group
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
    """The tests of all groupings in which nobody is in several groups.

    strata  of a grouping, (identities,) within which identities are permuted
    orders  of strata (people,), the permutations (n_perm, people)
    """
    found: list[_People] = []
    for grouping, one in observed.values():
        if one.spans or not len(one.identity):
            continue  # permuting identities would split people
        people = _People.of(grouping, one, strata(grouping), settings.n_perm)
        known = next((other for other in found if people.same(other)), None)
        if known is None:
            found.append(people)
        else:
            known.group.update(people.group)
    for people in found:
        yield SharedTests(people, orders, {name: observed[name] for name in people.group}, settings.alpha)


class SharedTests:
    """The tests of groupings of the same people.

    p_method    how their p values are computed
    block_size  most attributes to compute at a time; it does not change results
    """

    def __init__(self, people: _People, orders, observed: Mapping[str, tuple[Grouping, Observed]], alpha: float):
        exact = people.assignments is not None
        drawn = people.assignments if exact else orders(people.strata)
        drawn = np.vstack([np.arange(drawn.shape[1], dtype=drawn.dtype), drawn])  # first the observed one
        groups, classes = np.unique(np.stack(list(people.group.values())), axis=1, return_inverse=True)
        self._person, self._alpha = people.person, alpha
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
        classes = resampling.permuted_sums(self._members, values)
        found = {}
        for grouping, observed, gaps in self._parts:
            every = resampling.sum_cells(classes, grouping, observed.n_groups)
            counts, sums = every[..., : len(OUTCOMES)], every[..., len(OUTCOMES) :]
            rates = replicate_rates(counts, observed.rates, block, self._alpha)
            used = {metric: mask[block] for metric, mask in observed.rates.used.items()}
            largest = statistic.largest(used, rates.x, counts, sums)
            seen, drawn = ({metric: t[:, part] for metric, t in largest.items()} for part in (0, slice(1, None)))
            means = null_means({name: gap[block] for name, gap in gaps.items()}, rates, self._alpha, first=1)
            found[grouping.name] = against_permutations(means, seen, drawn, exact=self.p_method == EXACT)
        return found
