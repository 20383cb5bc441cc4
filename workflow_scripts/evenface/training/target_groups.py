"""Groups that methods count: the labels of one attribute, crossed with levels of demographic dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evenface.errors import UserError, unknown_name
from evenface.taxonomy import UNKNOWN, group_name
from evenface.training.settings import TargetGroupSettings

if TYPE_CHECKING:
    from evenface.training.method import Problem


@dataclass(frozen=True)
class TargetGroups:
    """``codes`` int64 (N,): the group of every image, -1 where its label or a level is not known.

    With L combinations of levels, groups are numbered L * label + combination, where label is 0 or 1. ``names`` says what each
    group is, such as ``Smiling=1|female``. ``labels`` int8 (N,) are those of the target.
    """

    codes: np.ndarray
    names: tuple[str, ...]
    labels: np.ndarray

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Images (G,) int64 of each group among ``rows``."""
        codes = self.codes[rows]
        return np.bincount(codes[codes >= 0], minlength=len(self.names))


def target_groups(problem: Problem, settings: TargetGroupSettings) -> TargetGroups:
    """The groups of a problem's images: every label crossed with every combination of levels that occurs in training.

    UserError for a target that is not trained, for several attributes without a named target, and for a group without a training
    image, since no method can learn from it.
    """
    name, attributes = settings.target, list(problem.attributes)
    if name is None:
        if len(attributes) != 1:
            raise UserError(
                f"method.target is not set, but {len(attributes)} attributes are trained ({', '.join(attributes)}); name the one "
                "whose labels make groups"
            )
        name = attributes[0]
    if name not in attributes:
        raise UserError(unknown_name("method.target", name, attributes))
    labels = problem.labels[:, attributes.index(name)]
    levels = problem.faces[list(settings.groups)].astype(str)
    known = levels.ne(UNKNOWN).all(axis=1).to_numpy() & (labels != 0)
    joined = levels.agg(group_name, axis=1).to_numpy(object)
    found = sorted(set(joined[problem.train_rows][known[problem.train_rows]]))
    place = {level: i for i, level in enumerate(found)}
    codes = np.array([place.get(level, -1) for level in joined], np.int64)
    known &= codes >= 0
    codes = np.where(known, (labels > 0) * len(found) + codes, -1)
    names = tuple(f"{name}={label}|{level}" for label in (-1, 1) for level in found)
    groups = TargetGroups(codes, names, labels)
    counts = groups.counts(problem.train_rows)
    if not len(counts) or (counts == 0).any():
        empty = [group for group, count in zip(names, counts, strict=True) if not count]
        what = f"no training image is in the group {empty[0]}" if empty else "no training image has a known group"
        raise UserError(f"{what}; add such images, or leave the dimension out of method.groups")
    return groups


def first_of_each(codes: np.ndarray, order: np.ndarray, count: int | None = None) -> np.ndarray:
    """Positions of the first ``count`` members of every code along ``order``, in that order; by default as many as the rarest has.

    ``codes`` int64 (n,), -1 belongs to nobody; ``order`` is a permutation of positions. BalancingGroups' subsampling.
    """
    known = order[codes[order] >= 0]
    sizes = np.bincount(codes[known])
    count = int(sizes.min()) if count is None else count
    taken = codes[known]
    place = np.zeros(len(known), np.int64)  # how many of the same code came before
    for code in range(len(sizes)):
        mine = taken == code
        place[mine] = np.arange(mine.sum())
    return known[place < count]


def sampling_weights(codes: np.ndarray) -> np.ndarray:
    """Weight (n,) float64 of every row when all codes shall be drawn equally often: n / size of its code; 0 for code -1."""
    known = codes >= 0
    sizes = np.bincount(codes[known])
    return np.where(known, known.sum() / sizes[np.where(known, codes, 0)], 0.0)


def drawn_evenly(codes: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """``count`` positions drawn with replacement, every code equally often in expectation."""
    weights = sampling_weights(codes)
    return random.choice(len(codes), count, p=weights / weights.sum())


def codes_by(groups: TargetGroups, by: str) -> np.ndarray:
    """Codes to balance: those of groups, or of the target's classes (-1 where the label is not known)."""
    return groups.codes if by == "group" else np.where(groups.labels == 0, -1, (groups.labels > 0).astype(np.int64))
