"""Fairness statistics at the sizes of published test sets, and compared with fairlearn on the same data.

python benchmarks/fairness.py [small] [large] [fairlearn]

small      169,396 images x 40 attributes x 500 identities, 7 groupings of 59 groups, 1000 replicates, 1000 permutations
large      3.3 million images x 47 attributes x 9,131 identities, likewise
fairlearn  200,000 images, 1 attribute, 8 groups: the time of a replicate of ours and of fairlearn's

The clock starts with float32 scores, int8 labels and cells in memory. It runs on two threads, and includes all of
``evaluate`` for one model, except the checks of its input tables:

counting       decisions, and their outcomes by person
rates          rates and support of all groups
scores         the tables of AUC, EER, calibration and curves by threshold, with intervals and tests
intervals      replicates and permutations; intervals of rates, pairs and criteria, and their tests
intersections  the table of shrunken rates of combined groups
scan           the table of all subgroups
rows           the other tables, as data frames: rates, criteria, pairs of groups, label coverage

The last line leaves out ``counting`` and ``rows``, in which no statistics are. Processor time stands beside the time of
the clock. Peak memory is that of the whole process, with its input.
"""

import os
import resource
import sys
import time
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the library works on blocks of attributes in its own threads
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import pandas as pd
from scipy.special import expit

from evenface.decisions import selected
from evenface.fairness import FairnessSettings, evaluate
from evenface.fairness.cube import CellSpace, count
from evenface.fairness.evaluated import evaluate_groupings, key_of
from evenface.fairness.gap_tables import gap_rows
from evenface.fairness.group_tables import coverage_rows, group_rows, pairwise_rows
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import ScoreColumns, Scored, TestSet
from evenface.fairness.intersection_table import intersection_rows
from evenface.fairness.runs import runs_of
from evenface.fairness.score_tables import ScoreTables
from evenface.fairness.tables import scan_table
from evenface.fairness.threads import in_threads

THREADS = 2
# 2, 3 and 4 levels with their products: 59 groups
LEVELS = {"gender": ("female", "male"), "age": ("young", "middle_aged", "senior"), "ethnicity": ("a", "b", "c", "d")}
MODEL = "model"


class Clock:
    """Seconds of the clock and of the processor by part."""

    def __init__(self):
        self.parts: dict[str, np.ndarray] = {}

    @contextmanager
    def part(self, name: str):
        before = time.perf_counter(), time.process_time()
        yield
        took = np.subtract((time.perf_counter(), time.process_time()), before)
        self.parts[name] = self.parts.get(name, 0) + took

    def show(self, title: str, *but: str) -> None:
        print(title)
        for name, (wall, processor) in self.parts.items():
            print(f"  {name:<14} {wall:7.2f} s, processor {processor:7.2f} s")
        wall, processor = sum(took for name, took in self.parts.items() if name not in but)
        print(f"  all but {' and '.join(but)}: {wall:.2f} s, processor {processor:.2f} s")


def simulated(n_images: int, n_attributes: int, n_identities: int) -> tuple[TestSet, pd.DataFrame, np.ndarray]:
    """Labels and groups, scores and identities of people of one demographic cell each, whose rates differ."""
    rng = np.random.default_rng(0)
    space = CellSpace(LEVELS)
    person = np.sort(rng.integers(0, n_identities, n_images))
    known = np.array([np.ravel_multi_index((g, a, e), (3, 4, 5)) for g in range(2) for a in range(3) for e in range(4)])
    cells = known[rng.integers(0, len(known), n_identities)][person]
    people = np.array([f"n{k:06d}" for k in range(n_identities)], dtype=object)[person]
    labels, scores = {}, {}
    for k in range(n_attributes):
        name = f"attribute_{k:02d}"
        labels[name] = label = rng.integers(-1, 2, n_images).astype(np.int8)
        skill = rng.normal(1.2, 0.6, n_identities).astype(np.float32)[person]
        scores[f"score_{name}"] = expit(label * skill + rng.standard_normal(n_images, dtype=np.float32))
    sources = dict.fromkeys(labels, "")
    test = TestSet(pd.RangeIndex(n_images), labels, sources, cells, space, "", "simulated", "test", {})
    return test, pd.DataFrame(scores, copy=False), people


def everything(n_images: int, n_attributes: int, n_identities: int) -> None:
    test, frame, people = simulated(n_images, n_attributes, n_identities)
    settings, clock, labels = FairnessSettings(levels=LEVELS), Clock(), test.labels
    with clock.part("counting"):
        outcomes = ((a, selected(frame[f"score_{a}"].to_numpy(), 0.5), labels[a]) for a in labels)
        cube = count(people, test.cells, test.space, outcomes)
        columns = {a: f"score_{a}" for a in labels}
        every = slice(None)
        scores = ScoreColumns(cube.pair_of(people, test.cells), frame, columns, every, labels, every)
        scored = {MODEL: Scored(cube, dict.fromkeys(labels, 0.5), "identity", {}, 0, scores=scores)}
    with clock.part("rates"):
        groupings = map(test.space.grouping, settings.groupings)
        evaluated = {MODEL: evaluate_groupings(scored[MODEL], groupings, settings, THREADS)}
    with clock.part("scores"):
        tables = ScoreTables([MODEL], test, settings, THREADS)
        tables.add(MODEL, scored[MODEL], evaluated[MODEL])
        runs = runs_of(evaluated, {MODEL: cube}, settings)
        tables.tables(runs, scored)
    with clock.part("intervals"):
        resampler = Resampler({MODEL: cube}, settings, THREADS)
        inferred = resampler.infer(MODEL, cube, resampler.observed(evaluated[MODEL]))
        widths = {MODEL: {name: found.observed.widths for name, found in inferred.items()}}
    keyed = [(key_of(MODEL, test, r), r, inferred[g]) for g, r in evaluated[MODEL].items()]
    with clock.part("intersections"):
        combined = [one for one in keyed if "*" in one[1].grouping.name]
        in_threads(THREADS, lambda one: intersection_rows(*one, LEVELS, settings), combined)
    with clock.part("scan"):
        scan_table(scored, evaluated, widths, test, resampler)
    with clock.part("rows"):
        for key, result, inference in keyed:
            group_rows(key, result, inference, scored[MODEL], test, settings)
            gap_rows(key, result, inference, scored[MODEL], settings)
            pairwise_rows(key, result, inference, settings)
            coverage_rows(key, result)
    groups = sum(result.n_groups for _, result, _ in keyed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    clock.show(
        f"{n_images:,} images x {n_attributes} attributes x {n_identities:,} identities, {groups} groups, "
        f"{settings.n_boot} replicates, {settings.n_perm} permutations; peak memory {peak:.2f} GiB",
        "counting", "rows",
    )  # fmt: skip


def beside_fairlearn(n_images: int = 200_000, n_groups: int = 8, replicates: int = 10) -> None:
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

    rng = np.random.default_rng(0)
    person = rng.integers(0, 500, n_images)
    truth, decided = rng.integers(0, 2, n_images), rng.integers(0, 2, n_images)
    group = np.array([f"g{k}" for k in range(n_groups)])[person % n_groups]
    ids = np.char.add("i", np.arange(n_images).astype(str))
    started = time.perf_counter()
    MetricFrame(
        metrics={"selection_rate": selection_rate, "tpr": true_positive_rate, "fpr": false_positive_rate},
        y_true=truth, y_pred=decided, sensitive_features=group, n_boot=replicates, ci_quantiles=[0.025, 0.975],
        random_state=0,
    )  # fmt: skip
    theirs = (time.perf_counter() - started) / replicates
    predictions = pd.DataFrame({"image_id": ids, "identity_id": person.astype(str), "pred_Smiling": decided})
    labels = pd.DataFrame({"image_id": ids, "Smiling": 2 * truth - 1})
    groups = pd.DataFrame({"image_id": ids, "ethnicity": group})
    levels = {"ethnicity": tuple(f"g{k}" for k in range(n_groups))}
    started = time.perf_counter()
    evaluate(predictions, labels, groups, FairnessSettings(groupings=("ethnicity",), levels=levels, n_perm=0))
    ours = time.perf_counter() - started
    print(
        f"{n_images:,} images, 1 attribute, {n_groups} groups: fairlearn {theirs * replicates:.2f} s for {replicates} "
        f"replicates of 3 metrics, {theirs * 100:.1f} s for 100 and {theirs * 1000:.0f} s for 1000 by proportion; evenface "
        f"{ours:.2f} s for 1000 replicates of 14 metrics, reading and counting included: {theirs * 1000 / ours:,.0f} to 1"
    )


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["small", "large", "fairlearn"]
    if "small" in chosen:
        everything(169_396, 40, 500)
    if "fairlearn" in chosen:
        beside_fairlearn()
    if "large" in chosen:
        everything(3_300_000, 47, 9131)
