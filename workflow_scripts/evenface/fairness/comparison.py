"""Compares two runs on the same test set: what changed, and whether chance in the choice of people explains it.

The same draws of identities weight both runs, so that common variation cancels. Two runs of one seed each are two
networks, and a change between them is one between these networks. With several seeds it is one between methods: the
variance from the choice of seeds, s^2 / S of the S paired changes, is added to that from the choice of people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.special import ndtri, stdtr

from evenface.errors import UserError
from evenface.fairness import resampling
from evenface.fairness.criteria import WEIGHTED_ERROR, Rates, fair_value, gap_values, metrics_of, replicate_rates
from evenface.fairness.evaluated import Evaluated
from evenface.fairness.inference import Resampler
from evenface.fairness.interval import MIN_VALID
from evenface.fairness.metrics import BETTER, METRICS, divide
from evenface.fairness.observed import Widths
from evenface.fairness.quantiles import quantiles, share_below, spread, tails
from evenface.fairness.rate_limits import mover, student
from evenface.fairness.runs import Run, check_same_attributes
from evenface.fairness.tests_of_difference import TOLERANCE, distance

#: how p values of changes are computed, for one seed and for several
PEOPLE, PEOPLE_AND_SEEDS = "interval_people", "interval_people_and_seeds"

#: least share of the choice of people in the variance of rates over seeds that a bias is estimated for
_LEAST_SHARE = 0.1


@dataclass
class Change:
    """Candidate minus baseline in one grouping.

    baseline, candidate, delta  metric -> (A, G), and criterion -> (A,), of the estimates
    low, high                   likewise, NaN without an interval
    corrected                   criterion -> (A,) delta without the bias of both gaps, NaN without replicates
    people, training            likewise as delta, the variance from the choice of people, and from that of seeds (NaN for one)
    freedom                     likewise, degrees of freedom of both together
    p                           criterion -> (A,), NaN without a test
    seed_mean, seed_std         criterion -> (A,) mean and standard deviation of the seeds' own changes, NaN for one seed
    used                        metric -> (A, G) groups that are used in every model
    status                      criterion -> (A,) why a gap is undefined, or empty

    The keys :func:`worst_of` hold how bad the worst group is.
    """

    baseline: dict[str, np.ndarray]
    candidate: dict[str, np.ndarray]
    delta: dict[str, np.ndarray]
    seed_mean: dict[str, np.ndarray]
    seed_std: dict[str, np.ndarray]
    training: dict[str, np.ndarray]
    used: dict[str, np.ndarray]
    status: dict[str, np.ndarray]
    low: dict[str, np.ndarray] = field(default_factory=dict)
    high: dict[str, np.ndarray] = field(default_factory=dict)
    corrected: dict[str, np.ndarray] = field(default_factory=dict)
    people: dict[str, np.ndarray] = field(default_factory=dict)
    freedom: dict[str, np.ndarray] = field(default_factory=dict)
    valid: dict[str, np.ndarray] = field(default_factory=dict)
    p: dict[str, np.ndarray] = field(default_factory=dict)

    def worst_group(self, criterion: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The change of the worst group's rate, the ends of its interval, and whether the gap closed by levelling down.

        Four arrays (A,); the last is of objects, None without an interval. It is true if the gap is smaller, and the worst
        group is worse by more than its interval.
        """
        n, metric = len(self.delta[criterion]), worst_metric(criterion)
        nothing = np.full(n, np.nan)
        if metric is None:
            return nothing, nothing, nothing, np.full(n, None, dtype=object)
        key = worst_of(metric)
        change, low, high = self.delta[key], self.low.get(key, nothing), self.high.get(key, nothing)
        fair, flags = fair_value(criterion), np.full(n, None, dtype=object)
        if not np.isnan(fair):
            ends = distance(self.baseline[criterion], fair), distance(self.candidate[criterion], fair)
            with np.errstate(invalid="ignore"):
                down = (ends[1] < ends[0] - TOLERANCE) & (low > TOLERANCE)
            known = ~np.isnan(low) & ~np.isnan(self.delta[criterion])
            flags[known] = down[known]
        if BETTER[metric] == "high":
            change, low, high = -change, -high, -low
        return change, low, high, flags

    def worst_before(self, criterion: str) -> np.ndarray:
        """The rate (A,) of the worst group in the baseline, of the metric that :meth:`worst_group` is about."""
        metric = worst_metric(criterion)
        if metric is None:
            return np.full(len(self.delta[criterion]), np.nan)
        badness = self.baseline[worst_of(metric)]
        return 1 - badness if BETTER[metric] == "high" else badness


#: the parts of a change that are computed block by block
_BLOCKWISE = ("low", "high", "corrected", "people", "freedom", "valid", "p")


def compare(
    baseline: Run, candidate: Run, widths: Mapping[str, Mapping[str, Widths]], resampler: Resampler
) -> dict[str, Change]:
    """Changes by grouping of two runs with the same seeds.

    widths  run's id -> grouping -> :attr:`evenface.fairness.observed.Observed.widths`

    Raises UserError when the runs have different seeds or attributes.
    """
    _check_seeds(baseline, candidate)
    check_same_attributes((baseline.id, baseline.cube), (candidate.id, candidate.cube))
    settings = resampler.settings
    baseline, candidate = _on_common_groups(baseline, candidate, settings.alpha)
    groupings = [(one.grouping, one.n_groups) for one in baseline.evaluated.values()]
    found = {
        grouping.name: _observed_change(baseline, candidate, grouping.name, settings.alpha) for grouping, _ in groupings
    }
    n_attributes = len(baseline.cube.attributes)
    if not (settings.n_boot and n_attributes and len(resampler.identities)):
        return found

    def work(block: slice) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        parts = {grouping.name: {name: {} for name in _BLOCKWISE} for grouping, _ in groupings}
        _intervals(parts, found, baseline, candidate, groupings, widths, resampler, block)
        return parts

    for part in resampler.map_blocks(work, n_attributes):
        for name, fields in part.items():
            for key, values in fields.items():
                for criterion, value in values.items():
                    getattr(found[name], key).setdefault(criterion, []).append(value)
    for change in found.values():
        for key in _BLOCKWISE:
            values = getattr(change, key)
            for criterion in values:
                values[criterion] = np.concatenate(values[criterion])
    return found


def _on_common_groups(baseline: Run, candidate: Run, alpha: float) -> tuple[Run, Run]:
    """Both runs on the groups that both use: a group that only one of them leaves out does not change the gap."""
    sides = []
    for run, other in ((baseline, candidate), (candidate, baseline)):
        used = {
            name: {m: one.used & other.evaluated[name].support[m].used for m, one in result.support.items()}
            for name, result in run.evaluated.items()
        }
        sides.append(replace(
            run,
            evaluated={name: result.restricted(used[name], alpha) for name, result in run.evaluated.items()},
            seeds={name: tuple(r.restricted(used[name], alpha) for r in seeds) for name, seeds in run.seeds.items()},
        ))  # fmt: skip
    return sides[0], sides[1]


def _check_seeds(baseline: Run, candidate: Run) -> None:
    if len(baseline.models) == len(candidate.models) == 1 or baseline.numbers == candidate.numbers:
        return
    lists = [", ".join("none" if n is None else str(n) for n in run.numbers) for run in (baseline, candidate)]
    raise UserError(
        f"run {candidate.id!r} has the seeds {lists[1]}, and the baseline {baseline.id!r} has {lists[0]}; changes are paired by "
        "seed, so train both with the same training.seeds, or leave the other predictions out"
    )


def _observed_change(baseline: Run, candidate: Run, grouping: str, alpha: float) -> Change:
    base, cand = baseline.evaluated[grouping].rates, candidate.evaluated[grouping].rates
    used = {m: base.used[m] & cand.used[m] for m in base.used}
    before, after = _values(base, used, alpha), _values(cand, used, alpha)
    seeds = [
        {key: value - old[key] for key, value in _values(new.rates, used, alpha).items()}
        for new, old in zip(candidate.seeds[grouping], baseline.seeds[grouping], strict=True)
        for old in (_values(old.rates, used, alpha),)
    ]
    delta = {key: after[key] - before[key] for key in before}
    several = len(seeds) > 1
    nothing = {key: np.full(value.shape, np.nan) for key, value in delta.items()}
    std = {key: np.std([s[key] for s in seeds], axis=0, ddof=1) for key in delta} if several else nothing
    status: dict[str, np.ndarray] = {}
    for rates in (base, cand):
        for name, gap in gap_values(rates, alpha):
            known = status.setdefault(name, gap.status)
            status[name] = np.where(known == "", gap.status, known)
    return Change(
        before, after, delta, {key: np.mean([s[key] for s in seeds], axis=0) for key in delta} if several else nothing, std,
        {key: value**2 / len(seeds) for key, value in std.items()}, used, status,
    )  # fmt: skip


def _values(rates: Rates, used: Mapping[str, np.ndarray], alpha: float) -> dict[str, np.ndarray]:
    """Metric -> (..., G) rates; criterion, and worst group of a metric -> (...)."""
    gaps = {name: gap.value for name, gap in gap_values(rates, alpha)}
    worst = {
        worst_of(metric): _badness_of_worst(rates.x[metric], used[metric], better)
        for metric, better in BETTER.items()
        if better != "neutral"
    }
    return {m: rates.x[m] for m in METRICS} | gaps | worst


def worst_of(metric: str) -> str:
    """The key under which a change holds how bad the metric's worst group is: 1 - rate, or the rate, or its distance from 0."""
    return f"worst {metric}"


def worst_metric(criterion: str) -> str | None:
    """The metric whose worst group belongs to a criterion; None if no direction of it is worse."""
    metrics = metrics_of(criterion)
    metric = metrics[0] if len(metrics) == 1 else WEIGHTED_ERROR
    return None if BETTER[metric] == "neutral" else metric


#: key of a worst group -> the metrics it rests on
_METRICS_OF_WORST = {
    worst_of(metric): ("tpr", "fpr") if metric == WEIGHTED_ERROR else (metric,)
    for metric, better in BETTER.items()
    if better != "neutral"
}


def _badness_of_worst(x: np.ndarray, used: np.ndarray, better: str) -> np.ndarray:
    badness = {"high": 1 - x, "low": x, "zero": np.abs(x)}[better]
    worst = np.where(used, badness, -np.inf).max(axis=-1, initial=-np.inf)
    return np.where(used.any(axis=-1), worst, np.nan)


def _intervals(parts, found, baseline: Run, candidate: Run, groupings, widths, resampler, block) -> None:
    """Intervals of changes: simultaneous over groups for rates, corrected for their bias for gaps."""
    alpha, level = resampler.settings.alpha, resampler.settings.ci_level
    sides = baseline, candidate
    cells = [resampler.bootstrap(side.id, side.cube).cells(block) for side in sides]
    for grouping, n_groups in groupings:
        change, part, values = found[grouping.name], parts[grouping.name], []
        for side, own in zip(sides, cells, strict=True):
            counts = resampling.sum_cells(own, grouping, n_groups)
            rates = replicate_rates(counts, side.evaluated[grouping.name].rates, block, alpha)
            used = {metric: mask[block][:, None, :] for metric, mask in change.used.items()}
            values.append(_values(rates, used, alpha))
        support = [side.evaluated[grouping.name].support for side in sides]
        sure = [widths[side.id][grouping.name] for side in sides]
        n_eff = {m: np.minimum(support[0][m].n_eff, support[1][m].n_eff)[block] for m in METRICS}
        seeds = {key: (value[block], len(baseline.models)) for key, value in change.training.items()}
        for key in values[0]:
            if key in METRICS:
                estimates = change.baseline[key][block], change.candidate[key][block]
                ends = [(estimate, of[key].transpose(2, 0, 1)) for estimate, of in zip(estimates, values, strict=True)]
                limits = [partial(side.limits, key, block) for side in sure]
                results = _group_intervals(*ends, limits, change.used[key][block], n_eff[key], seeds[key], level)
            else:
                estimates = change.baseline[key][block], change.candidate[key][block]
                ends = [(estimate, of[key]) for estimate, of in zip(estimates, values, strict=True)]
                metrics = _METRICS_OF_WORST.get(key) or metrics_of(key)
                used = change.used[metrics[0] if len(metrics) == 1 else WEIGHTED_ERROR][block]
                wider = _stretch(sure, metrics, used, block)
                people = np.minimum.reduce([(n_eff[m] * used).sum(axis=-1) for m in metrics])
                fair = np.nan if key in _METRICS_OF_WORST else fair_value(key)
                bias = [
                    _bias_factor(side.evaluated[grouping.name], one, metrics, used, block)
                    for side, one in zip(sides, sure, strict=True)
                ]
                results = _gap_interval(*ends, wider, people, seeds[key], bias, fair, level)
            for name, value in results.items():
                part[name][key] = value


def with_training(people, n_eff, training):
    """Variance of people and of seeds together, and its degrees of freedom by Satterthwaite.

    people    variance of the choice of people, on ``n_eff`` effective identities
    training  (variance of the mean over seeds, number of seeds); with one seed the variance is unknown and left out
    """
    of_seeds, n_seeds = training
    of_seeds = np.zeros_like(people) if n_seeds == 1 else of_seeds
    total = people + of_seeds
    n_eff = np.maximum(n_eff, 1)
    below = people**2 / n_eff + (of_seeds**2 / (n_seeds - 1) if n_seeds > 1 else 0)
    return total, np.where(below > 0, total**2 / np.where(below > 0, below, 1), n_eff)


def _group_intervals(before, after, limits, used, n_eff, training, level):
    """Simultaneous (max-|t|) intervals of the groups' changes, all (a, G).

    before, after  (estimate (a, G), replicates (G, a, B)) of the two runs
    limits         for each run, the limits of its rates at a normal quantile, from which those of the change follow (MOVER)

    Student's t allows for variances that are estimated from few people and seeds.
    """
    (b, of_b), (c, of_c) = before, after
    delta, step = c - b, of_c - of_b
    centred = np.where(used.T[..., None], step - delta.T[..., None], 0)
    scale = spread(centred)
    moves = used.T & (scale > TOLERANCE)
    t = np.abs(centred * np.where(moves, 1 / np.where(moves, scale, 1), 0)[..., None]).max(axis=0, initial=0)
    valid = t.shape[-1] - np.isnan(t).sum(axis=-1)
    single = ndtri((1 + level) / 2)
    q = np.where(valid >= MIN_VALID * t.shape[-1], np.maximum(quantiles(t, (level,))[0], single), np.nan)[:, None]
    scale, moves = scale.T, moves.T
    own = [spread(part).T for part in (of_b, of_c)]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (own[0] ** 2 + own[1] ** 2 - scale**2) / (2 * own[0] * own[1])
    correlation = np.clip(np.nan_to_num(correlation), -1, 1)
    (b_low, b_high), (c_low, c_high) = (one(q) for one in limits)
    below, above = mover(c - c_low, b_high - b, correlation), mover(c_high - c, b - b_low, correlation)
    ends = []
    for reach in below, above:
        total, freedom = with_training((reach / student(q, n_eff)) ** 2, n_eff, training)
        ends.append(np.where(moves, student(q, freedom) * np.sqrt(total), np.nan))  # else nothing says how sure it is
    _, freedom = with_training(scale**2, n_eff, training)
    people = np.where(used, scale**2, np.nan)
    valid = np.broadcast_to(valid[:, None], delta.shape)
    return {"low": delta - ends[0], "high": delta + ends[1], "people": people, "freedom": freedom, "valid": valid}


def _stretch(sides: list[Widths], metrics: tuple[str, ...], used: np.ndarray, block: slice) -> np.ndarray:
    """(a,) how much wider the intervals of the criterion's rates are than normal ones, over ``used`` (a, G) and runs."""
    every = np.concatenate(
        [np.where(used, side.stretch(metric)[block], np.nan) for metric in metrics for side in sides], axis=-1
    )
    known = ~np.isnan(every)
    mean_square = np.where(known, every**2, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return np.maximum(np.sqrt(mean_square), 1)


def _bias_factor(result: Evaluated, widths: Widths, metrics: tuple[str, ...], used: np.ndarray, block: slice):
    """(a,) bias of a gap between equal groups over its bootstrap bias.

    The bias is proportional to the standard deviation of the rates. Resampling adds the variance of the choice of people once
    more, but not that of training: with ``share`` of the former in both, from 1 to 1 + share.
    """
    luck, people = (np.zeros(len(result.attributes[block])) for _ in range(2))
    for metric in metrics:
        people += np.where(used, widths.se[metric][block] ** 2, 0).sum(axis=-1)
        if result.training:
            luck += np.where(used, result.training.relative[metric].variance[block], 0).sum(axis=-1)
    share = np.clip(np.nan_to_num(divide(people, people + luck), nan=1), _LEAST_SHARE, 1)
    return 1 / (np.sqrt(1 + share) - 1)


def _gap_interval(before, after, stretch, n_eff, training, bias, fair: float, level: float):
    """Interval and corrected estimate of the change of a gap, all (a,).

    before, after  (estimate (a,), replicates (a, B)) of the two runs
    stretch        (a,) factor on the spread of the replicates, for few people and skewed rates
    n_eff          (a,) effective identities of all used groups; training as for :func:`with_training`
    bias           (a,) of each run, :func:`_bias_factor`

    Noise moves a gap away from equal treatment, and resampling moves it once more. The first move is at most ``bias`` times
    as large as the second, as where groups do not differ. A gap that closes keeps its
    noise while the other does not show it, so the change looks too small. The interval reaches out by the bias of
    each run in its direction. The corrected estimate takes it off both. p is 1 minus the level of the interval that ends at
    0, so the two never contradict each other.
    """
    (b, of_b), (c, of_c) = before, after
    step = of_c - of_b
    missing = np.isnan(step)
    valid = step.shape[-1] - missing.sum(axis=-1)
    mean = np.where(missing, 0, step).sum(axis=-1) / np.maximum(valid, 1)
    step = step - mean[:, None]
    low, high = (stretch * end for end in quantiles(step, tails(level)))
    none = (valid < MIN_VALID * step.shape[-1]) | (high - low < TOLERANCE)
    people = (stretch * spread(step)) ** 2
    total, freedom = with_training(people, n_eff, training)
    biases = [
        factor * (np.where(missing, 0, x).sum(axis=-1) / np.maximum(valid, 1) - y)
        for factor, (y, x) in zip(bias, (before, after), strict=True)
    ]
    down = np.maximum(biases[1], 0) + np.maximum(-biases[0], 0)
    up = np.maximum(biases[0], 0) + np.maximum(-biases[1], 0)
    delta = c - b
    beyond = np.where(delta >= 0, delta - down, -delta - up)  # how far the change is from 0, less its bias
    if training[1] > 1:
        high = student(np.full(total.shape, ndtri((1 + level) / 2)), freedom) * np.sqrt(total)
        low = -high
        with np.errstate(invalid="ignore", divide="ignore"):
            tail = stdtr(np.maximum(freedom, 1), -beyond / np.sqrt(total))
    else:
        towards_fair = np.where(delta >= 0, 1, -1)[:, None] * step
        tail = np.maximum(share_below(towards_fair, -beyond / stretch), 0.5 / (valid + 1))
    found = {
        "low": delta + low - down,
        "high": delta + high + up,
        "corrected": _corrected(c, biases[1], fair) - _corrected(b, biases[0], fair),
        "people": people,
        "freedom": freedom,
        "p": np.minimum(2 * tail, 1),
    }
    return {name: np.where(none, np.nan, value) for name, value in found.items()} | {"valid": valid}


def _corrected(value, bias, fair: float) -> np.ndarray:
    """A criterion without its bias, which does not take it beyond equal treatment."""
    found = value - bias
    return found if np.isnan(fair) else np.where(value >= fair, np.maximum(found, fair), np.minimum(found, fair))
