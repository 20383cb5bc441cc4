"""Coverage of the intervals of AUC, EER and calibration errors, and of their gaps, where the truth is known.

python tests/simulated_scores.py [runs]

People have 1 to 800 images each, median 40, and their own share of positives. Scores are logistic-normal: on the logit
scale a person moves all positives and all negatives by effects of standard deviation 1.5, which correlate by 0.3, and every
image has noise of standard deviation 1. Every attribute of a simulated table is one independent run. Prints the table of
docs/statistics.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtr, ndtri

from evenface.fairness import FairnessSettings
from evenface.fairness.cube import CellSpace, count
from evenface.fairness.evaluated import evaluate_grouping
from evenface.fairness.inputs import ScoreColumns, Scored
from evenface.fairness.score_inference import COMPARED, ScoreInference
from evenface.fairness.scores import AUC, ECE, EER, SIGNED, score_statistics

SPREAD, NOISE, CORRELATION = 1.5, 1.0, 0.3
TOTAL = float(np.hypot(SPREAD, NOISE))
POSITIVE = 0.4
SHARED = 10  # runs with the same people and images

_GRID = np.linspace(-14, 14, 20_001)


@dataclass(frozen=True)
class Cell:
    """One setting: AUC and people of every group, and by how much their scores are too high on the logit scale."""

    auc: tuple[float, ...]
    people: tuple[int, ...]
    shift: tuple[float, ...] | None = None


def simulate(cell: Cell, rng: np.random.Generator, runs: int):
    """A statistic of ``runs`` attributes; the distance of the classes of every group, and their shifts."""
    levels = tuple("ABCDEFGH"[: len(cell.people)])
    group_of_person = np.repeat(np.arange(len(levels)), cell.people)
    n = len(group_of_person)
    images = np.clip(np.round(np.exp(rng.normal(np.log(40), 1.2, n))), 1, 800).astype(int)
    share = rng.beta(2, 3, n)
    person = np.repeat(np.arange(n), images)
    positive = rng.random(len(person)) < share[person]
    distance = np.array([ndtri(a) * np.sqrt(2) * TOTAL for a in cell.auc])
    shift = np.array(cell.shift or (0.0,) * len(levels))
    label = np.where(positive, 1, -1).astype(np.int8)
    g = group_of_person[person]
    space = CellSpace({"ethnicity": levels})
    names = np.array([f"p{k:05d}" for k in range(n)], dtype=object)[person]
    frame, labels = {}, {}
    for run in range(runs):
        common, own = rng.normal(size=n), rng.normal(size=(2, n))
        effect = SPREAD * (np.sqrt(CORRELATION) * common + np.sqrt(1 - CORRELATION) * own)
        moved = effect[positive.astype(int), person] + rng.normal(0, NOISE, len(person))
        frame[f"score_a{run:03d}"] = expit(shift[g] + label * distance[g] / 2 + moved)
        labels[f"a{run:03d}"] = label
    frame = pd.DataFrame(frame)
    attributes = tuple(labels)
    cube = count(names, g, space, ((a, frame[f"score_{a}"] >= 0.5, label) for a in attributes))
    rows = np.arange(len(person))
    columns = ScoreColumns(cube.pair_of(names, g), frame, {a: f"score_{a}" for a in attributes}, rows, labels, rows)
    return Scored(cube, dict.fromkeys(attributes, 0.5), "identity", {}, 0, 0, columns), distance, shift


def truth(metric: str, distance: np.ndarray, shift: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(G,) the value in the population; bins by ``edges``."""
    if metric == AUC:
        return ndtr(distance / TOTAL / np.sqrt(2))
    if metric == EER:
        return ndtr(-distance / TOTAL / 2)
    found = []
    for d, s in zip(distance, shift, strict=True):
        density = [np.exp(-(((_GRID - s - sign * d / 2) / TOTAL) ** 2) / 2) for sign in (-1, 1)]
        density = [weight * part / part.sum() for weight, part in zip((1 - POSITIVE, POSITIVE), density, strict=True)]
        error = expit(_GRID) * (density[0] + density[1]) - density[1]
        if metric == SIGNED:
            found.append(error.sum())
        else:
            cuts = np.searchsorted(_GRID, logit(edges))
            found.append(sum(abs(part.sum()) for part in np.split(error, cuts)))
    return np.array(found)


def measure(cell: Cell, runs: int, seed: int = 0, n_boot: int = 500) -> dict[str, float]:
    """For each metric the shares of runs whose interval of a group, or of the gap, contains the truth, and p <= 0.05."""
    rng = np.random.default_rng(seed)
    hits: dict[str, list] = {}
    for part in range(-(-runs // SHARED)):
        scored, distance, shift = simulate(cell, rng, SHARED)
        settings = FairnessSettings(
            groupings=("ethnicity",), levels=dict(scored.cube.space.levels), min_denominator=1, min_identities=1,
            n_boot=n_boot, seed=seed + part,
        )  # fmt: skip
        evaluated = {"ethnicity": evaluate_grouping(scored, scored.cube.space.grouping("ethnicity"), settings)}
        statistics = score_statistics(scored, evaluated, settings)
        inference = ScoreInference(statistics.groupings["ethnicity"], settings)
        for metric in COMPARED:
            true = np.stack([truth(metric, distance, shift, edges) for edges in statistics.edges])
            low, high = inference.interval(metric)
            hits.setdefault(metric, []).append((low - 1e-9 <= true) & (true <= high + 1e-9))
            gap, of_gap = inference.gap(metric), np.ptp(true, axis=1)
            hits.setdefault(f"{metric} gap", []).append((gap.low - 1e-9 <= of_gap) & (of_gap <= gap.high + 1e-9))
            hits.setdefault(f"{metric} rejected", []).append(gap.p <= 0.05)
    return {name: float(np.mean(np.concatenate([np.ravel(p) for p in parts]))) for name, parts in hits.items()}


CELLS = {
    **{
        f"{g} groups of {n}, AUC {auc}": Cell((auc,) * g, (n,) * g)
        for auc in (0.8, 0.95) for g in (2, 4, 8) for n in (10, 20, 60, 200)
    },
    "10 beside 200 people, AUC 0.8": Cell((0.8, 0.8), (10, 200)),
    "20 beside 200 people, scores shifted by 1": Cell((0.8, 0.8), (20, 200), (0, 1.0)),
    "AUC 0.9 and 0.75, 4 groups of 60": Cell((0.9, 0.75, 0.9, 0.9), (60,) * 4),
}  # fmt: skip

COLUMNS = (
    AUC,
    f"{AUC} gap",
    f"{AUC} rejected",
    EER,
    f"{EER} gap",
    f"{EER} rejected",
    ECE,
    f"{ECE} gap",
    SIGNED,
    f"{SIGNED} gap",
)


def main(runs: int) -> None:
    print(f"| setting | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, cell in CELLS.items():
        found = measure(cell, runs)
        print(f"| {name} | {' | '.join(f'{100 * found[c]:.1f}' for c in COLUMNS)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
