"""Compares two runs on the same test set: what changed, and whether chance in the choice of people explains it.

The same draws of identities weight both runs, so that common variation cancels. A run of several seeds is the
mean of rates and gaps over its seeds. Seeds are repetitions of a training, never identities; their spread is
reported beside the interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenface.fairness import resampling
from evenface.fairness.criteria import WEIGHTED_ERROR, Criterion, Rates, criteria, fair_value, gap_values, metrics_of
from evenface.fairness.cube import Cube, Grouping
from evenface.fairness.inference import Resampler, replicate_rates
from evenface.fairness.interval import MIN_VALID
from evenface.fairness.metrics import BETTER, METRICS
from evenface.fairness.quantiles import quantiles, spread, tails
from evenface.fairness.rate_limits import student
from evenface.fairness.tests_of_difference import TOLERANCE, distance

SWAP = "paired_swap"

#: the bias of a gap between equal groups over its bootstrap bias: resampling adds the same variance once more
_BIAS = 1 / (np.sqrt(2) - 1)


@dataclass(frozen=True)
class Side:
    """The models of one run, by seed: their cubes, and by grouping their rates and how sure these are.

    n_eff    grouping -> by seed, metric -> (A, G) effective identities
    stretch  grouping -> by seed, metric -> (A, G) how much wider a rate's interval is than that of a normal distribution
    """

    name: str
    models: tuple[str, ...]
    cubes: tuple[Cube, ...]
    rates: Mapping[str, tuple[Rates, ...]]
    n_eff: Mapping[str, tuple[Mapping[str, np.ndarray], ...]]
    stretch: Mapping[str, tuple[Mapping[str, np.ndarray], ...]]


@dataclass
class Change:
    """Candidate minus baseline in one grouping.

    baseline, candidate, delta  metric -> (A, G), and criterion -> (A,), of the estimates
    low, high                   likewise, NaN without an interval
    corrected                   criterion -> (A,) delta without the bias of both gaps, NaN without replicates
    p                           criterion -> (A,), NaN without a test
    delta_std                   criterion -> (A,) spread over pairs of seeds, NaN for one seed
    used                        metric -> (A, G) groups that are used in every model
    status                      criterion -> (A,) why a gap of some model is undefined, or empty
    worst, levelling_down       criterion -> (A,) change of the worst group's rate; smaller gap, worse worst group
    """

    baseline: dict[str, np.ndarray]
    candidate: dict[str, np.ndarray]
    delta: dict[str, np.ndarray]
    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    corrected: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    p: dict[str, np.ndarray]
    delta_std: dict[str, np.ndarray]
    used: dict[str, np.ndarray]
    status: dict[str, np.ndarray]
    worst: dict[str, np.ndarray]
    levelling_down: dict[str, np.ndarray | None]


@dataclass(frozen=True)
class _Values:
    """Means over seeds: x metric -> (..., G), gaps criterion -> (...)."""

    x: dict[str, np.ndarray]
    gaps: dict[str, np.ndarray]

    @classmethod
    def mean(cls, several: Sequence[Rates], alpha: float) -> _Values:
        gaps = [{name: gap.value for name, gap in gap_values(rates, alpha)} for rates in several]
        return cls(
            {m: _mean([rates.x[m] for rates in several]) for m in METRICS},
            {name: _mean([values[name] for values in gaps]) for name in gaps[0]},
        )


def _mean(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else sum(arrays[1:], arrays[0]) / len(arrays)


def compare(
    baseline: Side, candidate: Side, groupings: Sequence[tuple[Grouping, int]], resampler: Resampler
) -> dict[str, Change]:
    """Changes by grouping; ``groupings`` have the number of their used groups."""
    alpha = resampler.settings.alpha
    n_attributes = len(baseline.cubes[0].attributes)
    found = {grouping.name: _observed_change(baseline, candidate, grouping.name, alpha) for grouping, _ in groupings}
    if not (n_attributes and len(resampler.identities)):
        return found
    swapped = resampler.settings.n_perm > 0 and _paired(baseline, candidate)

    def work(block: slice) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        parts = {
            grouping.name: {"low": {}, "high": {}, "corrected": {}, "valid": {}, "p": {}} for grouping, _ in groupings
        }
        if resampler.settings.n_boot:
            _intervals(parts, found, baseline, candidate, groupings, resampler, block)
        if swapped:
            _swap_tests(parts, found, baseline, candidate, groupings, resampler, block)
        return parts

    for part in resampler.map_blocks(work, n_attributes):
        for name, fields in part.items():
            for field, values in fields.items():
                for key, value in values.items():
                    getattr(found[name], field).setdefault(key, []).append(value)
    for change in found.values():
        for field in ("low", "high", "corrected", "valid", "p"):
            values = getattr(change, field)
            for key in values:
                values[key] = np.concatenate(values[key])
    return found


def _observed_change(baseline: Side, candidate: Side, grouping: str, alpha: float) -> Change:
    base, cand = baseline.rates[grouping], candidate.rates[grouping]
    a, b = _Values.mean(base, alpha), _Values.mean(cand, alpha)
    before, after = a.x | a.gaps, b.x | b.gaps
    used = {m: np.logical_and.reduce([r.used[m] for r in (*base, *cand)]) for m in base[0].used}
    worst, levelling = {}, {}
    mean_base, mean_cand = Rates.mean(list(base)), Rates.mean(list(cand))
    pairs = zip(criteria(mean_base, alpha), criteria(mean_cand, alpha), strict=True)
    for old, new in pairs:
        worst[old.name], worse = _worst_change(old, mean_base, mean_cand, used)
        closer = distance(after[old.name], old.fair) < distance(before[old.name], old.fair) - TOLERANCE
        levelling[old.name] = None if np.isnan(new.fair) or worse is None else closer & worse
    seeds = [
        {name: y.value - x.value for (name, x), (_, y) in zip(gap_values(p, alpha), gap_values(q, alpha), strict=True)}
        for p, q in zip(base, cand, strict=False)
    ]
    several = len(base) == len(cand) > 1
    delta_std = {
        name: np.std([s[name] for s in seeds], axis=0, ddof=1) if several else np.full(a.gaps[name].shape, np.nan)
        for name in a.gaps
    }
    delta = {key: after[key] - before[key] for key in before}
    status: dict[str, np.ndarray] = {}
    for rates in (*base, *cand):
        for name, gap in gap_values(rates, alpha):
            known = status.setdefault(name, gap.status)
            status[name] = np.where(known == "", gap.status, known)
    return Change(before, after, delta, {}, {}, {}, {}, {}, delta_std, used, status, worst, levelling)


def _worst_change(criterion: Criterion, base: Rates, cand: Rates, used) -> tuple[np.ndarray, np.ndarray | None]:
    """(A,) change of the worst group's rate, and whether it got worse; combined criteria use the weighted error."""
    metric = criterion.metric[0] if len(criterion.metric) else WEIGHTED_ERROR
    if criterion.name.startswith("equalized_odds"):
        metric = WEIGHTED_ERROR
    better = BETTER[metric]
    enough = used[metric].any(axis=-1)
    if better == "neutral":
        return np.full(len(enough), np.nan), None  # no direction is worse
    ends = []
    for rates in (base, cand):
        x = rates.x[metric]
        badness = {"high": -x, "low": x, "zero": np.abs(x)}[better]
        ends.append(np.where(enough, np.where(used[metric], badness, -np.inf).max(axis=-1, initial=-np.inf), np.nan))
    with np.errstate(invalid="ignore"):
        change = ends[1] - ends[0]  # of badness
        return (-change if better == "high" else change), change > TOLERANCE


def _cells(resampler: Resampler, side: Side, block: slice) -> list[np.ndarray]:
    return [resampler.bootstrap(model, cube).cells(block) for model, cube in zip(side.models, side.cubes, strict=True)]


def _intervals(parts, found, baseline, candidate, groupings, resampler, block) -> None:
    """Intervals of changes: simultaneous over groups for rates, corrected for their bias for gaps."""
    alpha, level = resampler.settings.alpha, resampler.settings.ci_level
    sides = baseline, candidate
    cells = [_cells(resampler, side, block) for side in sides]
    for grouping, n_groups in groupings:
        values = []
        for side, of_seeds in zip(sides, cells, strict=True):
            rates = [
                replicate_rates(resampling.sum_cells(one, grouping, n_groups), own, block, alpha)
                for one, own in zip(of_seeds, side.rates[grouping.name], strict=True)
            ]
            values.append(_Values.mean(rates, alpha))
        change, part = found[grouping.name], parts[grouping.name]
        for metric in METRICS:
            step = (values[1].x[metric] - values[0].x[metric]).transpose(2, 0, 1)
            delta, used = change.delta[metric][block].T, change.used[metric][block].T
            n_eff = np.minimum.reduce([seed[metric][block] for side in sides for seed in side.n_eff[grouping.name]]).T
            low, high, valid = _group_intervals(step, delta, used, n_eff, level)
            part["low"][metric], part["high"][metric], part["valid"][metric] = low.T, high.T, valid
        for name in values[0].gaps:
            estimates = change.baseline[name][block], change.candidate[name][block]
            ends = [(estimate, of.gaps[name]) for estimate, of in zip(estimates, values, strict=True)]
            stretch = _stretch(sides, grouping.name, metrics_of(name), change.used, block)
            low, high, corrected, valid = _gap_interval(*ends, stretch, fair_value(name), level)
            part["low"][name], part["high"][name], part["valid"][name] = low, high, valid
            part["corrected"][name] = corrected


def _group_intervals(step, delta, used, n_eff, level):
    """Simultaneous (max-|t|) intervals of the groups' changes: step (G, a, B); delta, used and n_eff (G, a).

    Student's t with ``n_eff - 1`` degrees of freedom allows for spreads that are estimated from few people.
    """
    centred = np.where(used[..., None], step - delta[..., None], 0)
    scale = spread(centred)
    moves = used & (scale > TOLERANCE)
    t = np.abs(centred * np.where(moves, 1 / np.where(moves, scale, 1), 0)[..., None]).max(axis=0, initial=0)
    valid = t.shape[-1] - np.isnan(t).sum(axis=-1)
    q = np.where(valid >= MIN_VALID * t.shape[-1], quantiles(t, (level,))[0], np.nan)
    reach = np.where(
        moves, student(q, n_eff - 1) * scale, np.nan
    )  # without spread there is nothing to say how sure a change is
    return delta - reach, delta + reach, valid


def _stretch(sides, grouping: str, metrics: tuple[str, ...], used, block: slice) -> np.ndarray:
    """(a,) how much wider the intervals of the criterion's rates are than normal ones, over groups and models."""
    found = []
    for metric in metrics:
        mask = used[metric][block]
        for side in sides:
            found += [np.where(mask, seed[metric][block], np.nan) for seed in side.stretch[grouping]]
    every = np.concatenate(found, axis=-1)
    known = ~np.isnan(every)
    mean_square = np.where(known, every**2, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return np.maximum(np.sqrt(mean_square), 1)


def _gap_interval(before, after, stretch, fair: float, level: float):
    """Interval and corrected estimate of the change of a gap: low, high, corrected and valid replicates, all (a,).

    before, after  (estimate (a,), replicates (a, B)) of the two models
    stretch        (a,) factor on the spread of the replicates, for few people and skewed rates

    Noise moves a gap away from equal treatment, and resampling moves it once more. Where groups do not differ the second
    move is sqrt(2) - 1 of the first, which is therefore at most ``_BIAS`` times as large. A gap that closes keeps its
    noise while the other does not show it, so the change looks too small. The interval reaches out by the bias of
    each model in its direction. The corrected estimate takes it off both.
    """
    (b, of_b), (c, of_c) = before, after
    step = of_c - of_b
    missing = np.isnan(step)
    valid = step.shape[-1] - missing.sum(axis=-1)
    mean = np.where(missing, 0, step).sum(axis=-1) / np.maximum(valid, 1)
    low, high = quantiles(step - mean[:, None], tails(level))
    none = (valid < MIN_VALID * step.shape[-1]) | (high - low < TOLERANCE)
    biases = [_BIAS * (np.where(missing, 0, x).sum(axis=-1) / np.maximum(valid, 1) - y) for y, x in (before, after)]
    down = np.maximum(biases[1], 0) + np.maximum(-biases[0], 0)
    up = np.maximum(biases[0], 0) + np.maximum(-biases[1], 0)
    low, high = c - b + stretch * low - down, c - b + stretch * high + up
    corrected = _corrected(c, biases[1], fair) - _corrected(b, biases[0], fair)
    return *(np.where(none, np.nan, x) for x in (low, high, corrected)), valid


def _corrected(value, bias, fair: float) -> np.ndarray:
    """A criterion without its bias, which does not take it beyond equal treatment."""
    found = value - bias
    return found if np.isnan(fair) else np.where(value >= fair, np.maximum(found, fair), np.minimum(found, fair))


def _paired(baseline: Side, candidate: Side) -> bool:
    """Whether the sides' seeds can be swapped image by image: equally many seeds, on the same images."""
    if len(baseline.cubes) != len(candidate.cubes):
        return False
    return all(
        a.attributes == b.attributes
        and np.array_equal(a.identities, b.identities)
        and np.array_equal(a.cell, b.cell)
        and np.array_equal(a.identity, b.identity)
        for a, b in zip(baseline.cubes, candidate.cubes, strict=True)
    )


def _swap_tests(parts, found, baseline: Side, candidate: Side, groupings, resampler: Resampler, block: slice) -> None:
    """p of a change of gap: each identity's counts are swapped between the models with probability 1/2.

    With s_i in {0, 1}, the swapped baseline is its counts plus sum s_i (candidate_i - baseline_i). The
    candidate loses what the baseline gains, so one product serves both.
    """
    alpha, swaps = resampler.settings.alpha, resampler.swaps
    everyone = np.ones((len(swaps), 1), dtype=np.float32)
    cells = []
    for model, a, b in zip(baseline.models, baseline.cubes, candidate.cubes, strict=True):
        rows = resampler.rows[model]
        change = replace(a, counts=b.counts - a.counts)
        moved = resampling.weighted_cells(change, block, swaps, rows, resampling.exact_type(a.n_images))
        totals = [resampling.weighted_cells(cube, block, everyone, rows) for cube in (a, b)]
        cells.append((totals[0] + moved, totals[1] - moved))
    for grouping, n_groups in groupings:
        gaps = []
        for side, of_seeds in zip((baseline, candidate), zip(*cells, strict=True), strict=True):
            rates = [
                replicate_rates(resampling.sum_cells(one, grouping, n_groups), own, block, alpha)
                for one, own in zip(of_seeds, side.rates[grouping.name], strict=True)
            ]
            gaps.append(_Values.mean(rates, alpha).gaps)
        change, part = found[grouping.name], parts[grouping.name]
        for name in gaps[0]:
            part["p"][name] = _two_sided(gaps[1][name] - gaps[0][name], change.delta[name][block])


def _two_sided(swapped: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """(1 + swaps with at least as large a change) / (P + 1) from (a, P) and (a,)."""
    defined = ~np.isnan(swapped)
    with np.errstate(invalid="ignore"):
        beyond = np.abs(swapped) >= np.abs(delta)[:, None] - TOLERANCE
    p = (1 + (beyond & defined).sum(axis=-1)) / (1 + defined.sum(axis=-1))
    return np.where(np.isnan(delta) | ~defined.any(axis=-1), np.nan, p)
