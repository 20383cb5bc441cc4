"""Corrects counts of groups for known errors of the annotator that assigned them.

With K[t, o] = P(assigned o | true t), observed counts over groups are K' times the true counts. K may be another one for
each outcome; if it is the same for all, the correction assumes that within a true group the annotator's errors do not
depend on label and prediction. In a product of dimensions, the errors in one dimension must not depend on the level or
the errors in another; the matrix is then the Kronecker product of the dimensions' matrices. Dimensions without a matrix
are taken as known.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from evenface.fairness.annotator_errors import AnnotatorErrors, condition_number
from evenface.fairness.cube import DEFINED_OUTCOMES, OUTCOMES, WRONG_OUTCOMES, Grouping
from evenface.fairness.resampling import CONFUSION, generators

METHOD = "confusion_inverse"

MAX_CONDITION = 10.0
MAX_NEGATIVE = 0.005  # share of a group's images by which a corrected count may be below 0

#: Odds of an annotator's error where the classifier is wrong, over those where it is right, that are tried.
SENSITIVITY = 2.0
_MANY = 8  # levels
_ROUNDS = 4


def possible_counts(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (..., groups, 6) of at least 0, and whether (...) they were impossible.

    A count further below 0 than 0.5 % of its group's images means that the confusion does not fit the
    data; nearer ones are noise and become 0.
    """
    total = np.abs(counts.sum(axis=-1, keepdims=True))
    return np.maximum(counts, 0), (counts < -MAX_NEGATIVE * total).any(axis=(-1, -2))


def corrected_counts(counts: np.ndarray, confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True counts (..., groups, 6) from observed ones, and whether (...) they are impossible.

    confusion  (groups, groups) or (..., groups, groups), rows summing to 1
    """
    return possible_counts(np.linalg.solve(np.swapaxes(confusion, -1, -2), np.asarray(counts, dtype=np.float64)))


def confusion_draws(errors: Mapping[str, AnnotatorErrors], n: int, seed: int) -> dict[str, np.ndarray]:
    """Dimension -> inverses (A, C, L, L, n) of matrices with rows from Dirichlet(count + 0.5), the validation's uncertainty."""
    draws = {name: np.empty((n, *one.counts.shape)) for name, one in errors.items()}
    for replicates, rng in generators(seed, CONFUSION, n):
        for name, one in errors.items():
            gamma = rng.standard_gamma(one.counts + 0.5, (replicates.stop - replicates.start, *one.counts.shape))
            draws[name][replicates] = gamma / gamma.sum(axis=-1, keepdims=True)
    return {name: np.ascontiguousarray(np.moveaxis(np.linalg.inv(one), 0, -1)) for name, one in draws.items()}


class Correction:
    """The correction of one grouping, for the attributes of one model.

    shape       number of levels of each of the grouping's dimensions
    dimensions  those that are corrected; ``axes`` their places
    failed      (A,) whether a matrix is unknown or magnifies noise too much
    """

    def __init__(
        self,
        grouping: Grouping,
        shape: Sequence[int],
        errors: Mapping[str, AnnotatorErrors],
        draws: Mapping[str, np.ndarray],
        attributes: Sequence[str],
    ):
        self.shape = tuple(shape)
        self.dimensions = tuple(name for name in grouping.dimensions if name in errors)
        self.axes = tuple(grouping.dimensions.index(name) for name in self.dimensions)
        self.errors = [errors[name] for name in self.dimensions]
        self.rows = [one.rows_of(attributes) for one in self.errors]
        self.draws = [draws[name] for name in self.dimensions]
        condition = np.ones(len(attributes))
        self.matrices, self.inverses = [], []
        for one, rows in zip(self.errors, self.rows, strict=True):
            used = np.unique(one.matrix_of[:DEFINED_OUTCOMES])
            condition = condition * condition_number(one.rates)[:, used].max(axis=1)[rows]
            self.matrices.append(one.rates[rows][:, one.matrix_of])
        self.condition = condition
        self.failed = ~(condition <= MAX_CONDITION)
        for matrix in self.matrices:
            safe = np.where(self.failed[:, None, None, None], np.eye(matrix.shape[-1]), matrix)
            self.inverses.append(np.linalg.inv(np.where(np.isnan(safe), np.eye(matrix.shape[-1]), safe)))

    @property
    def by_outcome(self) -> bool:
        """Whether each outcome has its own matrix in every corrected dimension."""
        return all(one.by_outcome for one in self.errors)

    @property
    def one_for_all(self) -> bool:
        """Whether all outcomes share their matrices."""
        return not any(one.by_outcome for one in self.errors)

    def inverse(self) -> np.ndarray:
        """(A, 6, groups, groups): entry [a, o, h, g] is what an image assigned to h adds to the count o of g."""
        whole = np.ones((len(self.failed), len(OUTCOMES), 1, 1))
        for axis, size in enumerate(self.shape):
            part = self.inverses[self.axes.index(axis)] if axis in self.axes else np.eye(size)[None, None]
            n = whole.shape[-1] * size
            whole = np.einsum("aoij,aokl->aoikjl", whole, np.broadcast_to(part, (*whole.shape[:2], size, size)))
            whole = whole.reshape(len(self.failed), len(OUTCOMES), n, n)
        return whole

    def counts(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """True counts (A, groups, 6) from observed ones; they are 0 where the correction failed, which (A,) says."""
        true, impossible = possible_counts(np.einsum("aho,aohg->ago", counts, self.inverse()))
        failed = self.failed | impossible
        return np.where(failed[:, None, None], 0, true), failed

    def replicates(self, counts: np.ndarray, block: slice) -> np.ndarray:
        """Counts (a, B, groups, 6) of at least 0 for drawn matrices, from those (a, B or 1, groups, 6) of a block."""
        x = np.ascontiguousarray(counts.transpose(2, 3, 0, 1), dtype=np.float64)  # (groups, 6, a, B)
        for axis, one, rows, draws in zip(self.axes, self.errors, self.rows, self.draws, strict=True):
            size = self.shape[axis]
            x = x.reshape(int(np.prod(self.shape[:axis])), size, -1, *x.shape[1:])
            part = draws if not one.attributes else draws[rows[block]]
            out = np.zeros((*x.shape[:-1], draws.shape[-1]))
            for (g, h), o in itertools.product(np.ndindex(size, size), range(len(OUTCOMES))):
                out[:, g, :, o] += x[:, h, :, o] * part[:, one.matrix_of[o], h, g]
            x = out.reshape(-1, *out.shape[3:])
        return np.maximum(x, 0, out=x).transpose(2, 3, 0, 1)

    def sensitive_counts(self, counts: np.ndarray, true: np.ndarray) -> np.ndarray:
        """True counts (variants, A, groups, 6) if errors depend on whether the classifier is right.

        counts, true  (A, groups, 6) observed and corrected counts

        In every true level, the odds of an annotator's error where the classifier is wrong are ``SENSITIVITY`` times
        those where it is right, or the same the other way round, while errors over all images are as validated. The
        variants are all combinations over the levels of one dimension at a time. Only dimensions with one matrix vary.
        """
        variants = [true]
        inverses = list(self.inverses)
        for k, (axis, one, matrix) in enumerate(zip(self.axes, self.errors, self.matrices, strict=True)):
            if one.by_outcome:
                continue
            others = tuple(1 + a for a in range(len(self.shape)) if a != axis)
            for odds in _patterns(self.shape[axis]):
                found = true
                for _ in range(_ROUNDS):  # the shares of wrong answers are those that the variant gives
                    levels = found.reshape(len(true), *self.shape, len(OUTCOMES)).sum(axis=others)  # (A, L, 6)
                    wrong = levels[..., WRONG_OUTCOMES].sum(axis=-1)
                    share = wrong / np.maximum(levels[..., :DEFINED_OUTCOMES].sum(axis=-1), 1e-300)
                    varied = split_by_correctness(matrix[:, 0], share, odds)
                    full = matrix.copy()
                    full[:, :DEFINED_OUTCOMES] = varied[:, :1]
                    full[:, WRONG_OUTCOMES] = varied[:, 1:]
                    full[self.failed | np.isnan(full).any(axis=(1, 2, 3))] = np.eye(full.shape[-1])
                    self.inverses[k] = np.linalg.inv(full)
                    found = np.maximum(np.einsum("aho,aohg->ago", counts, self.inverse()), 0)
                variants.append(found)
            self.inverses[k] = inverses[k]
        return np.stack(variants)


def _patterns(levels: int) -> np.ndarray:
    """(variants, levels) odds by level: all combinations, or for many levels each one against all others."""
    signs = np.array(list(itertools.product((1, -1), repeat=levels))) if levels <= _MANY else None
    if signs is None:
        one = 1 - 2 * np.eye(levels)
        signs = np.concatenate([np.ones((1, levels)), one, -one, -np.ones((1, levels))])
    return SENSITIVITY ** signs.astype(np.float64)


def split_by_correctness(confusion: np.ndarray, wrong: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Matrices (A, 2, L, L) of right and of wrong answers whose mixture is ``confusion`` (A, L, L).

    wrong  (A, L) share of wrong answers; odds (L,) those of an annotator's error for wrong over those for right answers
    """
    error = 1 - np.diagonal(confusion, axis1=-2, axis2=-1)
    more = odds - 1
    # (1 - wrong) x + wrong odds x / (1 - x + odds x) = error, solved for the error x of right answers
    a = (1 - wrong) * more
    b = (1 - wrong) + wrong * odds - error * more
    right = 2 * error / (b + np.sqrt(np.maximum(b * b + 4 * a * error, 0)))
    both = np.stack([right, odds * right / (1 + more * right)], axis=1)  # (A, 2, L)
    off = confusion * (1 - np.eye(confusion.shape[-1]))
    spread = off / np.maximum(error, 1e-300)[..., None]
    return spread[:, None] * both[..., None] + np.eye(confusion.shape[-1]) * (1 - both)[..., None]
