"""What a claim rests on: p values beside their intervals, the luck of training, stray images and groups left out."""

import numpy as np
import pandas as pd
import pytest
from simulated_people import DIFFERENCE, Cell, cubes

from evenface.fairness import FairnessSettings, evaluate
from evenface.fairness.comparison import compare
from evenface.fairness.evaluated import evaluate_grouping, observed_of
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import Scored
from evenface.fairness.quantiles import quantiles, share_below
from evenface.fairness.runs import runs_of

RUNS = 50


def tables(decided, group, person, **settings):
    """The tables of all-positive images: decided model -> attribute -> (images,) of 0 and 1."""
    levels = tuple(sorted(set(group)))
    ids = [f"i{k:05d}" for k in range(len(group))]
    base = {"image_id": ids, "identity_id": person}
    attributes = next(iter(decided.values()))
    return evaluate(
        {m: pd.DataFrame(base | {f"pred_{a}": v for a, v in of.items()}) for m, of in decided.items()},
        pd.DataFrame({"image_id": ids} | {f"label_{a}": 1 for a in attributes}),
        pd.DataFrame({"image_id": ids, "ethnicity": group}),
        FairnessSettings(groupings=("ethnicity",), levels={"ethnicity": levels}, **settings),
    )


def changes(cell, runs, seed=0, level=0.95, n_boot=100, n_perm=0):
    """(change, inference by run) of ``runs`` attributes, each an independent run of a cell's one or two methods."""
    models = cubes(cell, np.random.default_rng(seed), runs)
    first = next(iter(models.values()))
    settings = FairnessSettings(
        groupings=("age",), levels=dict(first.space.levels), min_denominator=1, min_identities=1, n_boot=n_boot,
        n_perm=n_perm, ci_level=level,
    )  # fmt: skip
    grouping = first.space.grouping("age")
    evaluated = {
        name: {"age": evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)}
        for name, cube in models.items()
    }
    by_run = runs_of(evaluated, models, settings)
    resampler = Resampler(models | {run.id: run.cube for run in by_run.values()}, settings)
    inferred = {
        name: resampler.infer(run.id, run.cube, {"age": (grouping, observed_of(run.evaluated["age"], settings))})["age"]
        for name, run in by_run.items()
    }
    widths = {by_run[name].id: {"age": one.observed.widths} for name, one in inferred.items()}
    change = compare(by_run["a"], by_run["b"], widths, resampler)["age"] if cell.after else None
    return change, inferred


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("level", [0.95, 0.7])
def test_p_and_interval_of_a_change_agree(seeds, level):
    change, _ = changes(Cell((0.8, 0.65), (30, 30), (0.8, 0.8), seeds=seeds), RUNS, level=level)
    low, high, p = change.low[DIFFERENCE], change.high[DIFFERENCE], change.p[DIFFERENCE]
    apart = (low > 0) | (high < 0)
    assert 0.05 < apart.mean() < 0.95
    np.testing.assert_array_equal(p < 1 - level, apart)
    for name in change.p:
        known = ~np.isnan(change.low[name])
        apart = (change.low[name] > 0) | (change.high[name] < 0)
        np.testing.assert_array_equal((change.p[name] < 1 - level)[known], apart[known], err_msg=name)


def test_a_better_network_with_equal_groups_does_not_change_the_gap():
    change, _ = changes(Cell((0.7,) * 8, (20,) * 8, (0.95,) * 8), 2 * RUNS)
    assert (change.p[DIFFERENCE] <= 0.05).mean() <= 0.1


def test_share_below_is_the_inverse_of_a_quantile():
    values = np.random.default_rng(0).normal(size=(7, 40))
    values[3, :10] = np.nan
    for probability in (0.01, 0.025, 0.5, 0.8, 0.99):
        found = share_below(values, quantiles(values, (probability,))[0])
        np.testing.assert_allclose(found, probability, atol=1e-12)
    np.testing.assert_array_equal(share_below(values, np.full(7, -9.0)), 0)
    np.testing.assert_array_equal(share_below(values, np.full(7, 9.0)), 1)


def test_a_change_of_a_rate_near_its_end_is_skewed():
    change, _ = changes(Cell((0.98, 0.98), (60, 60), (0.99, 0.99)), RUNS)
    x, low, high = change.delta["tpr"], change.low["tpr"], change.high["tpr"]
    known = ~np.isnan(low)
    assert (high <= 1 - 0).all() if known.all() else known.mean() > 0.8
    assert np.mean((x - low)[known] != (high - x)[known]) > 0.95
    assert (change.candidate["tpr"][known] - high[known] <= 1).all()


# --- claims over seeds ----------------------------------------------------------------------------


def rejected(cell, runs, seed=0, n_perm=199):
    """Shares of runs whose test rejects equal groups, and whose interval of the gap leaves out 0."""
    _, inferred = changes(cell, runs, seed, n_perm=n_perm)
    one = inferred["a"]
    return np.mean(one.tests[DIFFERENCE].p <= 0.05), np.mean(one.criteria[DIFFERENCE].low > 0)


def test_seeds_that_differ_do_not_make_a_gap():
    cell = Cell((0.75,) * 4, (200,) * 4, images=15, spread=0.5, seeds=3, luck=0.03)
    test, interval = rejected(cell, RUNS)
    assert test <= 0.16 and interval <= 0.16, (test, interval)


def test_intervals_of_a_run_are_wider_by_the_luck_of_training():
    steady = dict(images=15, spread=0.5, seeds=3)
    _, without = changes(Cell((0.75,) * 3, (60,) * 3, **steady), RUNS)
    _, lucky = changes(Cell((0.75,) * 3, (60,) * 3, **steady, luck=0.05), RUNS)
    for name in (DIFFERENCE, "tpr_macro_mean", "tpr_difference_to_overall", "tpr_worst_group", "accuracy_ratio"):
        widths = [np.mean(one["a"].criteria[name].high - one["a"].criteria[name].low) for one in (without, lucky)]
        assert widths[1] > 1.2 * widths[0], (name, widths)
    rate = [np.mean(one["a"].rates["tpr"].high - one["a"].rates["tpr"].low) for one in (without, lucky)]
    assert rate[1] > 1.5 * rate[0]


def test_equal_seeds_are_one_network():
    """Copies of one network say what it says, except for the number of seeds."""
    rng = np.random.default_rng(5)
    person = np.repeat([f"p{k:02d}" for k in range(60)], 10)
    group = np.repeat(["A", "B", "C"], 200)
    hits = (rng.random(600) < np.repeat(rng.beta(6, 2, 60), 10)).astype(int)
    found = tables({f"m-{k}": {"x": hits} for k in (1, 2, 3)}, group, person, n_boot=100, n_perm=100)["fairness"]
    over, one = found[found["aggregation"] == "over seeds"], found[found["seed"] == 1]
    assert set(over["claim"]) == {"method"} and set(one["claim"]) == {"this network"}
    for name in ("value", "ci_low", "ci_high", "p_value", "null_mean"):
        np.testing.assert_allclose(over[name].to_numpy(float), one[name].to_numpy(float), atol=1e-12, err_msg=name)


def test_every_gap_says_what_it_claims():
    cell = np.repeat(["A", "B"], 200), np.repeat([f"p{k:02d}" for k in range(40)], 10)
    hits = np.random.default_rng(1).integers(0, 2, 400)
    found = tables({"m": {"x": hits}}, *cell, n_boot=20, n_perm=20)
    assert set(found["gap_metrics"]["claim"]) == set(found["fairness"]["claim"]) == {"this network"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "seeds", "luck"), [(2, 3, 0.019), (4, 3, 0.019), (4, 5, 0.03), (8, 3, 0.01), (4, 3, 0)]
)
def test_size_over_seeds(groups, seeds, luck):
    cell = Cell((0.75,) * groups, (200,) * groups, images=15, spread=0.5, seeds=seeds, luck=luck)
    shares = np.mean([rejected(cell, 100, seed) for seed in range(4)], axis=0)
    assert (0.015 <= shares).all() and (shares <= 0.085).all(), shares


# --- people who span groups, and groups that are left out -----------------------------------------


def test_a_group_without_errors_does_not_hide_another():
    rng = np.random.default_rng(4)
    person = np.repeat([f"p{k:03d}" for k in range(60)], 12)
    group = np.tile(np.repeat(["A", "B", "C"], 4), 60)
    able = np.repeat(np.clip(rng.normal(0.5, 0.15, 60), 0.1, 0.9), 12)
    hits = np.where(group == "C", rng.random(720) < able, 1).astype(int)
    row = tables({"m": {"x": hits}}, group, person)["gap_metrics"].set_index("criterion").loc[DIFFERENCE]
    assert row["p_method"] == "simultaneous_inverted" and row["p_value"] < 0.002 and row["verdict"] == "gap"


@pytest.mark.parametrize(
    ("strays", "method"), [(0, "perm_identity"), (1, "perm_identity"), (200, "simultaneous_inverted")]
)
def test_a_stray_image_does_not_change_the_test(strays, method):
    rng = np.random.default_rng(6)
    person = np.repeat([f"p{k:02d}" for k in range(60)], 20)
    group = np.repeat(["A", "B", "C"], 400)
    hits = (rng.random(1200) < np.repeat(rng.beta(6, 2, 60), 20)).astype(int)
    plain = tables({"m": {"x": hits}}, group, person)["gap_metrics"].set_index("criterion").loc[DIFFERENCE]
    moved = group.copy()
    moved[rng.choice(400, strays, replace=False)] = "B"
    row = tables({"m": {"x": hits}}, moved, person)["gap_metrics"].set_index("criterion").loc[DIFFERENCE]
    assert row["p_method"] == method
    if method == "perm_identity":
        assert row["p_value"] == plain["p_value"] and row["null_mean"] == pytest.approx(plain["null_mean"], abs=1e-12)


def test_people_of_a_group_that_is_left_out_do_not_count():
    rng = np.random.default_rng(3)
    person, group = np.repeat([f"p{k:03d}" for k in range(80)], 20), np.repeat(["A", "B"], 800)
    hits = (rng.random(1600) < np.repeat(rng.beta(5, 1.5, 80), 20)).astype(int)
    few = np.repeat([f"z{k}" for k in range(8)], 300)
    alone = tables({"m": {"x": hits}}, group, person, n_perm=200)["gap_metrics"]
    beside = tables(
        {"m": {"x": np.r_[hits, np.zeros(2400, int)]}}, np.r_[group, np.full(2400, "C")], np.r_[person, few], n_perm=200
    )["gap_metrics"]
    assert (beside["n_groups_excluded"] == 1).any()
    for name in ("value", "null_mean", "p_value"):
        np.testing.assert_array_equal(alone[name].to_numpy(float), beside[name].to_numpy(float), err_msg=name)


def test_people_of_a_group_that_one_metric_leaves_out_do_not_count_for_it():
    """A third group has many negatives, and positives of 8 people only, all of them misses."""
    rng = np.random.default_rng(3)
    rows = []
    for k in range(80):
        rows += [("AB"[k // 40], f"p{k:03d}", 1, hit) for hit in rng.random(20) < rng.beta(5, 1.5)]
        rows += [("AB"[k // 40], f"p{k:03d}", -1, hit) for hit in rng.random(20) < 0.2]
    both = len(rows)
    for k in range(30):
        rows += [("C", f"z{k:03d}", -1, hit) for hit in rng.random(20) < 0.2]
        rows += [("C", f"z{k:03d}", 1, False)] * (300 if k < 8 else 0)

    def gaps(rows, levels):
        group, person, label, decided = (list(column) for column in zip(*rows, strict=True))
        ids = [f"i{k:05d}" for k in range(len(rows))]
        return evaluate(
            pd.DataFrame({"image_id": ids, "identity_id": person, "pred_x": np.array(decided, dtype=int)}),
            pd.DataFrame({"image_id": ids, "label_x": label}),
            pd.DataFrame({"image_id": ids, "ethnicity": group}),
            FairnessSettings(groupings=("ethnicity",), levels={"ethnicity": levels}, n_boot=20, n_perm=200),
        )["gap_metrics"].set_index("criterion")

    alone, beside = gaps(rows[:both], ("A", "B")), gaps(rows, ("A", "B", "C"))
    assert beside.loc[DIFFERENCE, "groups_excluded"] == "C" and beside.loc["fpr_difference", "groups_excluded"] == ""
    for name in ("value", "null_mean", "p_value"):
        assert beside.loc[DIFFERENCE, name] == alone.loc[DIFFERENCE, name], name
        assert beside.loc["fpr_difference", name] != alone.loc["fpr_difference", name], name


def test_people_who_are_all_alike_have_a_narrower_interval_than_those_at_an_end():
    """Half of everybody's labels are positive: 12 people like that are not 12 who are all positive or all negative."""
    ids, person = [f"i{k}" for k in range(144)], np.repeat([f"p{k:02d}" for k in range(24)], 6)
    label = np.tile([1, -1], 72)
    group = np.repeat(["A", "B"], 72)
    found = evaluate(
        pd.DataFrame({"image_id": ids, "identity_id": person, "pred_x": (label > 0).astype(int)}),
        pd.DataFrame({"image_id": ids, "label_x": label}),
        pd.DataFrame({"image_id": ids, "ethnicity": group}),
        FairnessSettings(groupings=("ethnicity",), levels={"ethnicity": ("A", "B")}, n_boot=50, n_perm=20),
    )["group_metrics"].set_index(["group", "metric"])
    rows = found.loc["A"]
    assert 0.2 < rows.loc["base_rate", "ci_low"] < 0.4 and 0.6 < rows.loc["base_rate", "ci_high"] < 0.8
    # of 1 - accuracy, at most all errors are of one sign
    assert rows.loc["prevalence_bias", "ci_high"] <= 1 - rows.loc["accuracy", "ci_low"] + 1e-9


@pytest.mark.slow
def test_changes_of_rare_errors_are_covered():
    hits = []
    for seed in range(8):
        change, _ = changes(Cell((0.98, 0.98), (200, 200), (0.99, 0.99)), 50, seed, n_boot=400)
        inside = (change.low["tpr"] <= 0.01) & (0.01 <= change.high["tpr"])
        hits.append(inside.all(axis=1).mean())
    assert np.mean(hits) >= 0.92, np.mean(hits)
