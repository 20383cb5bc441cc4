"""Intervals and tests of every model of a test set, computed for one block of attributes at a time.

Blocks bound the memory and spread the work over threads. Results do not depend on which attributes share a block.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from evenface.errors import UserError
from evenface.fairness import resampling
from evenface.fairness.annotator_errors import AnnotatorErrors, annotator_errors
from evenface.fairness.corrected import CorrectedObserved
from evenface.fairness.correction import confusion_draws
from evenface.fairness.criteria import Rates, fair_value, gap_values, metrics_of, replicate_rates
from evenface.fairness.cube import Cube, Grouping
from evenface.fairness.evaluated import Evaluated, observed_of
from evenface.fairness.interval import Interval
from evenface.fairness.metrics import COMPLEMENT, METRICS, denominators
from evenface.fairness.observed import Observed
from evenface.fairness.permutation_tests import shared_tests
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tests_of_difference import INVERTED, DifferenceTest, centred, null_means, of_both_errors
from evenface.fairness.threads import in_threads
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
    p_method  how p values were computed, with the dimensions within which people were permuted; or empty. ``p_methods``
              (A,) by criterion where attributes differ
    corrected the same for rates corrected for the annotator's errors, if its confusion is known
    """

    observed: Observed
    rates: dict[str, Interval] = field(default_factory=dict)
    pairs: dict[str, Interval] = field(default_factory=dict)
    criteria: dict[str, Interval] = field(default_factory=dict)
    tests: dict[str, DifferenceTest] = field(default_factory=dict)
    p_method: str = ""
    p_methods: dict[str, np.ndarray] = field(default_factory=dict)
    corrected: Inference | None = None


def check_draws(n_units: int, settings: FairnessSettings) -> None:
    """Raise UserError when the draws of so many units would not fit into memory, as for millions of images without people."""
    replicates = max(settings.n_boot, settings.n_perm)
    if n_units * replicates > _MAX_DRAWS:
        raise UserError(
            f"{n_units} units x {replicates} replicates do not fit into memory; give predictions an identity_id, or lower "
            "evaluation.n_boot and evaluation.n_perm"
        )


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
        check_draws(n, settings)
        self.n_cells = max(cube.space.size for cube in cubes.values())
        self.weights = resampling.bootstrap_weights(n, settings.n_boot, settings.seed, settings.weights)
        self.errors: dict[str, AnnotatorErrors] = annotator_errors(settings)
        self._orders: dict[tuple[int, bytes], np.ndarray] = {}
        self._bootstraps: dict[str, _Bootstrap] = {}

    @cached_property
    def confusion_draws(self) -> dict[str, np.ndarray]:
        """Dimension -> inverses of drawn confusions; see :func:`evenface.fairness.correction.confusion_draws`."""
        return confusion_draws(self.errors, self.settings.n_boot, self.settings.seed)

    def bootstrap(self, model: str, cube: Cube) -> _Bootstrap:
        """The weighted counts of a model."""
        if model not in self._bootstraps:
            self._bootstraps[model] = _Bootstrap(self, model, cube)
        return self._bootstraps[model]

    def infer(
        self,
        model: str,
        cube: Cube,
        observed: Mapping[str, tuple[Grouping, Observed]],
        corrected: Mapping[str, CorrectedObserved] | None = None,
    ) -> dict[str, Inference]:
        """Intervals and tests of one model; ``observed``, and some ``corrected``, by the names of the groupings."""
        found = {name: Inference(one) for name, (_, one) in observed.items()}
        corrected = corrected or {}
        for name, one in corrected.items():
            found[name].corrected = Inference(one)
        n_attributes = len(cube.attributes)
        if not (n_attributes and len(self.identities)):
            return found
        bootstrap = self.bootstrap(model, cube) if self.settings.n_boot else None

        if bootstrap:  # once, rather than in every block
            prepared = (*(one for _, one in observed.values()), *corrected.values())
            in_threads(self.threads, lambda one: one.prepare(), prepared)

        def work(block: slice) -> dict[str, Inference]:
            cells = bootstrap.cells(block) if bootstrap else None
            return {
                name: self._infer_block(cells, grouping, one, block, corrected.get(name))
                for name, (grouping, one) in observed.items()
            }

        parts = self.map_blocks(work, n_attributes)
        for name, result in found.items():
            _join(result, [part[name] for part in parts])
            result.p_method = parts[0][name].p_method
        if self.settings.n_perm:
            strata = partial(self._strata, cube)
            for shared in shared_tests(observed, strata, self._permutations, self.settings):
                tests = self.map_blocks(shared.tests, n_attributes, shared.block_size)
                for name in tests[0]:
                    found[name].tests = _concatenated(DifferenceTest, [part[name] for part in tests])
                    found[name].p_method = shared.p_method
                    self._within_strata(found[name], cube, observed[name][0])
            for result in found.values():
                if result.corrected and result.corrected.tests:
                    _test_corrected(result)
        return found

    def observed(self, evaluated: Mapping[str, Evaluated]) -> dict[str, tuple[Grouping, Observed]]:
        """What :meth:`infer` needs of a model, by the names of the groupings."""

        def work(result: Evaluated) -> tuple[Grouping, Observed]:
            one = observed_of(result, self.settings)
            if self.settings.n_boot:
                one.prepare()
            return result.grouping, one

        return dict(zip(evaluated, in_threads(self.threads, work, evaluated.values()), strict=True))

    def map_blocks(self, work: Callable[[slice], object], n_attributes: int, most: int = 2**31) -> list:
        """Results of ``work`` on consecutive blocks of at most so many attributes, in order."""
        values = max(1, self.settings.n_boot, self.settings.n_perm) * self.n_cells
        size = max(1, min(self.settings.block_size, _MAX_VALUES // values, most))
        least = -(-n_attributes // size)
        n_blocks = min(n_attributes, -(-least // self.threads) * self.threads)  # as much work for every thread
        ends = np.linspace(0, n_attributes, n_blocks + 1).astype(int).tolist()
        blocks = [slice(start, stop) for start, stop in itertools.pairwise(ends)]
        return in_threads(self.threads, work, blocks)

    def _infer_block(
        self, cells, grouping: Grouping, observed: Observed, block: slice, corrected: CorrectedObserved | None
    ) -> Inference:
        result, alpha = Inference(observed), self.settings.alpha
        replicates = None
        if cells is not None:
            counts = resampling.sum_cells(cells, grouping, observed.n_groups)
            replicates = replicate_rates(counts, observed.rates, block, alpha)
            intervals = Replicates(observed, replicates, block, alpha)
            result.rates = {metric: intervals.rate(metric) for metric in METRICS}
            result.pairs = {metric: intervals.pairwise(metric) for metric in METRICS}
            result.criteria = intervals.criteria()
            if corrected is not None:
                known = resampling.sum_cells(cells, grouping, grouping.n_known)
                result.corrected = self._infer_corrected(corrected, known, block)
        if self.settings.n_perm and observed.permutable is None and replicates is not None:
            result.tests = _inverted(intervals)
            result.p_method = INVERTED
        return result

    def _permutations(self, strata: np.ndarray) -> np.ndarray:
        """Orders (n_perm, people) of people with these strata (people,)."""
        key = len(strata), strata.tobytes()
        if key not in self._orders:
            self._orders[key] = resampling.permutations(strata, self.settings.n_perm, self.settings.seed)
        return self._orders[key]

    def _infer_corrected(self, corrected: CorrectedObserved, counts: np.ndarray, block: slice) -> Inference:
        result, alpha = Inference(corrected), self.settings.alpha
        replicates = replicate_rates(corrected.correction.replicates(counts, block), corrected.rates, block, alpha)
        intervals = Replicates(corrected, replicates, block, alpha)
        result.rates = {metric: intervals.rate(metric) for metric in METRICS}
        result.pairs = {metric: intervals.pairwise(metric) for metric in METRICS}
        result.criteria = intervals.criteria()
        if self.settings.n_perm:
            result.tests = _inverted(intervals)
        return result

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


class _Bootstrap:
    """Weighted counts of one model."""

    def __init__(self, resampler: Resampler, model: str, cube: Cube):
        self._cube, self._weights, self._rows = cube, resampler.weights, resampler.rows[model]
        self._dtype = resampling.exact_type(resampling.largest_sum(cube, self._weights, self._rows))

    def cells(self, block: slice) -> resampling.CellCounts:
        return resampling.weighted_cells(self._cube, block, self._weights, self._rows, self._dtype)


def _rows(rates: Rates, block: slice) -> Rates:
    return Rates(*({m: v[block] for m, v in part.items()} for part in (rates.x, rates.used, rates.pooled)), {})


def _join(result: Inference, parts: Sequence[Inference]) -> None:
    kinds = dict.fromkeys(("rates", "pairs", "criteria"), Interval) | {"tests": DifferenceTest}
    for name, kind in kinds.items():
        setattr(result, name, _concatenated(kind, [getattr(part, name) for part in parts]))
    if result.corrected and parts[0].corrected:
        _join(result.corrected, [part.corrected for part in parts])


def _concatenated(kind: type, parts: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The values of each key, for consecutive attributes, joined."""
    return {key: kind.concatenate([part[key] for part in parts]) for key in parts[0]}


def _inverted(intervals: Replicates) -> dict[str, DifferenceTest]:
    """Tests of one block by its simultaneous intervals."""
    found = _inverted_alike(intervals)
    both = intervals.jointly
    return found if both is intervals else found | of_both_errors(_inverted_alike(both))


def _inverted_alike(intervals: Replicates) -> dict[str, DifferenceTest]:
    alpha = intervals.alpha
    null = centred(intervals.rates, intervals.observed, intervals.block)
    values = {name: gap.value for name, gap in gap_values(_rows(intervals.observed.rates, intervals.block), alpha)}
    found, known = {}, {}
    for name, test in null_means(values, null, alpha).items():
        metrics = tuple(COMPLEMENT.get(metric, metric) for metric in metrics_of(name))  # 1 - x differs as much as x
        if metrics not in known:
            known[metrics] = intervals.p_of_equality(metrics)
        undefined = np.isnan(values[name]) | np.isnan(fair_value(name))
        p = np.where(undefined, np.nan, known[metrics])
        found[name] = DifferenceTest(test.null_mean, p, np.zeros(len(p), dtype=np.int64))
    return found


def _test_corrected(result: Inference) -> None:
    """p values of corrected criteria.

    With one matrix for all outcomes, the true groups have equal rates exactly if the assigned groups have, so the test of
    the assigned groups is that of the true ones. It needs the same groups, and a rate that is a ratio of counts. Otherwise
    it is that of their own intervals.
    """
    found = result.corrected
    plain, own = result.observed, found.observed
    for name, test in found.tests.items():
        metrics = metrics_of(name)
        same = np.full(len(test.p), own.correction.one_for_all and plain.n_groups == own.n_groups)
        for metric in metrics:
            same &= len(denominators(metric)) == 1
            if plain.n_groups == own.n_groups:
                same &= (plain.rates.used[metric] == own.rates.used[metric]).all(axis=-1)
        known = result.tests.get(name)
        if known is None:
            same, known = np.zeros(len(same), dtype=bool), test
        found.tests[name] = replace(test, p=np.where(same, known.p, test.p), n=np.where(same, known.n, test.n))
        found.p_methods[name] = np.where(same, result.p_method, INVERTED).astype(object)
