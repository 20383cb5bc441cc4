"""Intervals and tests of every model of a test set, computed for one block of attributes at a time.

Blocks bound the memory and spread the work over threads. Results do not depend on which attributes share a block.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from evenface.errors import UserError
from evenface.fairness import resampling
from evenface.fairness.correction import Correction
from evenface.fairness.criteria import Rates, criteria, metrics_of
from evenface.fairness.cube import OUTCOMES, Cube, Grouping
from evenface.fairness.interval import Interval
from evenface.fairness.metrics import METRICS
from evenface.fairness.observed import Observed, People
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tests_of_difference import (
    EXACT,
    PERMUTATION,
    WALD,
    DifferenceTest,
    Studentised,
    against_permutations,
    centred,
    null_means,
    wald,
)
from evenface.fairness.uncertainty import Replicates

#: largest attributes x replicates x cells of a block, per outcome: a few hundred megabytes in all
_MAX_VALUES = 1_500_000
#: identities x replicates, four bytes each
_MAX_DRAWS = 500_000_000


@dataclass
class Inference:
    """Results of resampling for one model in one grouping; empty if it was switched off.

    rates     metric -> Interval (A, G)
    pairs     metric -> Interval (A, P), pairs of groups in declared order
    criteria  criterion -> Interval (A,)
    tests     criterion -> DifferenceTest (A,)
    p_method  how p values were computed, with the dimensions within which people were permuted; or empty
    corrected metric -> Interval (A, G) corrected for the annotator's errors, if its confusion is known
    """

    observed: Observed
    rates: dict[str, Interval] = field(default_factory=dict)
    pairs: dict[str, Interval] = field(default_factory=dict)
    criteria: dict[str, Interval] = field(default_factory=dict)
    tests: dict[str, DifferenceTest] = field(default_factory=dict)
    p_method: str = ""
    corrected: dict[str, Interval] = field(default_factory=dict)


class Resampler:
    """The draws of one test set, shared by all its models and groupings.

    cubes    model -> its count cube
    threads  blocks of attributes computed at a time; does not change results

    Raises UserError when the draws would not fit into memory, for example for millions of images without
    identities.
    """

    def __init__(self, cubes: Mapping[str, Cube], settings: FairnessSettings, threads: int = 1):
        self.settings, self.threads = settings, threads
        self.identities = np.unique(np.concatenate([cube.identities for cube in cubes.values()]).astype(object))
        self.rows = {model: np.searchsorted(self.identities, cube.identities) for model, cube in cubes.items()}
        n = len(self.identities)
        draws = n * max(settings.n_boot, settings.n_perm)
        if draws > _MAX_DRAWS:
            raise UserError(
                f"{n} units x {max(settings.n_boot, settings.n_perm)} replicates do not fit into memory; give "
                "predictions an identity_id, or lower evaluation.n_boot and evaluation.n_perm"
            )
        self.n_cells = max(cube.space.size for cube in cubes.values())
        self.weights = resampling.bootstrap_weights(n, settings.n_boot, settings.seed, settings.weights)
        self.corrections = {
            dimension: Correction(np.array(rows), settings.n_boot, settings.seed, settings.ci_level)
            for dimension, rows in settings.confusion.items()
        }
        self._orders: dict[tuple[int, bytes], np.ndarray] = {}
        self._bootstraps: dict[str, _Bootstrap] = {}

    def bootstrap(self, model: str, cube: Cube) -> _Bootstrap:
        """The weighted counts of a model."""
        if model not in self._bootstraps:
            self._bootstraps[model] = _Bootstrap(self, model, cube)
        return self._bootstraps[model]

    def infer(self, model: str, cube: Cube, observed: Mapping[str, tuple[Grouping, Observed]]) -> dict[str, Inference]:
        """Intervals and tests of one model; ``observed`` by the names of the groupings."""
        found = {name: Inference(one) for name, (_, one) in observed.items()}
        n_attributes = len(cube.attributes)
        if not (n_attributes and len(self.identities)):
            return found
        bootstrap = self.bootstrap(model, cube) if self.settings.n_boot else None
        tests = {name: self._test(cube, *pair) for name, pair in observed.items()} if self.settings.n_perm else {}

        for _, one in observed.values():  # once, rather than by every thread
            for metric in METRICS if bootstrap else ():
                one.pair_scale(metric), one.pair_scale(metric, logs=True), one.limits_of_mean(metric)

        def work(block: slice) -> dict[str, Inference]:
            cells = bootstrap.cells(block) if bootstrap else None
            return {
                name: self._infer_block(cells, grouping, one, block, tests.get(name))
                for name, (grouping, one) in observed.items()
            }

        parts = self.map_blocks(work, n_attributes)
        for name, result in found.items():
            _join(result, [part[name] for part in parts])
            if tests.get(name) is not None:
                self._within_strata(result, cube, observed[name][0])
            if self.settings.n_perm and result.observed.permutable is None:
                _set_wald(result, self.settings.alpha)
        return found

    def map_blocks(self, work: Callable[[slice], object], n_attributes: int) -> list:
        """Results of ``work`` on consecutive blocks of attributes, in order."""
        values = max(1, self.settings.n_boot, self.settings.n_perm) * self.n_cells
        size = max(1, min(self.settings.block_size, _MAX_VALUES // values))
        least = -(-n_attributes // size)
        n_blocks = min(n_attributes, -(-least // self.threads) * self.threads)  # as much work for every thread
        ends = np.linspace(0, n_attributes, n_blocks + 1).astype(int).tolist()
        blocks = [slice(start, stop) for start, stop in itertools.pairwise(ends)]
        if self.threads == 1 or len(blocks) == 1:
            return [work(block) for block in blocks]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, blocks))

    def _infer_block(self, cells, grouping: Grouping, observed: Observed, block: slice, test) -> Inference:
        result, alpha = Inference(observed), self.settings.alpha
        replicates = None
        if cells is not None:
            counts = resampling.sum_cells(cells, grouping, observed.n_groups)
            replicates = replicate_rates(counts, observed.rates, block, alpha)
            intervals = Replicates(observed, replicates, block, alpha)
            result.rates = {metric: intervals.rate(metric) for metric in METRICS}
            result.pairs = {metric: intervals.pairwise(metric) for metric in METRICS}
            result.criteria = intervals.criteria()
            if grouping.name in self.corrections:
                known = counts[:, :, : grouping.n_known]
                result.corrected = self.corrections[grouping.name].intervals(known)
        if test is not None:
            permuted, drawn, seen = test.statistics(observed, np.arange(observed.n_attributes)[block], alpha)
            means = null_means(_rows(observed.rates, block), permuted, alpha)
            result.tests = against_permutations(means, seen, drawn, exact=test.exact)
            result.p_method = EXACT if test.exact else PERMUTATION
        elif self.settings.n_perm and replicates is not None:
            null = centred(replicates, observed, block)
            result.tests = null_means(_rows(observed.rates, block), null, alpha)
            result.p_method = WALD
        return result

    def _test(self, cube: Cube, grouping: Grouping, observed: Observed) -> _PermutationTest | None:
        """Permutations of the identities of a grouping; None if they are in several of its groups."""
        people = observed.permutable
        if people is None:
            return None
        test = self._permutations(people, cube, grouping, observed.n_groups)
        if not test.exact:
            for groups, where in observed.left_out(people).items():
                test.apart.append(
                    (self._permutations(people.of(groups), cube, grouping, observed.n_groups, False), where)
                )
        return test

    def _permutations(
        self, people: People, cube: Cube, grouping: Grouping, n_groups: int, exact=True
    ) -> _PermutationTest:
        """Permutations of people; all of them if there are few, and ``exact`` allows it."""
        strata = self._strata(cube, grouping)[people.identity]
        n = self.settings.n_perm
        exact = exact and len(np.unique(strata)) == 1 and resampling.n_assignments(people.group) <= n
        key = len(strata), strata.tobytes()
        if exact:
            orders = resampling.all_assignments(people.group)
        else:
            if key not in self._orders:
                self._orders[key] = resampling.permutations(strata, n, self.settings.seed)
            orders = self._orders[key]
        return _PermutationTest(people, resampling.membership(orders, people.group, n_groups), exact)

    def _within_strata(self, result: Inference, cube: Cube, grouping: Grouping) -> None:
        """Name the dimensions within which people were permuted; no test if everybody in a stratum is of one group."""
        people = result.observed.permutable
        strata = self._strata(cube, grouping)[people.identity]
        n_strata = len(np.unique(strata))
        if n_strata > 1:
            result.p_method += f"_within_{'*'.join(self.settings.perm_within)}"
        pairs = np.stack([strata, people.group])
        if n_strata == np.unique(pairs, axis=1).shape[1] > 1:
            result.tests, result.p_method = {}, ""

    def _strata(self, cube: Cube, grouping: Grouping) -> np.ndarray:
        """(identities,) int64 strata, by the identities' most frequent levels; identities are permuted within them."""
        strata = np.zeros(len(cube.identities), dtype=np.int64)
        within = self.settings.perm_within
        if not within or set(grouping.dimensions) <= set(within):
            return strata  # a grouping of nothing but strata could not be permuted
        shape = [len(levels) + 1 for levels in cube.space.levels.values()]
        levels = np.unravel_index(cube.cell, shape)
        images = cube.counts[:, 0].sum(axis=-1)
        for dimension in within:
            k = cube.space.dimensions.index(dimension)
            seen = np.zeros((len(cube.identities), shape[k]))
            np.add.at(seen, (cube.identity, levels[k]), images)
            strata = strata * shape[k] + seen.argmax(axis=1)
        return strata


@dataclass(frozen=True)
class _PermutationTest:
    """Permutations of people.

    apart  permutations of fewer people, and metric -> (A,) where they take the place of these, since it leaves groups out
    """

    people: People
    members: sparse.csr_array
    exact: bool
    apart: list[tuple[_PermutationTest, dict[str, np.ndarray]]] = field(default_factory=list)

    def statistics(self, observed: Observed, rows: np.ndarray, alpha: float):
        """Of attributes ``rows``: rates (a, P, G) of permuted people, and the statistics of these (a, P) and of the observed (a,)."""
        statistic = Studentised(observed, self.people.person[:, rows], rows)
        values = np.concatenate([self.people.person[:, rows], statistic.columns], axis=-1)
        every = resampling.permuted_sums(self.members, values, observed.n_groups)
        counts, sums = np.split(every, [len(OUTCOMES)], axis=-1)
        permuted = replicate_rates(counts, observed.rates, rows, alpha)
        drawn = statistic.largest(permuted.x, counts, sums)
        once = self.people.as_one_assignment(values, observed.n_groups)
        counts, sums = np.split(once, [len(OUTCOMES)], axis=-1)
        rates = replicate_rates(counts, observed.rates, rows, alpha)
        seen = {m: t[:, 0] for m, t in statistic.largest(rates.x, counts, sums, observed.training).items()}
        for test, where in self.apart:
            chosen = np.logical_or.reduce(list(where.values()))[rows]
            if chosen.any():
                of_fewer, fewer_drawn, fewer_seen = test.statistics(observed, rows[chosen], alpha)
                for metric, mask in where.items():
                    to, of = mask[rows], mask[rows[chosen]]
                    for all_of, part in (
                        (permuted.x, of_fewer.x), (permuted.pooled, of_fewer.pooled), (drawn, fewer_drawn), (seen, fewer_seen),
                    ):  # fmt: skip
                        all_of[metric][to] = part[metric][of]
        return permuted, drawn, seen


class _Bootstrap:
    """Weighted counts of one model."""

    def __init__(self, resampler: Resampler, model: str, cube: Cube):
        self._cube, self._weights, self._rows = cube, resampler.weights, resampler.rows[model]
        self._dtype = resampling.exact_type(resampling.largest_sum(cube, self._weights, self._rows))

    def cells(self, block: slice) -> np.ndarray:
        return resampling.weighted_cells(self._cube, block, self._weights, self._rows, self._dtype)


def replicate_rates(counts: np.ndarray, observed: Rates, block: slice, alpha: float) -> Rates:
    """Rates of replicates (a, B, groups, 6), with the groups that are used in the estimate."""
    used = {metric: observed.used[metric][block][:, None, :] for metric in METRICS}
    return Rates.of(counts, used, alpha, bounds=False)


def _rows(rates: Rates, block: slice) -> Rates:
    return Rates(*({m: v[block] for m, v in part.items()} for part in (rates.x, rates.used, rates.pooled)), {})


def _join(result: Inference, parts: Sequence[Inference]) -> None:
    kinds = dict.fromkeys(("rates", "pairs", "criteria", "corrected"), Interval) | {"tests": DifferenceTest}
    for name, kind in kinds.items():
        first = getattr(parts[0], name)
        setattr(result, name, {key: kind.concatenate([getattr(p, name)[key] for p in parts]) for key in first})
    result.p_method = parts[0].p_method


def _set_wald(result: Inference, alpha: float) -> None:
    """Replace the share of centred replicates by Wald's p; the replicates only give the null mean."""
    known: dict[tuple[str, ...], np.ndarray] = {}
    result.p_method = WALD
    for criterion in criteria(result.observed.rates, alpha):
        undefined = np.isnan(criterion.gap.value) | np.isnan(criterion.fair)
        metrics = metrics_of(criterion.name)
        if metrics not in known:
            known[metrics] = wald(result.observed, metrics)
        n = np.zeros(len(undefined), dtype=np.int64)
        test = result.tests.get(criterion.name)
        null_mean = test.null_mean if test else np.full(len(undefined), np.nan)
        p = np.where(undefined, np.nan, known[metrics])
        result.tests[criterion.name] = DifferenceTest(null_mean, p, n)
