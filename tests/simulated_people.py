"""Coverage of intervals, size of tests and their power, where the truth is known.

python tests/simulated_people.py [table ...] [--runs 400]

Prints the tables of docs/statistics.md, or only those that are named. People differ as logistic-normal ones of standard
deviation 1.5 do, and have 1 to 800 images each, median 40, as in collections of photographs. Every attribute of a
simulated table is one independent run, with images of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincinv, expit, ndtr

from evenface.fairness import FairnessSettings
from evenface.fairness.comparison import compare
from evenface.fairness.criteria import Rates, gap_values
from evenface.fairness.cube import CellSpace, Cube
from evenface.fairness.evaluated import evaluate_grouping, observed_of
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import Scored
from evenface.fairness.metrics import METRICS
from evenface.fairness.multiplicity import FALSE_DISCOVERY_RATE, benjamini_hochberg
from evenface.fairness.planning import Assumptions, Design, plan
from evenface.fairness.runs import runs_of
from evenface.fairness.settings import PlanningSettings

SPREAD = 1.5
TABLE = 100  # runs in one table
DIFFERENCE, ODDS = "equal_opportunity_difference", "equalized_odds_difference_worst"

#: variance shares of a person's effect that belong to one group, and to one network; the rest is the person's own
OF_GROUP, OF_NETWORK = 0.36, 0.36
#: standard deviations of steady and erratic people, and the share of erratic ones
MIXTURE = (0.5, 3.0), 0.3

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)


@dataclass(frozen=True)
class Cell:
    """One setting: true positive rates of the groups and their people; ``after`` the rates of a second method, if any.

    people     of each group; if ``spans``, of all groups together
    false      false positive rates of the groups; half of the images are then negative
    kind       how people differ: ``logistic``; ``beta`` with correlation .3 within people; ``mixture`` of steady and erratic
    spread     standard deviation of logistic people on the logit scale, for all groups or one for each
    images     of everybody, or of each person; None for 1 to 800, median 40
    spans      in how many neighbouring groups a person has images
    seeds      trainings of each method; ``luck`` the standard deviation of a group's rate between them
    attributes of one person that depend on each other (correlation .5); 0 for independent ones
    """

    rates: tuple[float, ...]
    people: tuple[int, ...]
    after: tuple[float, ...] | None = None
    false: tuple[float, ...] | None = None
    kind: str = "logistic"
    spread: float | tuple[float, ...] = SPREAD
    images: int | np.ndarray | None = None
    spans: int = 1
    seeds: int = 1
    luck: float = 0.0
    attributes: int = 0


@cache
def intercept(rate: float, spread: float) -> float:
    """The mean on the logit scale at which people succeed with probability ``rate`` on average."""
    return brentq(lambda m: float(_WEIGHTS @ expit(m + spread * _NODES) / _WEIGHTS.sum()) - rate, -30, 30)


@cache
def of_mixture(rate: float) -> float:
    """Likewise for a mixture of steady and erratic people."""
    (steady, erratic), share = MIXTURE

    def mean(m):
        parts = [float(_WEIGHTS @ expit(m + spread * _NODES) / _WEIGHTS.sum()) for spread in (steady, erratic)]
        return (1 - share) * parts[0] + share * parts[1]

    return brentq(lambda m: mean(m) - rate, -30, 30)


@cache
def luck_on_logit_scale(rate: float, spread: float, luck: float) -> float:
    """The standard deviation of a group's mean on the logit scale that moves its rate by ``luck``."""
    m, step = intercept(rate, spread), 1e-3
    moved = [float(_WEIGHTS @ expit(m + side * step + spread * _NODES) / _WEIGHTS.sum()) for side in (-1, 1)]
    return luck * 2 * step / (moved[1] - moved[0])


def shares(cell: Cell, rates, group, effect, erratic, shift) -> np.ndarray:
    """(rows, runs) probability that an image of a person is right; ``shift`` (groups, runs) on the logit scale."""
    if cell.kind == "beta":
        a = np.array(rates)[group, None] * (1 / 0.3 - 1)
        return betaincinv(a, 1 / 0.3 - 1 - a, np.clip(ndtr(effect), 1e-12, 1 - 1e-12))
    if cell.kind == "mixture":
        mean = np.array([of_mixture(rate) for rate in rates])
        return expit(mean[group, None] + np.where(erratic, MIXTURE[0][1], MIXTURE[0][0]) * effect)
    spreads = np.broadcast_to(cell.spread, len(rates)).astype(float)
    mean = np.array([intercept(rate, spread) for rate, spread in zip(rates, spreads.tolist(), strict=True)])
    return expit((mean[:, None] + shift)[group] + spreads[group, None] * effect)


def cubes(cell: Cell, rng: np.random.Generator, runs: int) -> dict[str, Cube]:
    """Model id -> cube, with ``runs`` attributes: networks ``a-1``, ``a-2`` and so on, and ``b-1``, ... if there is a second method."""
    k, n = len(cell.rates), sum(cell.people)
    images = np.clip(np.round(np.exp(rng.normal(np.log(40), 1.2, (n, runs)))), 1, 800).astype(int)
    if cell.images is not None:
        images[:] = np.reshape(cell.images, (-1, 1))
    if cell.spans == 1:
        group, person = np.repeat(np.arange(k), cell.people), np.arange(n)
    else:
        first = rng.integers(0, k - cell.spans + 1, n)
        dealt = rng.multinomial(images, np.full(cell.spans, 1 / cell.spans))  # (n, runs, spans)
        group = (first + np.arange(cell.spans)[:, None]).ravel()
        person, order = np.tile(np.arange(n), cell.spans), np.argsort(group, kind="stable")
        images = np.concatenate(np.moveaxis(dealt, -1, 0))[order]
        group, person = group[order], person[order]
    positive = rng.binomial(images, 0.5) if cell.false else images
    networks = cell.seeds > 1 or cell.after is not None

    def normal(rows):
        common = rng.normal(size=(rows, 1)) if cell.attributes else 0.0
        own = rng.normal(size=(rows, runs))
        return np.sqrt(0.5) * (common + own) if cell.attributes else own

    of_network, of_group = OF_NETWORK * networks, OF_GROUP * (cell.spans > 1)
    sides = [(0, cell.rates, cell.after, positive)]  # number, rates of the methods, images
    if cell.false:
        sides.append((1, cell.false, cell.false, images - positive))
    base = {}
    for side, *_ in sides:
        base[side] = np.sqrt(1 - of_network - of_group) * normal(n)[person] + np.sqrt(of_group) * normal(len(person))
    erratic = (rng.random((n, 1)) < MIXTURE[1])[person]
    names = np.array([f"p{i:05d}" for i in range(n)], dtype=object)
    attributes, space = tuple(f"a{i:03d}" for i in range(runs)), CellSpace({"age": tuple("ABCDEFGHIJKLMNOP"[:k])})
    found = {}
    for method in range(1 if cell.after is None else 2):
        for seed in range(cell.seeds):
            counts = np.zeros((len(person), runs, 6), dtype=np.int32)
            for side, before, after, of in sides:
                rates = after if method else before
                effect = base[side] + np.sqrt(of_network) * normal(n)[person] if networks else base[side]
                luck = [luck_on_logit_scale(rate, SPREAD, cell.luck) for rate in rates] if cell.luck else [0.0] * k
                shift = np.array(luck)[:, None] * rng.normal(size=(k, runs))
                right = rng.binomial(of, shares(cell, rates, group, effect, erratic, shift))
                hit, miss = ((3, 2), (1, 0))[side]
                counts[..., hit], counts[..., miss] = right, of - right
            found[f"{'ab'[method]}-{seed + 1}"] = Cube(space, attributes, names, group, person, counts)
    return found


def truth(cell: Cell, rates) -> dict[str, np.ndarray]:
    """``tpr`` and ``fpr`` by group, and every criterion, of the whole population."""
    k = len(rates)
    weight = np.array(cell.people if cell.spans == 1 else [1] * k, dtype=float)
    counts = np.zeros((1, k, 6))
    counts[0, :, 3], counts[0, :, 2] = weight * rates, weight * (1 - np.array(rates))
    if cell.false:
        counts[0, :, 1], counts[0, :, 0] = weight * cell.false, weight * (1 - np.array(cell.false))
    of = Rates.of(counts, dict.fromkeys(METRICS, np.ones((1, k), dtype=bool)), 0.5)
    values = {name: gap.value[0] for name, gap in gap_values(of, 0.5)}
    return values | {metric: of.x[metric][0] for metric in METRICS}


def measure(cell: Cell, runs: int, seed: int = 0, n_boot: int = 300, n_perm: int = 99) -> dict[str, float]:
    """Shares of runs, and means over runs, by name.

    tpr, fpr, ...     intervals of single groups that contain the truth, for every metric
    pairs, gap        of all pairs at once, and of the equal opportunity difference; every other criterion by its name
    rejected, odds, q tests of both differences with p <= .05, and with q < .05 over the attributes of a table
    change, groups    intervals of a change of gap, and of the changes of all groups at once
    moved             changes of gap whose interval excludes 0; ``levelled`` those called levelling down
    delta, corrected  means of the change of gap, plain and without its bias

    Intervals that a table would leave empty do not count.
    """
    rng = np.random.default_rng(seed)
    before, after = truth(cell, cell.rates), cell.after and truth(cell, cell.after)
    found: dict[str, list] = {}

    def add(name: str, values) -> None:
        found.setdefault(name, []).append(np.ravel(np.asarray(values, dtype=float)))

    for part, start in enumerate(range(0, runs, 1 if cell.attributes else TABLE)):
        models = cubes(cell, rng, cell.attributes or min(TABLE, runs - start))
        first = next(iter(models.values()))
        settings = FairnessSettings(
            groupings=("age",), levels=dict(first.space.levels), min_denominator=1, min_identities=1, n_boot=n_boot,
            n_perm=n_perm, seed=seed + part, block_size=TABLE,
        )  # fmt: skip
        grouping = first.space.grouping("age")
        evaluated = {
            name: {"age": evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)}
            for name, cube in models.items()
        }
        by_run = runs_of(evaluated, models, settings)
        resampler = Resampler(models | {run.id: run.cube for run in by_run.values()}, settings)
        widths = {}
        for name, run in by_run.items():
            inferred = resampler.infer(
                run.id, run.cube, {"age": (grouping, observed_of(run.evaluated["age"], settings))}
            )
            widths[run.id] = {"age": inferred["age"].observed.widths}
            if name == "a":
                _add_intervals(add, inferred["age"], before)
        if cell.after:
            change = compare(by_run["a"], by_run["b"], widths, resampler)["age"]
            _add_change(add, change, {name: after[name] - before[name] for name in ("tpr", DIFFERENCE)})
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: float(np.nanmean(values)) for name, values in joined.items() if not np.isnan(values).all()}


def _inside(low, high, value) -> np.ndarray:
    """1 where an interval contains the value, 0 where it does not, NaN where there is none."""
    return np.where(np.isnan(low) | np.isnan(high), np.nan, (low - 1e-9 <= value) & (value <= high + 1e-9))


def _add_intervals(add, inferred, value: Mapping[str, np.ndarray]) -> None:
    g, h = inferred.observed.pairs
    if inferred.rates:
        for metric, of in inferred.rates.items():
            add(metric, _inside(of.low, of.high, value[metric]))
        of = inferred.pairs["tpr"]
        add("pairs", _inside(of.low, of.high, value["tpr"][g] - value["tpr"][h]).min(axis=1))
        for name, of in inferred.criteria.items():
            add("gap" if name == DIFFERENCE else name, _inside(of.low, of.high, value[name]))
    if inferred.tests:
        p = inferred.tests[DIFFERENCE].p
        add("rejected", np.where(np.isnan(p), np.nan, p <= 0.05))
        add("q", benjamini_hochberg(p) < FALSE_DISCOVERY_RATE)
        p = inferred.tests[ODDS].p
        add("odds", np.where(np.isnan(p), np.nan, p <= 0.05))


def _add_change(add, change, value: Mapping[str, np.ndarray]) -> None:
    low, high = change.low[DIFFERENCE], change.high[DIFFERENCE]
    add("change", _inside(low, high, value[DIFFERENCE]))
    add("moved", 1 - _inside(low, high, 0))
    add("groups", _inside(change.low["tpr"], change.high["tpr"], value["tpr"]).min(axis=1))
    add("levelled", [bool(flag) for flag in change.worst_group(DIFFERENCE)[3]])
    add("delta", change.delta[DIFFERENCE])
    add("corrected", change.corrected[DIFFERENCE])


# --- the settings -------------------------------------------------------------------------------------

PEOPLE = (10, 20, 60, 200)


#: runs with the same numbers of images, which a plan knows
PLANNED = 25


def planned_power(
    people: tuple[int, ...],
    runs: int,
    rate: float = 0.8,
    images: int | None = None,
    level: float = 0.05,
    seed: int = 0,
    n_perm: int = 399,
) -> dict[str, float]:
    """``gap`` that is planned to be seen with a power of 0.8, and the share of runs in which the test sees it.

    The plan knows people's numbers of images, and that they differ as they do. The two groups that say least have the
    lowest and the highest rate, and the others lie halfway.
    """
    rng = np.random.default_rng(seed)
    assumptions = Assumptions(PlanningSettings(gap=0.05, rate=rate, person_sd=SPREAD), level=level, tests=1)
    seen, gaps = [], []
    for part in range(-(-runs // PLANNED)):
        equal = Cell((rate,) * len(people), people, images=images)
        [cube] = cubes(equal, rng, 1).values()
        settings = FairnessSettings(
            groupings=("age",), levels=dict(cube.space.levels), min_denominator=1, min_identities=1, n_boot=0,
            n_perm=n_perm, seed=seed + part,
        )  # fmt: skip
        grouping = cube.space.grouping("age")
        evaluated = evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)
        row = plan([Design.of(evaluated, DIFFERENCE)], assumptions).iloc[0]
        worst, best = (grouping.groups.index(name) for name in row["hardest_groups"].split(";"))
        rates = np.full(len(people), rate - row["detectable_gap"] / 2)
        rates[worst], rates[best] = rate - row["detectable_gap"], rate
        [cube] = cubes(replace(equal, rates=tuple(rates), images=cube.counts[:, 0].sum(axis=-1)), rng, PLANNED).values()
        evaluated = evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)
        observed = {"age": (grouping, observed_of(evaluated, settings))}
        found = Resampler({"a": cube}, settings).infer("a", cube, observed)["age"]
        seen.append(found.tests[DIFFERENCE].p <= level)
        gaps.append(row["detectable_gap"])
    return {"gap": float(np.mean(gaps)), "seen": float(np.mean(seen))}


POWER = {
    **{f"{g} groups of 20, 30 images each": dict(people=(20,) * g, images=30) for g in (2, 4, 8)},
    **{f"{g} groups of {n}": dict(people=(n,) * g) for g in (2, 4, 8) for n in (60, 200)},
    **{f"{g} groups of {n}, rate 0.95": dict(people=(n,) * g, rate=0.95) for g, n in ((2, 200), (4, 200), (8, 200))},
    **{f"{g} groups of 100, level 0.0125": dict(people=(100,) * g, level=0.0125, n_perm=999) for g in (2, 4, 8)},
    "60, 100, 200 and 400 people": dict(people=(60, 100, 200, 400)),
}  # fmt: skip

EQUAL = {
    f"rate {rate}, {g} groups of {n}": Cell((rate,) * g, (n,) * g)
    for rate in (0.8, 0.98) for g in (2, 4, 8) for n in PEOPLE
}  # fmt: skip
SPANNING = {
    f"{k} levels, {n} people, {spans} levels each": Cell((0.8,) * k, (n,), spans=spans)
    for k, n, spans in ((8, 80, 3), (8, 200, 3), (3, 30, 2), (3, 60, 2), (3, 200, 2))
}  # fmt: skip
OTHER = {
    "10 beside 200 people": Cell((0.8, 0.8), (10, 200)),
    "12 erratic beside 100 steady people": Cell((0.8, 0.8), (12, 100), spread=(3.0, 0.1)),
    "60 beside 60 people, spreads 2.5 and 0.5": Cell((0.8, 0.8), (60, 60), spread=(2.5, 0.5)),
    "30 images each, 4 groups of 20": Cell((0.8,) * 4, (20,) * 4, images=30),
    "one image each, 4 groups of 60": Cell((0.8,) * 4, (60,) * 4, images=1),
}
#: processes that the methods were not adjusted to
HELD_OUT = {
    f"{kind} people, rate {rate}, 4 groups of {n}": Cell((rate,) * 4, (n,) * 4, kind=kind)
    for kind in ("beta", "mixture") for rate in (0.8, 0.98) for n in (20, 60)
}  # fmt: skip
CRITERIA = {
    "2 groups of 20": Cell((0.8,) * 2, (20,) * 2, false=(0.02,) * 2),
    "4 groups of 60": Cell((0.8,) * 4, (60,) * 4, false=(0.02,) * 4),
    "4 groups of 200": Cell((0.8,) * 4, (200,) * 4, false=(0.02,) * 4),
    "8 ages, 80 people": Cell((0.8,) * 8, (80,), false=(0.02,) * 8, spans=3),
    "4 unequal groups of 60": Cell((0.8, 0.65, 0.8, 0.75), (60,) * 4, false=(0.02, 0.05, 0.02, 0.03)),
}
CHANGES = {
    f"gap {before} to {after}, {g} groups of {n}": Cell(
        (0.8, 0.8 - before, *(0.8,) * (g - 2)), (n,) * g, (0.8, 0.8 - after, *(0.8,) * (g - 2))
    )
    for before, after in ((0.15, 0), (0, 0.15), (0, 0), (0.15, 0.15))
    for g in (4, 8)
    for n in ((20, 60, 200) if before != after else (60,))
}  # fmt: skip
#: two methods of three or five trainings; the rate of a group differs by .019 between trainings
METHODS = {
    f"{'real' if real else 'no'} change, {people} people, {seeds} seed{'s' * (seeds > 1)}": Cell(
        (0.8, 0.65 if real else 0.8, 0.8, 0.8), (people // 4,) * 4, (0.8,) * 4, seeds=seeds, luck=0.019
    )
    for real, people in ((False, 240), (False, 800), (True, 240)) for seeds in ((1, 3) if real else (1, 3, 5))
}  # fmt: skip
#: one method of one, three or five trainings, in four groups of 60
SEEDS = {
    f"{what}, {seeds} seed{'s' * (seeds > 1)}": Cell((0.8, low, 0.8, 0.8), (60,) * 4, seeds=seeds, luck=luck)
    for what, low, luck in (
        ("a gap of .1, with the luck of training", 0.7, 0.019),
        ("equal groups, without it", 0.8, 0.0),
        ("equal methods, whose networks differ", 0.8, 0.019),
    )
    for seeds in (1, 3, 5)
}  # fmt: skip
DEPENDENT = {
    "12 erratic beside 100 steady people, 40 attributes": Cell(
        (0.8, 0.8), (12, 100), spread=(3.0, 0.1), attributes=40
    )
}  # fmt: skip

# --- the tables of docs/statistics.md -----------------------------------------------------------------


def _table(first: str, columns: list[str]) -> None:
    print(f"\n| {first} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")


def _row(name: str, values: list[str]) -> None:
    print(f"| {name} | {' | '.join(values)} |", flush=True)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _by_cell(cells: Mapping[str, Cell], columns: Mapping[str, str], runs: int, **settings) -> None:
    """A row per setting; columns: heading -> name in :func:`measure`."""
    _table("setting", list(columns))
    for name, cell in cells.items():
        found = measure(cell, runs, **settings)
        texts = [f"{found[c]:+.3f}" if c in ("delta", "corrected") else _percent(found[c]) for c in columns.values()]
        _row(name, texts)


def constant(runs: int) -> None:
    """Cells of people who belong to one group each, side by side for 10 to 200 people in a group."""
    _table("setting", [f"{n} people" for n in PEOPLE])
    for rate in (0.8, 0.98):
        for g in (2, 4, 8):
            found = [measure(EQUAL[f"rate {rate}, {g} groups of {n}"], runs) for n in PEOPLE]
            for heading, name in (("rate", "tpr"), ("gap", "gap"), ("rejected", "rejected")):
                _row(f"rate {rate}, {g} groups: {heading}", [_percent(one[name]) for one in found])


def criteria(runs: int) -> None:
    found = {name: measure(cell, runs) for name, cell in CRITERIA.items()}
    _table("interval or test", list(found))
    for heading, name in KINDS.items():
        _row(heading, [_percent(one[name]) for one in found.values()])


#: a heading of the table of criteria -> a name in :func:`measure`
KINDS = {
    "true positive rate": "tpr",
    "false positive rate": "fpr",
    "accuracy": "accuracy",
    "prevalence bias": "prevalence_bias",
    "difference of true positive rates": "gap",
    "difference of false positive rates": "fpr_difference",
    "equalized odds, worst difference": ODDS,
    "equalized odds, mean difference": "equalized_odds_difference_mean",
    "ratio of true positive rates": "equal_opportunity_ratio",
    "ratio of false positive rates": "fpr_ratio",
    "equalized odds, mean ratio": "equalized_odds_ratio_mean",
    "worst group, true positives": "tpr_worst_group",
    "worst group, false positives": "fpr_worst_group",
    "mean of groups, true positives": "tpr_macro_mean",
    "mean of groups, false positives": "fpr_macro_mean",
    "difference to all, true positives": "tpr_difference_to_overall",
    "difference to all, false positives": "fpr_difference_to_overall",
    "fairness discrepancy rate": "fairness_discrepancy_rate",
    "inequity rate": "inequity_rate",
    "rejected, true positives": "rejected",
    "rejected, equalized odds": "odds",
}


def powers(runs: int) -> None:
    """Planned and real power."""
    _table("setting", ["planned gap", "seen"])
    for name, cell in POWER.items():
        found = planned_power(runs=runs, **cell)
        _row(name, [f"{found['gap']:.3f}", _percent(found["seen"])])


INTERVALS = {"rate": "tpr", "gap": "gap", "rejected": "rejected"}
OF_CHANGES = {"change": "change", "groups": "groups", "delta": "delta", "corrected": "corrected"}
OF_METHODS = {"change": "change", "groups": "groups", "change found": "moved", "levelling down": "levelled"}

TABLES = {
    "constant": constant,
    "spanning": lambda runs: _by_cell(SPANNING, INTERVALS, runs),
    "other": lambda runs: _by_cell(OTHER | HELD_OUT, INTERVALS, runs),
    "criteria": criteria,
    "changes": lambda runs: _by_cell(CHANGES, OF_CHANGES, runs, n_perm=0),
    "methods": lambda runs: _by_cell(METHODS, OF_METHODS, runs, n_perm=0),
    "seeds": lambda runs: _by_cell(SEEDS, {"rejected": "rejected"}, runs, n_boot=0),
    "dependent": lambda runs: _by_cell(DEPENDENT, {"rejected": "rejected", "q < .05": "q"}, runs, n_boot=0),
    "power": powers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints the tables of docs/statistics.md.")
    parser.add_argument("tables", nargs="*", metavar="table", help=f"of {', '.join(TABLES)}; all without a name")
    parser.add_argument("--runs", type=int, default=400)
    arguments = parser.parse_args()
    unknown = set(arguments.tables) - set(TABLES)
    if unknown:
        parser.error(f"unknown table {sorted(unknown)[0]!r}; choose from {', '.join(TABLES)}")
    for name in arguments.tables or TABLES:
        TABLES[name](arguments.runs)


if __name__ == "__main__":
    main()
