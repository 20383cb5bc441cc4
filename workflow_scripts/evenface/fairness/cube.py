"""The count cube: how often each outcome occurred per identity, demographic cell and attribute.

Every rate, gap and bound of this package is a function of these integers. Images are therefore read once, and
the order of rows does not matter. Only existing (identity, cell) pairs are stored, because a person usually
has one gender and one ethnicity, and a dense array would be mostly zeros.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evenface.taxonomy import UNKNOWN, group_name

OUTCOMES = ("TN", "FP", "FN", "TP", "U0", "U1")
TN, FP, FN, TP, U0, U1 = range(6)

#: The first outcomes are those of defined labels; of these, two are errors.
DEFINED_OUTCOMES, WRONG_OUTCOMES = 4, [FP, FN]

# indexed by 2 * (label + 1) + prediction
_OUTCOME = np.array([TN, FP, U0, U1, FN, TP], dtype=np.int64)


@dataclass(frozen=True)
class CellSpace:
    """The finest demographic cells: every combination of levels, ``unknown`` last in each dimension."""

    levels: Mapping[str, tuple[str, ...]]

    @property
    def dimensions(self) -> tuple[str, ...]:
        return tuple(self.levels)

    @property
    def size(self) -> int:
        return int(np.prod([len(v) + 1 for v in self.levels.values()], dtype=np.int64))

    def codes(self, levels: Mapping[str, np.ndarray]) -> np.ndarray:
        """Cell number (n,) int64 from one level number (n,) per dimension (unknown = number of levels)."""
        code = np.int64(0)
        for name, values in self.levels.items():
            code = code * (len(values) + 1) + levels[name].astype(np.int64)
        return code

    def grouping(self, name: str) -> Grouping:
        """The grouping ``"a*b"``: a group per combination of levels; those with ``unknown`` come last."""
        parts = name.split("*")
        choices = [(*self.levels[part], UNKNOWN) for part in parts]
        combinations = sorted(itertools.product(*choices), key=lambda c: UNKNOWN in c)  # stable
        number = {combination: k for k, combination in enumerate(combinations)}
        position = [self.dimensions.index(part) for part in parts]
        cells = itertools.product(*[(*v, UNKNOWN) for v in self.levels.values()])
        of_cell = np.array([number[tuple(cell[p] for p in position)] for cell in cells], dtype=np.int64)
        return Grouping(
            name=name,
            dimensions=tuple(parts),
            groups=tuple(map(group_name, combinations)),
            n_known=sum(UNKNOWN not in combination for combination in combinations),
            of_cell=of_cell,
        )


@dataclass(frozen=True)
class Grouping:
    """Groups in the declared order of levels; ``groups[n_known:]`` contain the level unknown."""

    name: str
    dimensions: tuple[str, ...]
    groups: tuple[str, ...]
    n_known: int
    of_cell: np.ndarray  # (cells,) group number


@dataclass(frozen=True)
class GroupCounts:
    """The cube summed over the cells of each group.

    counts     (groups, attributes, 6) int64
    person     (pairs, attributes, 6) int64, one row per identity that occurs in a group; pairs are adjacent in memory
    identity   (pairs,) int64, row of Cube.identities
    group      (pairs,) int64, ascending
    """

    counts: np.ndarray
    person: np.ndarray
    identity: np.ndarray
    group: np.ndarray

    def identities_with(self, coefficients: np.ndarray) -> np.ndarray:
        """(groups, attributes) int64: number of identities whose linear form ``counts @ coefficients`` is not 0."""
        return _sum_by((self._form(coefficients) != 0).T, self.group, len(self.counts)).T

    def effective_identities(self, coefficients: np.ndarray) -> np.ndarray:
        """(groups, attributes) float64: how many identities of equal weight weigh as much, (sum d)^2 / sum d^2.

        d is the identity's linear form ``counts @ coefficients``; 0 where it is 0 for all.
        """
        squares = _sum_by((self._form(coefficients) ** 2).T, self.group, len(self.counts)).T
        return (self.counts @ coefficients).astype(np.float64) ** 2 / np.maximum(squares, 1)

    def _form(self, coefficients: np.ndarray) -> np.ndarray:
        return sum(factor * self.person[..., k] for k, factor in enumerate(coefficients.tolist()) if factor)


@dataclass(frozen=True)
class Cube:
    """Counts for every existing (cell, identity) pair.

    counts      (pairs, attributes, 6) int32 in the order of OUTCOMES
    cell        (pairs,) int64, ascending
    identity    (pairs,) int64, ascending within a cell
    identities  names, sorted
    """

    space: CellSpace
    attributes: tuple[str, ...]
    identities: np.ndarray
    cell: np.ndarray
    identity: np.ndarray
    counts: np.ndarray

    @property
    def n_images(self) -> int:
        return int(self.counts[:, :1].sum())

    def pair_of(self, identities: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """(n,) int32 row of the counts for images of these identities and cells (n,)."""
        n = max(1, len(self.identities))
        code = pd.Index(self.identities, dtype=object).get_indexer(identities)
        return np.searchsorted(self.cell * n + self.identity, cells * n + code).astype(np.int32)

    def by_group(self, grouping: Grouping) -> GroupCounts:
        group = grouping.of_cell[self.cell]
        key = group * len(self.identities) + self.identity
        pairs, inverse = np.unique(key, return_inverse=True)
        # the people of an attribute's outcome are adjacent in memory, because rates are sums of few outcomes over people
        person = _sum_by(self.counts.T, inverse, len(pairs)).T
        group, identity = np.divmod(pairs, max(1, len(self.identities)))
        counts = np.ascontiguousarray(_sum_by(person.T, group, len(grouping.groups)).T)
        return GroupCounts(counts, person, identity, group)


def count(
    identities: Iterable[str],
    cells: np.ndarray,
    space: CellSpace,
    outcomes: Iterable[tuple[str, np.ndarray, np.ndarray]],
) -> Cube:
    """Count outcomes.

    identities  (n,) identity of each image
    cells       (n,) cell number of each image
    outcomes    per attribute: name, predictions (n,) in {0, 1}, labels (n,) in {-1, 0, +1}
    """
    codes, names = pd.factorize(np.asarray(identities, dtype=object), sort=True)
    pairs, row = np.unique(cells * max(1, len(names)) + codes, return_inverse=True)
    base = row * len(OUTCOMES)
    attributes, columns = [], []
    for attribute, predicted, label in outcomes:
        outcome = _OUTCOME[2 * (label.astype(np.int8) + 1) + predicted.astype(np.int8)]
        counted = np.bincount(base + outcome, minlength=len(pairs) * len(OUTCOMES))
        attributes.append(attribute)
        columns.append(counted.reshape(len(pairs), len(OUTCOMES)).astype(np.int32))
    counts = np.stack(columns, axis=1) if columns else np.zeros((len(pairs), 0, len(OUTCOMES)), np.int32)
    cell, identity = np.divmod(pairs, max(1, len(names)))
    return Cube(space, tuple(attributes), np.asarray(names), cell, identity, counts)


def _sum_by(values: np.ndarray, key: np.ndarray, n: int) -> np.ndarray:
    """Sum columns (..., rows) with equal key into (..., n) int64."""
    total = np.zeros((*values.shape[:-1], n), dtype=np.int64)
    if len(key):
        if (key[1:] < key[:-1]).any():
            order = np.argsort(key, kind="stable")
            key, values = key[order], values[..., order]
        starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
        total[..., key[starts]] = np.add.reduceat(values, starts, axis=-1, dtype=np.int64)
    return total
