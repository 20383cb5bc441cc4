"""What tables must not claim: cases in which a number was right and its row said something else."""

import logging

import numpy as np
import pandas as pd
import pytest

from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate
from evenface.fairness.coverage import bounds
from evenface.fairness.metrics import METRICS, rate
from evenface.fairness.multiplicity import INCONCLUSIVE, NOT_TESTED, verdicts

TPR_GAP = "equal_opportunity_difference"


def tables(decided, labels, groups, people, levels="AB", **settings):
    """Tables of models (model -> attribute -> decisions), labels by attribute, groups of one dimension or several."""
    ids = [f"i{k:06d}" for k in range(len(people))]
    models = {
        model: pd.DataFrame({"image_id": ids, "identity_id": people, **{f"pred_{a}": v for a, v in columns.items()}})
        for model, columns in decided.items()
    }
    groups = groups if isinstance(groups, dict) else {"ethnicity": groups}
    levels = levels if isinstance(levels, dict) else {"ethnicity": tuple(levels)}
    chosen = {"levels": levels, "groupings": ("ethnicity",), "n_boot": 200, "n_perm": 199, **settings}
    labels = pd.DataFrame({"image_id": ids, **{f"label_{a}": v for a, v in labels.items()}})
    return evaluate(models, labels, pd.DataFrame({"image_id": ids, **groups}), FairnessSettings(**chosen))


def photographs(per_group, images, names="AB"):
    """People and groups: ``per_group`` people of each group with ``images`` photographs each."""
    people = np.repeat([f"p{k:04d}" for k in range(per_group * len(names))], images)
    return people, np.repeat(list(names), per_group * images)


def one(table, criterion=TPR_GAP, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    return table[table["criterion"] == criterion].iloc[0]


@pytest.mark.parametrize("kind", ["empty level", "no positives", "empty intersection", "unknown"])
def test_a_group_without_images_does_not_hide_a_gap(kind):
    rng = np.random.default_rng(4)
    people, group = photographs(30, 8)
    yes = (rng.random(len(group)) < np.where(group == "A", 0.95, 0.4)).astype(int)
    label, groups, levels, more = np.ones(len(group), int), group, "AB", {}
    if kind == "empty level":
        levels = "ABC"
    elif kind == "no positives":
        people = np.append(people, np.repeat([f"q{k}" for k in range(12)], 3))
        groups, levels = np.append(group, ["C"] * 36), "ABC"
        label, yes = np.append(label, [-1] * 36), np.append(yes, [0] * 36)
    elif kind == "unknown":
        more["include_unknown"] = True
    else:
        gender = np.where((np.arange(len(group)) // 8) % 2 & (group == "A"), "m", "f")
        groups, levels = {"ethnicity": group, "gender": gender}, {"ethnicity": ("A", "B"), "gender": ("f", "m")}
        more["groupings"] = ("ethnicity*gender",)
    row = one(tables({"m": {"x": yes}}, {"x": label}, groups, people, levels, **more)["gap_metrics"])
    assert row["p_value"] < 0.01 and row["verdict"] == "gap", row


def test_models_are_compared_on_the_same_images():
    """The candidate gives the same answers, but its table lacks the hard images of B."""
    rng = np.random.default_rng(1)
    people, group = photographs(20, 10)
    hard = (group == "B") & (np.tile(np.arange(10), 40) < 4)
    yes = (rng.random(len(group)) < np.where(hard, 0.2, 0.9)).astype(int)
    ids = np.array([f"i{k:06d}" for k in range(len(group))])
    whole = pd.DataFrame({"image_id": ids, "identity_id": people, "pred_x": yes})
    labels, groups = pd.DataFrame({"image_id": ids, "x": 1}), pd.DataFrame({"image_id": ids, "ethnicity": group})
    settings = FairnessSettings(
        groupings=("ethnicity",), levels={"ethnicity": ("A", "B")}, baseline="base", n_boot=50, n_perm=50,
        allow_missing_images=True,
    )  # fmt: skip
    found = evaluate({"base": whole, "cand": whole[~hard]}, labels, groups, settings)["model_comparison"]
    assert (found["delta"].dropna() == 0).all()
    with pytest.raises(UserError, match="no image was scored by all models"):
        evaluate({"base": whole[hard], "cand": whole[~hard]}, labels, groups, settings)
    other = whole.assign(identity_id="somebody")
    with pytest.raises(UserError, match="other values of identity_id"):
        evaluate({"base": whole, "cand": other[~hard]}, labels, groups, settings)


def test_a_change_is_one_over_the_groups_that_both_runs_use():
    """Group C loses its precision: the candidate hardly ever says yes there."""
    rng = np.random.default_rng(2)
    people, group = photographs(40, 10, "ABC")
    label = np.where(rng.random(len(group)) < 0.5, 1, -1)

    def answers(hits, alarms):
        p = np.where(label > 0, [hits[g] for g in group], [alarms[g] for g in group])
        return {"x": (rng.random(len(group)) < p).astype(int)}

    models = {
        "base": answers({"A": 0.9, "B": 0.9, "C": 0.5}, {"A": 0.1, "B": 0.1, "C": 0.4}),
        "cand": answers({"A": 0.9, "B": 0.9, "C": 0.05}, {"A": 0.1, "B": 0.1, "C": 0.04}),
    }
    found = tables(models, {"x": label}, group, people, "ABC", baseline="base", summary=("precision_difference",))
    changes = found["model_comparison"]
    row = changes[changes["metric_or_criterion"] == "precision_difference"].iloc[0]
    assert abs(row["delta"]) < 0.1 and (row["n_groups_used"], row["groups_excluded"]) == (2, "C")
    summary = found["fairness"].set_index("model").loc["cand"]
    assert summary["change"] == row["delta"] and summary["baseline_value"] == row["baseline"]


def test_one_network_is_compared_with_the_network_of_its_seed():
    rng = np.random.default_rng(5)
    people, group = photographs(20, 6)
    decided = {f"{run}-{seed}": {"x": (rng.random(len(group)) < 0.8).astype(int)} for run in "ab" for seed in range(3)}
    labels = {"x": np.ones(len(group), int)}
    found = tables(decided, labels, group, people, baseline="a", summary=(TPR_GAP,))["fairness"]
    value = found.set_index(["model", "seed"])["value"]
    own = found[(found["model"] == "b") & found["seed"].notna()]
    assert len(own) == 3
    for row in own.itertuples():
        assert row.change == pytest.approx(value["b", row.seed] - value["a", row.seed])


def test_bounds_hold_for_every_value_of_undefined_labels():
    """By trying all values for a handful of images."""
    rng = np.random.default_rng(6)
    for _ in range(20):
        counts = rng.integers(0, 4, 6)
        tn, fp, fn, tp, u0, u1 = counts
        tried = {metric: [] for metric in METRICS if metric != "label_coverage"}
        for a in range(u0 + 1):  # of the undefined images without decision, a are positive
            for b in range(u1 + 1):
                full = np.array([tn + u0 - a, fp + u1 - b, fn + a, tp + b, 0, 0])
                for metric, values in tried.items():
                    values.append(float(rate(full, metric)))
        for metric, values in tried.items():
            low, high = bounds(counts, metric)
            if not np.isnan(values).any():
                assert low == pytest.approx(min(values)) and high == pytest.approx(max(values)), (metric, counts)


def lost_answers(runs, per_group=40, images=20):
    """Equal groups, but wrong answers lose their label with probability .6 in A and .1 in B."""
    rng = np.random.default_rng(8)
    people, group = photographs(per_group, images)
    labels, decided = {}, {}
    for run in range(runs):
        skill = np.repeat(rng.normal(0.85, 0.7, 2 * per_group), images)
        truth = np.where(rng.random(len(group)) < 0.5, 1, -1)
        right = rng.random(len(group)) < 1 / (1 + np.exp(-skill))
        lost = ~right & (rng.random(len(group)) < np.where(group == "A", 0.6, 0.1))
        labels[f"a{run:02d}"] = np.where(lost, 0, truth)
        decided[f"a{run:02d}"] = np.where(right, truth > 0, truth < 0).astype(int)
    return decided, labels, group, people


def test_a_gap_that_missing_labels_could_make_is_not_called_a_gap():
    """All criteria but those about the missing labels themselves, which do differ."""
    decided, labels, group, people = lost_answers(20)
    gaps = tables({"m": decided}, labels, group, people)["gap_metrics"]
    gaps = gaps[~gaps["criterion"].str.startswith("label_coverage")]
    claims = gaps[gaps["verdict"] == "gap"]
    assert claims.empty, claims[["criterion", "value", "sure_for_any_labels"]]
    assert (gaps["verdict"] == "gap_not_label_robust").sum() > 50
    # without missing labels nothing is taken back
    whole = {a: np.where(values == 0, 1, values) for a, values in labels.items()}
    found = tables({"m": {a: np.where(group == "A", 1, v) for a, v in decided.items()}}, whole, group, people)[
        "gap_metrics"
    ]
    assert not (found["verdict"] == "gap_not_label_robust").any() and (found["verdict"] == "gap").any()


def test_robust_by_a_hair_is_not_a_gap_above_the_threshold():
    people, group = photographs(100, 20)
    k, person = np.tile(np.arange(20), 200), np.repeat(np.arange(200), 20)
    label = np.where(group == "A", np.where(k < 19, 1, 0), np.where(k < 12, 1, 0))
    yes = np.where(group == "A", k < 18, (k < 10) | (k >= 12)).astype(int)
    yes[(person % 10 == 0) & (group == "B") & (k == 0)] = 0
    label[(k == 18) & (group == "B") & (person % 7 == 0)] = -1
    row = one(tables({"m": {"x": yes}}, {"x": label}, group, people)["gap_metrics"])
    assert row["label_robust"] and row["ci_low"] > 0.05 and row["sure_for_any_labels"] < 0.05
    assert row["verdict"] == "gap_not_label_robust"


def test_no_test_is_not_inconclusive(caplog):
    found = verdicts(np.zeros(2), np.ones(2), np.array([np.nan, 0.5]), np.ones(2, bool), 0.05)
    assert found.tolist() == [NOT_TESTED, INCONCLUSIVE]
    rng = np.random.default_rng(9)
    people, group = photographs(20, 6)
    decided = {f"a{k:02d}": (rng.random(len(group)) < 0.8).astype(int) for k in range(6)}
    labels = {a: np.ones(len(group), int) for a in decided}
    with caplog.at_level(logging.WARNING, "evenface"):
        untested = tables({"m": decided}, labels, group, people, n_perm=0)["gap_metrics"]
        assert INCONCLUSIVE not in set(untested["verdict"]) and NOT_TESTED in set(untested["verdict"])
        assert not caplog.messages
        tables({"m": decided}, labels, group, people, n_perm=99, n_boot=50)
    assert any("one gap alone among 6 attributes could not be found; use at least 120" in m for m in caplog.messages)  # fmt: skip
    assert any("evaluation.n_boot is 50" in m for m in caplog.messages)


def test_strata_that_decide_the_group_leave_nothing_to_permute():
    rng = np.random.default_rng(10)
    people, group = photographs(30, 6)
    gender = np.where(group == "A", "f", "m")
    yes = (rng.random(len(group)) < np.where(group == "A", 0.9, 0.5)).astype(int)
    levels = {"ethnicity": ("A", "B"), "gender": ("f", "m")}
    groups = {"ethnicity": group, "gender": gender}
    more = {"groupings": ("ethnicity", "gender"), "perm_within": ("gender",)}
    gaps = tables({"m": {"x": yes}}, {"x": np.ones(len(group), int)}, groups, people, levels, **more)["gap_metrics"]
    nested, free = (one(gaps, grouping=name) for name in ("ethnicity", "gender"))
    assert np.isnan(nested["p_value"]) and nested["verdict"] == NOT_TESTED and np.isnan(nested["null_mean"])
    assert free["p_value"] < 0.01 and free["p_method"] == "perm_identity"
    mixed = {"ethnicity": np.where(np.arange(60).repeat(6) % 3, group, "B"), "gender": gender}
    gaps = tables({"m": {"x": yes}}, {"x": np.ones(len(group), int)}, mixed, people, levels, **more)["gap_metrics"]
    assert one(gaps, grouping="ethnicity")["p_method"] == "perm_identity_within_gender"


def test_the_support_of_a_gap_is_what_it_rests_on():
    people, group = photographs(20, 10)
    label = np.where(np.arange(len(group)) % 10 == 0, 1, -1)
    label[people == "p0003"] = -1
    gaps = tables({"m": {"x": (label > 0).astype(int)}}, {"x": label}, group, people, min_denominator=1)["fairness"]
    row = gaps[gaps["criterion"] == TPR_GAP].iloc[0]
    assert (row["n_images"], row["n_identities"]) == (39, 39)


def test_f1_needs_as_many_images_as_other_rates():
    people, group = photographs(16, 1)
    rates = tables({"m": {"x": np.ones(32, int)}}, {"x": np.ones(32, int)}, group, people)["group_metrics"]
    assert set(rates[rates["metric"].isin(["tpr", "f1"])]["status"]) == {"low_support"}
    assert rates[rates["metric"].isin(["f1", "balanced_accuracy", "prevalence_bias"])]["design_effect"].isna().all()


def test_the_excess_of_a_ratio_is_positive_when_groups_are_treated_unequally():
    rng = np.random.default_rng(11)
    people, group = photographs(40, 8)
    yes = (rng.random(len(group)) < np.where(group == "A", 0.9, 0.5)).astype(int)
    gaps = tables({"m": {"x": yes}}, {"x": np.ones(len(group), int)}, group, people)["gap_metrics"]
    for criterion in (TPR_GAP, "equal_opportunity_ratio"):
        assert one(gaps, criterion)["excess"] > 0.3


def test_every_column_is_explained(root):
    """Renew the page with: python -m evenface config tables > docs/tables.md"""
    from evenface.fairness.columns import COLUMNS, TABLES, meaning, page

    used = {(name, column) for name, (_, columns) in TABLES.items() for column in columns}
    assert all(meaning(*place) for place in used)
    left = {c for c in COLUMNS if c not in {column for _, column in used} and tuple(c.split(".")) not in used}
    assert not left
    people, group = photographs(12, 4)
    labels = {"x": np.ones(len(group), int)}
    found = tables({"a": labels, "b": labels}, labels, group, people, n_boot=5, n_perm=5, baseline="a")
    assert {name: list(table.columns) for name, table in found.items()} == {n: list(c) for n, (_, c) in TABLES.items()}
    assert (root / "docs/tables.md").read_text(encoding="utf-8") == page()
