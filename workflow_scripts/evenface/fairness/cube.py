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
    person     (pairs, attributes, 6) int64, one row per identity that occurs in a group
    identity   (pairs,) int64, row of Cube.identities
    group      (pairs,) int64, ascending
    """

    counts: np.ndarray
    person: np.ndarray
    identity: np.ndarray
    group: np.ndarray

    def identities_with(self, coefficients: np.ndarray) -> np.ndarray:
        """(groups, attributes) int64: number of identities whose linear form ``counts @ coefficients`` is not 0."""
        occurs = (self.person @ coefficients) != 0
        return _sum_by(occurs, self.group, len(self.counts))

    def effective_identities(self, coefficients: np.ndarray) -> np.ndarray:
        """(groups, attributes) float64: how many identities of equal weight weigh as much, (sum d)^2 / sum d^2.

        d is the identity's linear form ``counts @ coefficients``; 0 where it is 0 for all.
        """
        d = self.person @ coefficients
        total = _sum_by(d, self.group, len(self.counts)).astype(np.float64)
        squares = _sum_by(d * d, self.group, len(self.counts))
        return total**2 / np.maximum(squares, 1)


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

    def by_group(self, grouping: Grouping) -> GroupCounts:
        group = grouping.of_cell[self.cell]
        key = group * len(self.identities) + self.identity
        pairs, inverse = np.unique(key, return_inverse=True)
        person = _sum_by(self.counts, inverse, len(pairs))
        group, identity = np.divmod(pairs, max(1, len(self.identities)))
        return GroupCounts(_sum_by(person, group, len(grouping.groups)), person, identity, group)


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
    """Sum rows with equal key into (n, ...) int64."""
    total = np.zeros((n, *values.shape[1:]), dtype=np.int64)
    if len(values):
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        total[ordered[starts]] = np.add.reduceat(values[order], starts, axis=0, dtype=np.int64)
    return total
