"""Coverage of corrected rates and gaps, where the truth and the annotator's errors are known.

python tests/simulated_annotators.py [runs]

People are those of ``simulated_people``. An annotator assigns the group of every image; the evaluation knows its errors
only from validation counts. Every attribute of a simulated table is one run with its own validation; people's numbers of
images and the assignments are drawn anew for every ``SHARED`` runs. Prints the table of docs/statistics.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
from scipy.special import expit
from simulated_people import DIFFERENCE, SPREAD, intercept

from evenface.fairness import FairnessSettings
from evenface.fairness.annotator_errors import UNTESTED, AnnotatorErrors, _matrix_of
from evenface.fairness.corrected import corrected
from evenface.fairness.correction import Correction
from evenface.fairness.cube import CellSpace, Cube
from evenface.fairness.evaluated import evaluate_grouping, observed_of
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import Scored

SHARED = 4


@dataclass(frozen=True)
class Cell:
    """One setting: true rates and people of the groups, and the annotator.

    right, wrong  its accuracy where the classifier is right and where it is wrong, for all groups or each
    alike         share of images whose assignment is that of their person
    validated     validation images per level, one of a person; by_outcome  whether they are counted by outcome
    """

    rates: tuple[float, ...]
    people: tuple[int, ...]
    right: float = 0.8
    wrong: float | None = None
    alike: float = 0.0
    validated: int = 500
    by_outcome: bool = False


def confusion(accuracy: float, groups: int) -> np.ndarray:
    return np.full((groups, groups), (1 - accuracy) / (groups - 1)) * (1 - np.eye(groups)) + np.eye(groups) * accuracy


def measure(cell: Cell, runs: int, seed: int = 0, n_boot: int = 300) -> dict[str, float]:
    """Shares of intervals that hold the truth (``rate``, ``pairs``, ``gap``) and of tests with p <= .05 (``rejected``).

    ``none`` is the share of runs without an interval, because the correction failed or too many replicates did; the other
    shares are of the rest. ``error`` is the mean error of the gap, ``sensitive`` the mean width of its range.
    """
    rng = np.random.default_rng(seed)
    truth, k = np.array(cell.rates), len(cell.people)
    levels = tuple("ABCDEFGH"[:k])
    matrices = np.stack([confusion(cell.right, k), confusion(cell.right if cell.wrong is None else cell.wrong, k)])
    hits: dict[str, list] = {}
    for part in range(-(-runs // SHARED)):
        group = np.repeat(np.arange(k), cell.people)
        n = len(group)
        images = np.clip(np.round(np.exp(rng.normal(np.log(40), 1.2, n))), 1, 800).astype(int)
        mean = np.array([intercept(rate, SPREAD) for rate in cell.rates])
        chance = expit(mean[group, None] + SPREAD * rng.normal(size=(n, SHARED)))
        # every attribute has images of its own, because right and wrong answers are assigned differently
        counts = np.zeros((k, n, SHARED, 6), dtype=np.int32)
        for a in range(SHARED):
            hit = rng.binomial(images, chance[:, a])
            for outcome, number in ((3, hit), (2, images - hit)):
                rows = matrices[0 if outcome == 3 else 1][group]
                shared = rng.binomial(number, cell.alike)
                counts[:, :, a, outcome] += rng.multinomial(number - shared, rows).T
                of_person = (rng.random((n, 1)) > rows.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
                counts[of_person, np.arange(n), a, outcome] += shared
        present = counts.sum(axis=(2, 3)) > 0
        cells, people = np.nonzero(present)
        names = np.array([f"p{i:05d}" for i in range(n)], dtype=object)
        attributes = tuple(f"a{a}" for a in range(SHARED))
        cube = Cube(CellSpace({"ethnicity": levels}), attributes, names, cells, people, counts[present])

        settings = FairnessSettings(
            groupings=("ethnicity",), levels={"ethnicity": levels}, min_denominator=1, min_identities=1, n_boot=n_boot,
            n_perm=n_boot, seed=seed + part,
        )  # fmt: skip
        grouping = cube.space.grouping("ethnicity")
        result = evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)
        resampler = Resampler({"a": cube}, settings)
        resampler.errors = {"ethnicity": validation(cell, matrices, truth, attributes, rng)}
        plain = observed_of(result, settings)
        correction = Correction(grouping, (k,), resampler.errors, resampler.confusion_draws, attributes)
        evaluated, observed = corrected(plain, result, correction, settings)
        found = resampler.infer("a", cube, {"ethnicity": (grouping, plain)}, {"ethnicity": observed})["ethnicity"]
        found = found.corrected
        g, h = observed.pairs
        gap = found.criteria[DIFFERENCE]
        good = ~np.isnan(gap.low)
        of = found.rates["tpr"], found.pairs["tpr"], gap
        for name, one, value in zip(
            ("rate", "pairs", "gap"), of, (truth, truth[g] - truth[h], np.ptp(truth)), strict=True
        ):
            inside = ((one.low - 1e-9 <= value) & (value <= one.high + 1e-9))[good]
            hits.setdefault(name, []).append(inside.all(axis=1) if name == "pairs" else inside)
        low, high = evaluated.correction.sensitivity.get(DIFFERENCE, (np.full(SHARED, np.nan),) * 2)
        more = {
            "none": ~good,
            "error": (np.ptp(observed.rates.x["tpr"], axis=1) - np.ptp(truth))[good],
            "rejected": (found.tests[DIFFERENCE].p <= 0.05)[good],
            "sensitive": (high - low)[good],
        }
        for name, values in more.items():
            hits.setdefault(name, []).append(values)
    return {name: float(np.mean(np.concatenate([np.ravel(p) for p in parts]))) for name, parts in hits.items()}


def validation(cell: Cell, matrices, truth, attributes, rng) -> AnnotatorErrors:
    """Drawn validation counts, other ones for every attribute."""
    k = len(truth)
    counts = np.zeros((len(attributes), 2, k, k))
    for a, t in np.ndindex(len(attributes), k):
        right = rng.binomial(cell.validated, truth[t])
        counts[a, 0, t] = rng.multinomial(right, matrices[0][t])
        counts[a, 1, t] = rng.multinomial(cell.validated - right, matrices[1][t])
    together = counts.sum(axis=1, keepdims=True)
    counts = np.concatenate([counts, together], axis=1) if cell.by_outcome else together
    unknown = np.full(len(attributes), np.nan), np.full(len(attributes), UNTESTED, dtype=object)
    kind = ("correct", "wrong") if cell.by_outcome else ()
    return AnnotatorErrors("simulated", counts, _matrix_of(kind), attributes, *unknown, "image", 0)


CELLS = {
    f"{g} groups of {n}, accuracy {accuracy}, {validated} validated": Cell(
        (0.8,) * g, (n,) * g, accuracy, validated=validated
    )
    for g in (2, 4) for n in (20, 60, 200) for accuracy, validated in ((0.6, 500), (0.8, 100), (0.8, 2000), (0.95, 500))
}  # fmt: skip
GAP = Cell((0.8, 0.65, 0.8, 0.8), (60,) * 4)
CELLS |= {
    "gap .15, 4 groups of 60, accuracy 0.8": GAP,
    "gap .15, 4 groups of 200, accuracy 0.6": replace(GAP, people=(200,) * 4, right=0.6),
    "gap .15, 2 groups of 200, accuracy 0.6, 100 validated": Cell((0.8, 0.65), (200, 200), 0.6, validated=100),
    "gap .15, 4 groups of 60, errors half alike": replace(GAP, alike=0.5),
    "gap 0, 4 groups of 60, errors half alike": Cell((0.8,) * 4, (60,) * 4, alike=0.5),
    "gap 0, 2 groups of 60, errors all alike": Cell((0.8,) * 2, (60,) * 2, alike=1),
    "gap .15, 4 groups of 200, errors by outcome": replace(
        GAP, people=(200,) * 4, right=0.9, wrong=0.7, by_outcome=True
    ),
    "gap 0, 4 groups of 60, errors by outcome": Cell((0.8,) * 4, (60,) * 4, 0.9, 0.7, by_outcome=True),
}


def main(runs: int, start: int = 0, step: int = 1) -> None:
    columns = "rate", "pairs", "gap", "rejected", "none"
    print(f"\n| setting | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, cell in list(CELLS.items())[start::step]:
        found = measure(cell, runs)
        print(f"| {name} | {' | '.join(f'{100 * found[c]:.1f}' for c in columns)} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:])) if len(sys.argv) > 1 else main(400)
