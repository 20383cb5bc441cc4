"""Resampling of identities: weights and permutations, and the counts they give.

The unit is the identity, because the images of a person share nearly everything that matters. One matrix of
weights serves all attributes, groupings, metrics and models of a test set, so comparisons are paired. Draws come in
chunks, and the numbers of a chunk's replicates decide its seed. Other sizes, and the number of threads, therefore
never change a result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from evenface.fairness.cube import OUTCOMES, Cube, Grouping

BOOTSTRAP, PERMUTATION, CONFUSION = range(3)  # streams of random numbers under one seed
SCORE_DRAWS = 16  # the stream of score_inference
GENERATOR = "PCG64"

_CHUNK = 100  # replicates that share a seed
_EXACT_FLOAT32 = 2**24


def generators(seed: int, stream: int, n: int) -> Iterator[tuple[slice, np.random.Generator]]:
    """(replicates, generator) for ``n`` replicates; each generator is seeded by its chunk's number."""
    for chunk, start in enumerate(range(0, n, _CHUNK)):
        key = np.random.SeedSequence(seed, spawn_key=(stream, chunk))
        yield slice(start, min(n, start + _CHUNK)), np.random.Generator(np.random.PCG64(key))


def bootstrap_weights(n_identities: int, n_boot: int, seed: int, kind: str = "multinomial") -> np.ndarray:
    """How often each identity is drawn: (identities, replicates) float32 of whole numbers.

    kind  ``multinomial``: as many draws as identities, with equal probabilities; ``poisson``: independent
          Poisson(1) counts, which do not need a total and so suit streams (Chamandy et al., 2012).
    """
    weights = np.empty((n_identities, n_boot), dtype=np.float32)
    for replicates, rng in generators(seed, BOOTSTRAP, n_boot):
        width = replicates.stop - replicates.start
        if kind == "poisson":
            drawn = rng.poisson(1.0, (width, n_identities))
        else:
            drawn = [
                np.bincount(row, minlength=n_identities)
                for row in rng.integers(0, max(1, n_identities), (width, n_identities))
            ]
        weights[:, replicates] = np.asarray(drawn).reshape(width, n_identities).T
    return weights


def permutations(strata: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Orders (n, identities) int32; every position gets an identity of its own stratum.

    strata  (identities,) integers; identities are permuted only within a stratum
    """
    orders = np.empty((n, len(strata)), dtype=np.int32)
    members = [np.flatnonzero(strata == stratum).astype(np.int32) for stratum in np.unique(strata)]
    for rounds, rng in generators(seed, PERMUTATION, n):
        for positions in members:
            block = np.tile(positions, (rounds.stop - rounds.start, 1))
            orders[rounds, positions] = rng.permuted(block, axis=1)
    return orders


def n_assignments(groups: np.ndarray) -> float:
    """Number of distinct ways to assign the labels (identities,) to the identities; inf if too large."""
    sizes = np.unique(groups, return_counts=True)[1]
    logarithm = math.lgamma(len(groups) + 1) - sum(math.lgamma(size + 1) for size in sizes)
    return round(math.exp(logarithm)) if logarithm < 30 else math.inf


def all_assignments(groups: np.ndarray) -> np.ndarray:
    """Every distinct assignment of sorted labels: orders (n, identities) int32, as from :func:`permutations`."""

    def deal(free: tuple[int, ...], sizes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if not sizes:
            yield ()
            return
        for chosen in itertools.combinations(free, sizes[0]):
            rest = tuple(k for k in free if k not in chosen)
            for others in deal(rest, sizes[1:]):
                yield chosen + others

    sizes = tuple(np.unique(groups, return_counts=True)[1].tolist())
    return np.array(list(deal(tuple(range(len(groups))), sizes)), dtype=np.int32)


def exact_type(largest: float) -> type:
    """float32 if every possible sum is a whole number below 2^24, else float64."""
    return np.float32 if largest < _EXACT_FLOAT32 else np.float64


def largest_sum(cube: Cube, weights: np.ndarray, rows: np.ndarray) -> float:
    """The largest weighted number of images of any replicate, which bounds all partial sums.

    weights  (identities of the test set, replicates); rows (identities of the cube,) their positions
    """
    images = np.zeros(len(weights))
    if cube.counts.shape[1] and len(weights):
        np.add.at(images, rows[cube.identity], np.abs(cube.counts).sum(axis=-1).max(axis=-1))
        return float((images @ weights).max(initial=0))
    return 0.0


@dataclass(frozen=True)
class CellCounts:
    """Counts of replicates: cell (cells,) numbers of those that have images, counts (cells, k, attributes, replicates)."""

    cell: np.ndarray
    counts: np.ndarray


def weighted_cells(
    cube: Cube, attributes: slice, weights: np.ndarray, rows: np.ndarray, dtype=np.float64
) -> CellCounts:
    """Counts of every replicate, whole numbers in floats; k are the 6 outcomes.

    weights  (identities of the test set, replicates); rows (identities of the cube,) their positions
    dtype    from :func:`exact_type` of :func:`largest_sum`

    Exact sums of whole numbers are the same in any order, and therefore for any block size.
    """
    block = cube.counts[:, attributes]
    n_attributes, n = block.shape[1], weights.shape[1]
    flat = np.ascontiguousarray(block.transpose(2, 1, 0).reshape(-1, len(block)), dtype=dtype)
    present, starts = np.unique(cube.cell, return_index=True)
    total = np.empty((len(present), len(OUTCOMES) * n_attributes, n), dtype=dtype)
    for sums, (low, high) in zip(total, itertools.pairwise([*starts, len(cube.cell)]), strict=True):
        drawn = weights[rows[cube.identity[low:high]]].astype(dtype, copy=False)
        np.matmul(flat[:, low:high], drawn, out=sums)
    return CellCounts(present, total.reshape(len(present), len(OUTCOMES), n_attributes, n))


def sum_cells(cells: CellCounts, grouping: Grouping, n_groups: int) -> np.ndarray:
    """Sums (attributes, replicates, groups, k) of the first groups over their cells.

    It is a view whose replicates are adjacent in memory, which is fast for the functions of rates and gaps.
    """
    total = np.empty((n_groups, *cells.counts.shape[1:]), dtype=cells.counts.dtype)
    of_cell = grouping.of_cell[cells.cell]
    for group, sums in enumerate(total):
        first, *others = np.flatnonzero(of_cell == group).tolist() or [None]
        sums[...] = 0 if first is None else cells.counts[first]
        for cell in others:
            sums += cells.counts[cell]
    return total.transpose(2, 3, 0, 1)


def membership(orders: np.ndarray, classes: np.ndarray, n_classes: int) -> list[sparse.csr_array]:
    """For each class, the identities that permutations put into it: (permutations, identities) of 0 and 1.

    orders   (permutations, identities) int32, which identity takes each position
    classes  (identities,) class of each position
    """
    found, ones = [], np.ones(len(orders) * np.bincount(classes, minlength=1).max(initial=0), np.float32)  # shared
    for number in range(n_classes):
        taken = orders[:, classes == number]
        narrow = np.int32 if taken.size < 2**31 else np.int64  # wide positions would widen the identities too
        starts = np.arange(len(taken) + 1, dtype=narrow) * taken.shape[1]
        found.append(sparse.csr_array((ones[: taken.size], taken.ravel(), starts), shape=orders.shape))
    return found


def permuted_sums(members: list[sparse.csr_array], values: np.ndarray) -> np.ndarray:
    """Sums over classes after permutations of identities: (classes, k, attributes, permutations).

    members  from :func:`membership`; values (identities, attributes, k) whole numbers, first the counts
    """
    people, n_attributes, k = values.shape
    images = values[..., : len(OUTCOMES)].sum(axis=(0, -1)).max(initial=0)
    dtype = exact_type(max(images, np.abs(values).sum(axis=0).max(initial=0)))
    flat = np.ascontiguousarray(values.transpose(0, 2, 1), dtype=dtype).reshape(people, -1)
    total = np.empty((len(members), flat.shape[1], members[0].shape[0]), dtype=dtype)
    for sums, member in zip(total, members, strict=True):
        np.copyto(sums, (member @ flat).T)
    return total.reshape(len(members), k, n_attributes, -1)
