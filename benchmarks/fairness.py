"""Fairness statistics at the sizes of published test sets, and compared with fairlearn on the same data.

python benchmarks/fairness.py [small] [large] [fairlearn]

small      169,396 images x 40 attributes x 500 identities, 7 groupings of 59 groups, 1000 replicates
large      3.3 million images x 47 attributes x 9,131 identities, likewise
fairlearn  200,000 images, 1 attribute, 8 groups: the time of a replicate of ours and of fairlearn's

Times are those of two threads, and begin when scores, labels and groups are in memory and have been counted. Peak
memory is that of the whole process.
"""

import os
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the library works on blocks of attributes in its own threads
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import pandas as pd

from evenface.fairness import FairnessSettings, evaluate
from evenface.fairness.cube import CellSpace, Cube, count
from evenface.fairness.evaluated import evaluate_grouping, observed_of
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import Scored

THREADS = 2
# 2, 3 and 4 levels with their products: 59 groups
LEVELS = {"gender": ("female", "male"), "age": ("young", "middle_aged", "senior"), "ethnicity": ("a", "b", "c", "d")}


def simulated_cube(n_images: int, n_attributes: int, n_identities: int) -> Cube:
    """Outcomes of people of one demographic cell each, whose rates differ."""
    rng = np.random.default_rng(0)
    space = CellSpace(LEVELS)
    person = np.sort(rng.integers(0, n_identities, n_images))
    known = np.array([np.ravel_multi_index((g, a, e), (3, 4, 5)) for g in range(2) for a in range(3) for e in range(4)])
    cell = known[rng.integers(0, len(known), n_identities)][person]
    names = np.array([f"n{k:06d}" for k in range(n_identities)], dtype=object)[person]

    def outcomes():
        for attribute in range(n_attributes):
            label = rng.integers(-1, 2, n_images).astype(np.int8)
            skill = rng.beta(8, 2, n_identities)[person]
            correct = rng.random(n_images) < skill
            yield f"attribute_{attribute:02d}", np.where(label > 0, correct, ~correct).astype(np.int8), label

    return count(names, cell, space, outcomes())


def statistics(cube: Cube, settings: FairnessSettings) -> None:
    started = time.perf_counter()
    scored = Scored(cube, {}, "identity", {}, 0)
    results = {name: evaluate_grouping(scored, cube.space.grouping(name), settings) for name in settings.groupings}
    observed = {name: (r.grouping, observed_of(r, settings)) for name, r in results.items()}
    resampler = Resampler({"model": cube}, settings, THREADS)
    inferred = resampler.infer("model", cube, observed)
    seconds = time.perf_counter() - started
    groups = sum(result.observed.n_groups for result in inferred.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{cube.n_images:>9,} images x {len(cube.attributes)} attributes x {len(cube.identities):,} identities, "
        f"{groups} groups, {settings.n_boot} replicates, {settings.n_perm} permutations: "
        f"{seconds:6.2f} s, peak {peak:.2f} GiB"
    )


def large_or_small(n_images: int, n_attributes: int, n_identities: int) -> None:
    cube = simulated_cube(n_images, n_attributes, n_identities)
    for n_perm in (0, 1000):
        statistics(cube, FairnessSettings(levels=LEVELS, n_perm=n_perm))


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
        large_or_small(169_396, 40, 500)
    if "fairlearn" in chosen:
        beside_fairlearn()
    if "large" in chosen:
        large_or_small(3_300_000, 47, 9131)
