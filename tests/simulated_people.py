"""Coverage of intervals, size of tests and their power, where the truth is known.

python tests/simulated_people.py [runs]

People differ as logistic-normal ones of standard deviation 1.5 do, and have 1 to 800 images each, median 40, as in
collections of photographs. Every attribute of a simulated table is one independent run; people's numbers of images are
drawn anew for every ``SHARED`` runs. Prints the tables of docs/statistics.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from evenface.fairness import FairnessSettings
from evenface.fairness.comparison import compare
from evenface.fairness.cube import CellSpace, Cube
from evenface.fairness.evaluated import evaluate_grouping, observed_of
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import Scored
from evenface.fairness.planning import Assumptions, Design, plan
from evenface.fairness.runs import runs_of
from evenface.fairness.settings import PlanningSettings

SPREAD = 1.5
SHARED = 25  # runs with the same numbers of images
DIFFERENCE = "equal_opportunity_difference"

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)


@dataclass(frozen=True)
class Cell:
    """One setting: true rates of the groups and their people; ``after`` the rates of a second model, if any.

    spread  standard deviation of people on the logit scale, for all groups or one for each
    images  images of everybody, or of each person; None for 1 to 800, median 40
    """

    rates: tuple[float, ...]
    people: tuple[int, ...]
    after: tuple[float, ...] | None = None
    spread: float | tuple[float, ...] = SPREAD
    images: int | np.ndarray | None = None


@cache
def intercept(rate: float, spread: float) -> float:
    """The mean on the logit scale at which people succeed with probability ``rate`` on average."""
    return brentq(lambda m: float(_WEIGHTS @ expit(m + spread * _NODES) / _WEIGHTS.sum()) - rate, -30, 30)


def cubes(cell: Cell, rng: np.random.Generator, runs: int) -> list[Cube]:
    """Cubes of one or two models; ``runs`` attributes, each an independent run."""
    n, levels = sum(cell.people), tuple("ABCDEFGHIJKLMNOP"[: len(cell.people)])
    group = np.repeat(np.arange(len(cell.people)), cell.people)
    images = np.clip(np.round(np.exp(rng.normal(np.log(40), 1.2, n))), 1, 800).astype(int)
    if cell.images is not None:
        images[:] = cell.images
    spreads = np.broadcast_to(cell.spread, len(cell.people))
    person = rng.normal(size=(n, runs))
    found = []
    for rates in (cell.rates, cell.after):
        if rates is None:
            continue
        mean = np.array([intercept(rate, float(spread)) for rate, spread in zip(rates, spreads, strict=True)])
        effect = 0.8 * person + 0.6 * rng.normal(size=(n, runs)) if cell.after else person
        counts = np.zeros((n, runs, 6), dtype=np.int32)
        counts[..., 3] = rng.binomial(images[:, None], expit(mean[group, None] + spreads[group, None] * effect))
        counts[..., 2] = images[:, None] - counts[..., 3]
        names = np.array([f"p{k:05d}" for k in range(n)], dtype=object)
        attributes = tuple(f"a{k:03d}" for k in range(runs))
        found.append(Cube(CellSpace({"ethnicity": levels}), attributes, names, group, np.arange(n), counts))
    return found


def measure(cell: Cell, runs: int, seed: int = 0, n_boot: int = 500, n_perm: int = 199) -> dict[str, float]:
    """Shares of runs: ``rate`` (of all groups' intervals), ``pairs`` (all at once), ``gap``, ``rejected``, ``change``.

    The first three and the last are of intervals that contain the truth; ``rejected`` is of tests with p <= 0.05.
    """
    rng = np.random.default_rng(seed)
    truth = np.array(cell.rates)
    hits: dict[str, list] = {}
    for part in range(-(-runs // SHARED)):
        models = cubes(cell, rng, SHARED)
        settings = FairnessSettings(
            groupings=("ethnicity",), levels=dict(models[0].space.levels), min_denominator=1, min_identities=1,
            n_boot=n_boot, n_perm=n_perm, seed=seed + part,
        )  # fmt: skip
        grouping = models[0].space.grouping("ethnicity")
        cubes_of = dict(zip("ab", models, strict=False))
        evaluated = {
            name: {"ethnicity": evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)}
            for name, cube in cubes_of.items()
        }
        resampler, stretch = Resampler(cubes_of, settings), {}
        for name, cube in cubes_of.items():
            observed = {"ethnicity": (grouping, observed_of(evaluated[name]["ethnicity"], settings))}
            found = resampler.infer(name, cube, observed)["ethnicity"]
            stretch[name] = {"ethnicity": found.stretch}
            if name == "a":
                g, h = found.observed.pairs
                of = found.rates["tpr"], found.pairs["tpr"], found.criteria[DIFFERENCE]
                values = truth, truth[g] - truth[h], np.ptp(truth)
                inside = [
                    (i.low - 1e-9 <= value) & (value <= i.high + 1e-9) for i, value in zip(of, values, strict=True)
                ]
                hits.setdefault("rate", []).append(inside[0])
                hits.setdefault("pairs", []).append(inside[1].all(axis=1))
                hits.setdefault("gap", []).append(inside[2])
                if n_perm:
                    hits.setdefault("rejected", []).append(found.tests[DIFFERENCE].p <= 0.05)
        if cell.after:
            runs = runs_of(evaluated, cubes_of, settings)
            change = compare(runs["a"], runs["b"], stretch, resampler)["ethnicity"]
            value = np.ptp(cell.after) - np.ptp(truth)
            low, high = change.low[DIFFERENCE], change.high[DIFFERENCE]
            hits.setdefault("change", []).append((low <= value) & (value <= high))
            groups = np.array(cell.after) - truth
            inside = (change.low["tpr"] <= groups) & (groups <= change.high["tpr"])
            hits.setdefault("groups", []).append(inside.all(axis=1))
    return {name: float(np.mean(np.concatenate([np.ravel(p) for p in parts]))) for name, parts in hits.items()}


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
    for part in range(-(-runs // SHARED)):
        equal = Cell((rate,) * len(people), people, images=images)
        [cube] = cubes(equal, rng, 1)
        settings = FairnessSettings(
            groupings=("ethnicity",), levels=dict(cube.space.levels), min_denominator=1, min_identities=1, n_boot=0,
            n_perm=n_perm, seed=seed + part,
        )  # fmt: skip
        grouping = cube.space.grouping("ethnicity")
        evaluated = evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)
        row = plan([Design.of(evaluated, DIFFERENCE)], assumptions).iloc[0]
        worst, best = (grouping.groups.index(name) for name in row["hardest_groups"].split(";"))
        rates = np.full(len(people), rate - row["detectable_gap"] / 2)
        rates[worst], rates[best] = rate - row["detectable_gap"], rate
        [cube] = cubes(replace(equal, rates=tuple(rates), images=cube.counts[:, 0].sum(axis=-1)), rng, SHARED)
        evaluated = evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)
        observed = {"ethnicity": (grouping, observed_of(evaluated, settings))}
        found = Resampler({"a": cube}, settings).infer("a", cube, observed)["ethnicity"]
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
    f"{g} groups of {n}, rate {rate}": Cell((rate,) * g, (n,) * g)
    for rate in (0.8, 0.98) for g in (2, 4, 8) for n in (10, 20, 60, 200)
}  # fmt: skip
OTHER = {
    "10 beside 200 people": Cell((0.8, 0.8), (10, 200)),
    "12 erratic beside 100 steady people": Cell((0.8, 0.8), (12, 100), spread=(3.0, 0.1)),
    "60 beside 60 people, spreads 2.5 and 0.5": Cell((0.8, 0.8), (60, 60), spread=(2.5, 0.5)),
    "30 images each, 4 groups of 20": Cell((0.8,) * 4, (20,) * 4, images=30),
    "one image each, 4 groups of 60": Cell((0.8,) * 4, (60,) * 4, images=1),
    "gap .15, 4 groups of 60": Cell((0.8, 0.65, 0.8, 0.8), (60,) * 4),
}
CHANGES = {
    f"gap {before} to {after}, {g} groups of {n}": Cell(
        (0.8, 0.8 - before, *(0.8,) * (g - 2)), (n,) * g, (0.8, 0.8 - after, *(0.8,) * (g - 2))
    )
    for g in (2, 4, 8) for n in (20, 60, 200) for before, after in ((0.15, 0), (0, 0.15), (0, 0), (0.15, 0.15))
}  # fmt: skip


def main(runs: int) -> None:
    for cells, columns in ((EQUAL | OTHER, ("rate", "pairs", "gap", "rejected")), (CHANGES, ("change", "groups"))):
        print(f"\n| setting | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        for name, cell in cells.items():
            found = measure(cell, runs, n_perm=199 if "rejected" in columns else 0)
            print(f"| {name} | {' | '.join(f'{100 * found[c]:.1f}' for c in columns)} |", flush=True)
    print("\n| setting | planned gap | seen |\n|---|---|---|")
    for name, cell in POWER.items():
        found = planned_power(runs=runs, **cell)
        print(f"| {name} | {found['gap']:.3f} | {100 * found['seen']:.1f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
