"""fairlearn beside our tables: the check in the workflow, and tables of one package from those of the other."""

import numpy as np
import pandas as pd
import pytest
from test_fairness import random_tables

from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate, from_metric_frame, metric_frame
from evenface.fairness.fairlearn_check import check_with_fairlearn
from evenface.fairness.tables import evaluate_predictions
from evenface.storage.csv import write_csv
from evenface.storage.tables import write_table

pytest.importorskip("fairlearn")

GROUPINGS = ("gender", "gender*ethnicity")


def written(folder, seed, settings, n=400):
    """A table of predictions with undefined labels and unknown levels, and the tables of its evaluation as CSV."""
    predictions, labels, groups = random_tables(seed, n=n, undefined=0.2, attributes=("Smiling", "Male"))
    table = predictions.merge(labels.rename(columns=lambda c: c if c == "image_id" else f"label_{c}"), on="image_id")
    meta = {"dataset": "d", "split": "test", "thresholds": {"Smiling": 0.4, "Male": 0.6}}
    write_table(table.merge(groups, on="image_id"), folder / "p.parquet", kind="predictions", meta=meta)
    tables = evaluate_predictions({"real-1": folder / "p.parquet"}, settings, {})
    found = []
    for name in ("group_metrics", "gap_metrics"):
        write_csv(tables[name], folder / f"{name}.csv")
        found.append(pd.read_csv(folder / f"{name}.csv", low_memory=False))
    return {"real-1": folder / "p.parquet"}, *found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("support", [1, 8])
def test_the_check_agrees(tmp_path, seed, support):
    settings = FairnessSettings(
        n_boot=0,
        n_perm=0,
        min_denominator=support,
        min_identities=1,
        groupings=GROUPINGS,
        include_unknown=seed % 2 == 1,
    )
    found = check_with_fairlearn(*written(tmp_path, seed, settings), settings)
    assert found["rates"] > 60 and found["gaps"] > 60 and found["largest_difference"] < 1e-9


def test_groups_whose_interval_is_unstable_are_checked_too(tmp_path):
    settings = FairnessSettings(n_boot=100, n_perm=0, min_denominator=1, min_identities=1, groupings=GROUPINGS)
    paths, rates, gaps = written(tmp_path, 3, settings, n=60)
    assert (rates["status"] == "unstable_bootstrap").any()
    assert check_with_fairlearn(paths, rates, gaps, settings)["largest_difference"] < 1e-9


@pytest.mark.parametrize("spanning", [False, True])
def test_criteria_of_both_errors_compare_the_groups_that_have_both(spanning):
    """Black people have no negatives here, so they have a TPR, by far the worst, and no FPR."""
    rng = np.random.default_rng(0)
    n, people = 3000, 150
    group = np.array(["asian", "black", "white"], dtype=object)[np.arange(people) % 3]
    person = rng.integers(0, people, n)
    ethnicity = rng.permutation(group[person]) if spanning else group[person]
    black = ethnicity == "black"
    label = np.where(black | (rng.random(n) < 0.5), 1, -1)
    right = rng.random(n) < np.where(black, 0.4, np.where(ethnicity == "asian", 0.9, 0.8))
    ids = np.char.add("i", np.arange(n).astype(str)).astype(object)
    names = np.char.add("p", person.astype(str)).astype(object)
    predictions = pd.DataFrame(
        {"image_id": ids, "identity_id": names, "pred_Smiling": ((label > 0) == right).astype(int)}
    )
    labels = pd.DataFrame({"image_id": ids, "Smiling": label})
    groups = pd.DataFrame({"image_id": ids, "ethnicity": ethnicity})

    def found(keep):
        settings = FairnessSettings(groupings=("ethnicity",), n_boot=300, n_perm=99)
        tables = evaluate(predictions[keep], labels[keep], groups[keep], settings)
        return tables["gap_metrics"].set_index("criterion")

    every, without = found(np.ones(n, dtype=bool)), found(~black)
    combined = [name for name in every.index if name.startswith("equalized_odds")] + [
        "fairness_discrepancy_rate", "inequity_rate", "gini_aggregation_rate",
    ]  # fmt: skip
    assert len(combined) == 8
    assert set(every.loc[combined, "groups_excluded"]) == {"black"}
    for column in ("value", "detectable_gap"):
        np.testing.assert_allclose(
            every.loc[combined, column].astype(float), without.loc[combined, column].astype(float), rtol=1e-9
        )
    assert every["value"]["equal_opportunity_difference"] > 0.3 > every["value"]["equalized_odds_difference_worst"]
    both = every.loc["equalized_odds_difference_worst"]
    assert both["ci_low"] <= both["value"] <= both["ci_high"] < 0.3
    assert every["p_value"]["equal_opportunity_difference"] < 0.02
    assert both["group_max"] in ("asian", "white")
    assert (both["p_value"] < 0.05) == (without["p_value"]["equalized_odds_difference_worst"] < 0.05)


@pytest.mark.parametrize(("table", "name"), [(1, "tpr of female"), (2, "equal_opportunity_difference")])
def test_a_difference_stops(tmp_path, table, name):
    settings = FairnessSettings(n_boot=0, n_perm=0, min_denominator=1, min_identities=1, groupings=("gender",))
    given = [*written(tmp_path, 1, settings)]
    column, value = ("metric", "tpr") if table == 1 else ("criterion", "equal_opportunity_difference")
    row = given[table].index[(given[table][column] == value) & (given[table]["attribute"] == "Smiling")][0]
    given[table].loc[row, "value"] += 1e-6
    with pytest.raises(UserError, match=f"{name} of Smiling by gender is .* fairlearn says"):
        check_with_fairlearn(*given, settings)


def test_our_tables_from_a_metric_frame_and_back():
    predictions, labels, groups = random_tables(5, n=600, attributes=("Smiling",))
    settings = FairnessSettings(
        n_boot=0, n_perm=0, min_denominator=1, min_identities=1, groupings=("gender*ethnicity",)
    )
    ours = evaluate(predictions, labels, groups, settings)
    frame = metric_frame(predictions, labels, groups, "Smiling", "gender*ethnicity", settings)
    theirs = from_metric_frame(frame, "Smiling", "real-1")
    for name, key in (("group_metrics", ["group", "metric"]), ("gap_metrics", ["criterion"])):
        found = theirs[name].set_index(key)["value"].dropna()
        expected = ours[name].set_index(key)["value"].reindex(found.index)
        both = expected.notna()
        assert both.sum() > 20 or name == "gap_metrics"
        np.testing.assert_allclose(found[both], expected[both], atol=1e-12)
        assert list(theirs[name].columns) == [c for c in ours[name].columns]
    assert set(theirs["group_metrics"]["run_id"]) == {"real"}


def test_metric_frames_that_are_no_table_are_refused():
    from fairlearn.metrics import MetricFrame, selection_rate

    data = {"y_true": [1, 0, 1, 0], "y_pred": [1, 1, 1, 0], "sensitive_features": ["a", "a", "b", "b"]}
    with pytest.raises(UserError, match="control features"):
        from_metric_frame(MetricFrame(metrics=selection_rate, control_features=["x", "y", "x", "y"], **data))
    with pytest.raises(UserError, match="is no number"):
        from_metric_frame(MetricFrame(metrics={"many": lambda y, p: [1, 2]}, **data))
