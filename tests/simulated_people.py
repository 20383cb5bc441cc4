"""Coverage of intervals and size of tests, where the truth is known.

python tests/simulated_people.py [table ...] [--runs 400]

Prints the tables of docs/statistics.md, or only those that are named. People differ as logistic-normal ones of standard
deviation 1.5 do, and have 1 to 800 images each, median 40, as in collections of photographs. Every attribute of a
simulated table is one independent run; people's numbers of images are drawn anew for every ``SHARED`` runs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
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
from evenface.fairness.runs import runs_of

SPREAD = 1.5
SHARED = 25  # runs with the same numbers of images
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
    images     of everybody; None for 1 to 800, median 40
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
    images: int | None = None
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
    images = np.clip(np.round(np.exp(rng.normal(np.log(40), 1.2, n))), 1, 800).astype(int)
    if cell.images is not None:
        images[:] = cell.images
    if cell.spans == 1:
        group, person = np.repeat(np.arange(k), cell.people), np.arange(n)
    else:
        first = rng.integers(0, k - cell.spans + 1, n)
        of = rng.multinomial(images, np.full(cell.spans, 1 / cell.spans))
        table = np.zeros((k, n), dtype=int)
        for step in range(cell.spans):
            table[first + step, np.arange(n)] = of[:, step]
        group, person = np.nonzero(table)
        images = table[group, person]
    images = images[:, None]
    positive = rng.binomial(images, 0.5, (len(images), runs)) if cell.false else images
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


def measure(cell: Cell, runs: int, seed: int = 0, n_boot: int = 500, n_perm: int = 199) -> dict[str, float]:
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

    shared = cell.attributes or SHARED
    for part in range(runs if cell.attributes else -(-runs // shared)):
        models = cubes(cell, rng, shared)
        first = next(iter(models.values()))
        settings = FairnessSettings(
            groupings=("age",), levels=dict(first.space.levels), min_denominator=1, min_identities=1, n_boot=n_boot,
            n_perm=n_perm, seed=seed + part,
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
    return {name: float(np.nanmean(np.concatenate(parts))) for name, parts in found.items()}


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


PEOPLE = (10, 20, 60, 200)
EQUAL = {
    f"{g} groups of {n}, rate {rate}": Cell((rate,) * g, (n,) * g)
    for rate in (0.8, 0.98) for g in (2, 4, 8) for n in PEOPLE
}  # fmt: skip
