"""Fairness tables: worked examples by hand, properties, parity with fairlearn, and errors that name the place."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate, evaluate_predictions, headline, write_csv
from evenface.fairness.criteria import NAMED, Rates, criteria, names
from evenface.fairness.cube import CellSpace, count
from evenface.fairness.metrics import METRICS, RATIOS, form, rate
from evenface.storage.csv import format_number
from evenface.storage.tables import write_table

# worked examples give (TP, FN, FP, TN); counts are (TN, FP, FN, TP, U0, U1)
EVERYONE = dict(min_denominator=1, min_identities=1, n_boot=40, n_perm=40)


def frames(cells, levels=None, attribute="Smiling", undefined=None):
    """Tables with the given (TP, FN, FP, TN) per group of one dimension; every image its own identity."""
    rows = []
    for group, (tp, fn, fp, tn) in cells.items():
        rows += [(group, 1, 1)] * tp + [(group, 0, 1)] * fn + [(group, 1, -1)] * fp + [(group, 0, -1)] * tn
    for group, (u0, u1) in (undefined or {}).items():
        rows += [(group, 0, 0)] * u0 + [(group, 1, 0)] * u1
    frame = pd.DataFrame(rows, columns=["ethnicity", "pred", "label"])
    frame.insert(0, "image_id", [f"i{k}" for k in range(len(frame))])
    predictions = pd.DataFrame(
        {"image_id": frame["image_id"], "identity_id": frame["image_id"], f"pred_{attribute}": frame["pred"]}
    )
    labels = pd.DataFrame({"image_id": frame["image_id"], attribute: frame["label"].astype("Int64").replace(0, pd.NA)})
    groups = frame[["image_id", "ethnicity"]]
    settings = FairnessSettings(groupings=("ethnicity",), levels={"ethnicity": levels or tuple(cells)}, **EVERYONE)
    return predictions, labels, groups, settings


def gaps_of(*inputs):
    return evaluate(*inputs)["gap_metrics"].set_index("criterion")


def example(cells, **kwargs):
    return gaps_of(*frames(cells, **kwargs))


def gap_values(counts, alpha=0.5):
    """criterion -> value of integer counts (groups, 6) with no minimum support."""
    counts = np.asarray(counts)[None]
    used = {m: ~np.isnan(rate(counts, m)) for m in METRICS}
    return {c.name: float(c.gap.value[0]) for c in criteria(Rates.of(counts, used, alpha), alpha)}


# --- worked examples ------------------------------------------------------------------------------

E1 = {"A": (8, 2, 1, 9), "B": (6, 4, 3, 7), "C": (9, 1, 2, 8)}


def test_e1_group_rates():
    table = evaluate(*frames(E1))["group_metrics"].set_index(["metric", "group"])["value"]
    expected = {
        "selection_rate": (0.45, 0.45, 0.55),
        "tpr": (0.8, 0.6, 0.9),
        "fpr": (0.1, 0.3, 0.2),
        "accuracy": (0.85, 0.65, 0.85),
    }
    for metric, values in expected.items():
        assert table.loc[metric].loc[["A", "B", "C"]].tolist() == pytest.approx(values, abs=1e-15)


def test_e1_criteria():
    rows = example(E1)
    expected = {
        "demographic_parity_difference": 0.1,
        "demographic_parity_ratio": 9 / 11,
        "equal_opportunity_difference": 0.3,
        "equalized_odds_difference_worst": 0.3,
        "equalized_odds_difference_mean": 0.25,
        "equalized_odds_difference_to_overall": 1 / 6,
        "equalized_odds_ratio_worst": 1 / 3,
        "equalized_odds_ratio_mean": (2 / 3 + 1 / 3) / 2,
        "accuracy_gap": 0.2,
        "fairness_discrepancy_rate": 0.75,
        "inequity_rate": 12**0.5,
        "gini_aggregation_rate": 8 / 21,
        "worst_over_geometric_mean_fnr": 2,
        "worst_over_geometric_mean_fpr": 0.3 / 0.006 ** (1 / 3),
        "tpr_worst_group": 0.6,
        "fpr_worst_group": 0.3,
        "tpr_macro_mean": 2.3 / 3,
        "tpr_std": np.std([0.8, 0.6, 0.9]),
    }
    for name, value in expected.items():
        assert rows.loc[name, "value"] == pytest.approx(value, abs=1e-12), name
        assert rows.loc[name, "status"] == ""
    overall = {"selection_rate_std": 29 / 60, "tpr_std": 23 / 30, "fpr_std": 0.2, "accuracy_std": 47 / 60}
    for name, value in overall.items():
        assert rows.loc[name, "overall"] == pytest.approx(value, abs=1e-15)
    assert rows.loc["worst_over_geometric_mean_fpr", "value"] == pytest.approx(1.6510, abs=1e-4)


def test_e1_other_alpha():
    counts = [[tn, fp, fn, tp, 0, 0] for tp, fn, fp, tn in E1.values()]
    assert gap_values(counts, 0.99)["fairness_discrepancy_rate"] == pytest.approx(0.799, abs=1e-12)


def test_e1_gini_parts():
    from evenface.fairness.gaps import gini

    used = np.ones(3, dtype=bool)
    assert gini(np.array([0.1, 0.3, 0.2]), used).value == pytest.approx(1 / 3)
    assert gini(np.array([0.2, 0.4, 0.1]), used).value == pytest.approx(3 / 7)


def test_e2_no_positives_in_a_group():
    tables = evaluate(*frames({"A": (1, 1, 1, 1), "B": (0, 0, 1, 3)}))
    rates = tables["group_metrics"].set_index(["metric", "group"])
    assert np.isnan(rates.loc[("tpr", "B"), "value"])
    assert rates.loc[("tpr", "B"), "status"] == "no_denominator"
    rows = tables["gap_metrics"].set_index("criterion")
    for name in ("equal_opportunity_difference", "equalized_odds_difference_worst",
                 "equalized_odds_difference_mean", "fairness_discrepancy_rate"):  # fmt: skip
        assert np.isnan(rows.loc[name, "value"])
        assert rows.loc[name, "status"] == "too_few_groups"
    assert rows.loc["fpr_difference", "value"] == 0.25
    assert rows.loc["demographic_parity_difference", "value"] == 0.25
    assert rows.loc["equal_opportunity_difference", "groups_excluded"] == "B"


def test_e3_nothing_selected():
    rows = example({"A": (0, 1, 0, 1), "B": (0, 1, 0, 1)})
    assert rows.loc["demographic_parity_difference", "value"] == 0
    assert np.isnan(rows.loc["demographic_parity_ratio", "value"])
    assert rows.loc["demographic_parity_ratio", "status"] == "all_zero"
    assert rows.loc["gini_aggregation_rate", "value"] == 0
    assert rows.loc["inequity_rate", "value"] == 1
    assert rows.loc["worst_over_geometric_mean_fpr", "status"] == "zero_rate"


def test_e4_perfect_classifier_with_different_base_rates():
    rows = example({"A": (9, 0, 0, 1), "B": (1, 0, 0, 9)})["value"]
    assert rows["demographic_parity_difference"] == pytest.approx(0.8)
    assert rows["base_rate_difference"] == pytest.approx(0.8)
    assert rows["prevalence_bias_difference"] == 0
    assert rows["equalized_odds_difference_worst"] == rows["equalized_odds_difference_mean"] == 0


def test_e5_undefined_labels():
    tables = evaluate(*frames({"A": (40, 10, 0, 0)}, undefined={"A": (4, 6)}))
    row = tables["label_coverage"].iloc[0]
    assert row["tpr_low"] == pytest.approx(40 / 54)
    assert row["tpr_high"] == pytest.approx(46 / 56)
    assert (row["n_defined"], row["n_undefined"]) == (50, 10)
    rates = tables["group_metrics"].set_index("metric")["value"]
    assert rates["tpr"] == 0.8
    assert rates["label_coverage"] == 50 / 60
    assert np.isnan(rates["fpr"])


def test_infinite_inequity_rate():
    rows = example({"A": (5, 5, 0, 10), "B": (5, 5, 1, 9)})
    assert np.isnan(rows.loc["inequity_rate", "value"])
    assert rows.loc["inequity_rate", "status"] == "infinite"


# --- labels that are robust, groups that are excluded ---------------------------------------------


def test_label_robust_only_when_bounds_separate():
    cells = {"A": (90, 10, 10, 90), "B": (50, 50, 10, 90)}
    assert example(cells, undefined={"A": (5, 5)}).loc["equal_opportunity_difference", "label_robust"] is True
    many = example(cells, undefined={"A": (60, 60), "B": (60, 60)})
    assert many.loc["equal_opportunity_difference", "label_robust"] is False
    assert many.loc["selection_rate_all_difference", "label_robust"] is True


def test_low_support_is_written_but_not_compared():
    predictions, labels, groups, _ = frames({"A": (40, 10, 5, 45), "B": (30, 20, 5, 45), "C": (0, 20, 0, 5)})
    settings = FairnessSettings(groupings=("ethnicity",), levels={"ethnicity": ("A", "B", "C")})
    tables = evaluate(predictions, labels, groups, settings)
    rates = tables["group_metrics"].set_index(["metric", "group"])
    assert rates.loc[("tpr", "C"), ["value", "status"]].tolist() == [0.0, "low_support"]
    row = tables["gap_metrics"].set_index("criterion").loc["equal_opportunity_difference"]
    assert row["value"] == pytest.approx(0.2)
    assert (row["n_groups_used"], row["n_groups_excluded"], row["groups_excluded"]) == (2, 1, "C")
    assert row["overall"] == pytest.approx(0.7)


def test_minimum_identities_counts_those_with_a_denominator():
    predictions, labels, groups, _ = frames({"A": (40, 0, 0, 40), "B": (40, 0, 0, 40)})
    predictions["identity_id"] = [f"p{k % 9}" for k in range(len(predictions))]
    settings = FairnessSettings(groupings=("ethnicity",), levels={"ethnicity": ("A", "B")})
    tables = evaluate(predictions, labels, groups, settings)
    assert set(tables["group_metrics"].query("metric == 'tpr'")["status"]) == {"low_support"}
    assert set(tables["group_metrics"]["n_identities"]) == {9}
    assert tables["gap_metrics"]["status"].unique().tolist() == ["too_few_groups"]


# --- properties -----------------------------------------------------------------------------------


def random_tables(seed, n=400, attributes=("Smiling", "Bangs"), undefined=0.1, identities=40, seeds=1):
    rng = np.random.default_rng(seed)
    person = rng.integers(0, identities, n)
    ids = [f"img{k:05d}" for k in range(n)]
    groups = pd.DataFrame(
        {
            "image_id": ids,
            "gender": np.array(["female", "male"])[person % 2],
            "age": rng.choice(["young", "middle_aged", "senior"], n),
            "ethnicity": np.array(["asian", "black", "white", "unknown"])[(person // 2) % 4],
        }
    )
    labels = pd.DataFrame({"image_id": ids})
    for a in attributes:
        labels[a] = rng.choice([-1, 1, 0], n, p=[(1 - undefined) / 2, (1 - undefined) / 2, undefined])
    models = []
    for _ in range(seeds):
        frame = pd.DataFrame({"image_id": ids, "identity_id": [f"p{k}" for k in person]})
        for a in attributes:
            noise = rng.normal(0, 0.35, n)
            frame[f"score_{a}"] = np.clip(0.5 + 0.25 * labels[a] + noise, 0, 1).astype(np.float32)
        models.append(frame)
    return models[0] if seeds == 1 else models, labels, groups


LOOSE = FairnessSettings(**EVERYONE)


def test_row_order_attribute_order_and_group_names_do_not_matter(tmp_path):
    predictions, labels, groups = random_tables(1)
    shuffled = [
        predictions.sample(frac=1, random_state=1)[["image_id", "score_Bangs", "identity_id", "score_Smiling"]],
        labels.sample(frac=1, random_state=2)[["image_id", "Bangs", "Smiling"]],
        groups.sample(frac=1, random_state=3),
    ]
    first, second = evaluate(predictions, labels, groups, LOOSE), evaluate(*shuffled, LOOSE)
    for name, table in first.items():
        write_csv(table, tmp_path / "a.csv")
        write_csv(second[name], tmp_path / "b.csv")
        assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()

    renamed = {"asian": "x", "black": "y", "white": "z"}
    settings = FairnessSettings(
        levels={"gender": ("female", "male"), "age": ("young", "middle_aged", "senior"), "ethnicity": ("x", "y", "z")},
        **EVERYONE,
    )
    third = evaluate(predictions, labels, groups.replace({"ethnicity": renamed}), settings)
    np.testing.assert_array_equal(first["gap_metrics"]["value"], third["gap_metrics"]["value"])


DIFFERENCE = {metric: NAMED.get((metric, "difference"), f"{metric}_difference") for metric in METRICS}

counts_of_groups = st.integers(2, 6).flatmap(lambda g: arrays(np.int64, (g, 6), elements=st.integers(0, 9)))


@given(counts_of_groups, st.data())
@hypothesis_settings(deadline=None, max_examples=60)
def test_splitting_a_group_never_lowers_a_difference(counts, data):
    part = np.array([[data.draw(st.integers(0, int(v))) for v in counts[0]]])
    finer = np.concatenate([part, counts[:1] - part, counts[1:]])
    before, after = gap_values(counts), gap_values(finer)
    # a rate of the whole is a weighted mean of the rates of its parts; balanced accuracy is not one rate
    for metric in RATIOS:
        a, b = before[DIFFERENCE[metric]], after[DIFFERENCE[metric]]
        assert np.isnan(a) or b >= a - 1e-12


@given(counts_of_groups)
@hypothesis_settings(deadline=None, max_examples=60)
def test_swapping_classes_exchanges_tpr_and_tnr(counts):
    tn, fp, fn, tp, u0, u1 = counts.T
    swapped = np.stack([tp, fn, fp, tn, u1, u0], axis=1)
    np.testing.assert_array_equal(rate(counts, "tpr"), rate(swapped, "tnr"))
    a, b = gap_values(counts), gap_values(swapped)
    for name in ("equalized_odds_difference_worst", "equalized_odds_difference_mean"):
        np.testing.assert_allclose(a[name], b[name], atol=1e-12)


@given(counts_of_groups)
@hypothesis_settings(deadline=None, max_examples=60)
def test_discrepancy_rate_is_one_minus_mean_equalized_odds(counts):
    values = gap_values(counts)
    total = values["fairness_discrepancy_rate"] + values["equalized_odds_difference_mean"]
    assert np.isnan(total) or total == pytest.approx(1, abs=1e-12)


def test_rates_agree_with_fairlearn():
    fairlearn = pytest.importorskip("fairlearn.metrics")
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score

    predictions, labels, groups = random_tables(7, n=3000, undefined=0.0, attributes=("Smiling",))
    groups["ethnicity"] = groups["ethnicity"].replace("unknown", "asian")
    tables = evaluate(predictions, labels, groups, LOOSE)
    functions = {
        "selection_rate": fairlearn.selection_rate,
        "tpr": fairlearn.true_positive_rate,
        "fnr": fairlearn.false_negative_rate,
        "fpr": fairlearn.false_positive_rate,
        "tnr": fairlearn.true_negative_rate,
        "accuracy": accuracy_score,
        "balanced_accuracy": balanced_accuracy_score,
        "precision": precision_score,
        "f1": f1_score,
    }
    truth = (labels["Smiling"] > 0).astype(int)
    decided = (predictions["score_Smiling"] >= 0.5).astype(int)
    for grouping in ("ethnicity", "gender*age"):
        sensitive = groups[grouping.split("*")]
        frame = fairlearn.MetricFrame(metrics=functions, y_true=truth, y_pred=decided, sensitive_features=sensitive)
        rates = tables["group_metrics"].query("grouping == @grouping").set_index(["metric", "group"])["value"]
        for key, row in frame.by_group.iterrows():
            group = "|".join(key) if isinstance(key, tuple) else key
            for metric in functions:
                assert rates[metric, group] == pytest.approx(row[metric], abs=1e-12)
        gap = tables["gap_metrics"].query("grouping == @grouping").set_index("criterion")["value"]
        given_to = dict(y_true=truth, y_pred=decided, sensitive_features=sensitive)
        expected = {
            "demographic_parity_difference": fairlearn.demographic_parity_difference(**given_to),
            "demographic_parity_ratio": fairlearn.demographic_parity_ratio(**given_to),
            "equal_opportunity_difference": fairlearn.equal_opportunity_difference(**given_to),
            "equal_opportunity_ratio": fairlearn.equal_opportunity_ratio(**given_to),
            "equalized_odds_difference_worst": fairlearn.equalized_odds_difference(**given_to),
            "equalized_odds_difference_mean": fairlearn.equalized_odds_difference(agg="mean", **given_to),
            "equalized_odds_difference_to_overall": fairlearn.equalized_odds_difference(
                method="to_overall", **given_to
            ),
            "equalized_odds_ratio_worst": fairlearn.equalized_odds_ratio(**given_to),
            "equalized_odds_ratio_mean": fairlearn.equalized_odds_ratio(agg="mean", **given_to),
            "accuracy_gap": frame.difference()["accuracy"],
            "tnr_difference_to_overall": frame.difference(method="to_overall")["tnr"],
            "f1_ratio": frame.ratio()["f1"],
        }
        for name, value in expected.items():
            assert gap[name] == pytest.approx(value, abs=1e-12), name


def test_cube_equals_a_count_by_hand():
    predictions, labels, groups = random_tables(3, n=200)
    space = CellSpace({"gender": ("female", "male")})
    gender = (groups["gender"] == "male").to_numpy().astype(int)
    decided = (predictions["score_Bangs"] >= 0.5).to_numpy().astype(np.int8)
    cube = count(predictions["identity_id"], gender, space, [("Bangs", decided, labels["Bangs"].to_numpy())])
    counted = cube.by_group(space.grouping("gender"))
    truth = labels["Bangs"].to_numpy()
    for g in (0, 1):
        expected = [((gender == g) & (decided == p) & (truth == t)).sum()
                    for p, t in ((0, -1), (1, -1), (0, 1), (1, 1), (0, 0), (1, 0))]  # fmt: skip
        assert counted.counts[g, 0].tolist() == expected
    people = predictions.loc[(gender == 1) & (truth == 1), "identity_id"].nunique()
    assert counted.identities_with(form("TP+FN"))[1, 0] == people


def test_every_metric_is_listed_once():
    assert set(METRICS) == set(RATIOS) | {"balanced_accuracy"}
    assert len(names()) == len(set(names()))


# --- what may be missing --------------------------------------------------------------------------


def test_unknown_levels_are_counted_but_not_compared():
    predictions, labels, groups = random_tables(5)
    tables = evaluate(predictions, labels, groups, LOOSE)
    assert "unknown" in set(tables["label_coverage"].query("grouping == 'ethnicity'")["group"])
    assert "unknown" not in set(tables["group_metrics"]["group"])
    groups.loc[0, "ethnicity"] = None
    groups.loc[1, "ethnicity"] = ""
    evaluate(predictions, labels, groups, LOOSE)
    included = FairnessSettings(include_unknown=True, **EVERYONE)
    tables = evaluate(predictions, labels, groups, included)
    assert "unknown" in set(tables["group_metrics"].query("grouping == 'ethnicity'")["group"])
    assert set(tables["gap_metrics"].query("grouping == 'ethnicity'")["n_groups_used"]) == {4}


def test_nothing_known_and_nothing_defined():
    predictions, labels, groups = random_tables(5)
    groups["ethnicity"] = "unknown"
    labels["Bangs"] = 0
    tables = evaluate(predictions, labels, groups, LOOSE)
    rows = tables["gap_metrics"]
    assert set(rows.query("grouping == 'ethnicity'")["status"]) == {"too_few_groups"}
    never = tables["group_metrics"].query("attribute == 'Bangs' and grouping == 'gender'").set_index("metric")
    assert set(never.loc["tpr", "status"]) == {"no_denominator"}
    assert set(never.loc["selection_rate_all", "status"]) == {""}


def test_a_level_without_images_and_an_identity_in_two_groups():
    predictions, labels, groups = random_tables(5)
    groups["ethnicity"] = np.where(np.arange(len(groups)) % 2, "asian", "black")
    tables = evaluate(predictions, labels, groups, LOOSE)
    white = tables["group_metrics"].query("grouping == 'ethnicity' and group == 'white'")
    assert set(white["status"]) == {"no_denominator"}
    row = tables["gap_metrics"].query("grouping == 'ethnicity' and criterion == 'accuracy_gap'").iloc[0]
    assert (row["n_groups_used"], row["groups_excluded"]) == (2, "white")
    summary = tables["fairness"].query("grouping == 'ethnicity' and criterion == 'accuracy_gap'").iloc[0]
    defined = predictions["identity_id"][(labels[summary["attribute"]] != 0).to_numpy()]
    assert summary["n_identities"] == defined.nunique()  # each person once, though in two groups


def test_no_images_at_all():
    predictions, labels, groups = (t.iloc[:0] for t in random_tables(5))
    tables = evaluate(predictions, labels, groups, LOOSE)
    assert set(tables["group_metrics"]["status"]) == {"no_denominator"}
    assert set(tables["gap_metrics"]["status"]) == {"too_few_groups"}


def test_circular_attributes_are_marked():
    predictions, labels, groups = random_tables(5, attributes=("Male", "Young"))
    rows = evaluate(predictions, labels, groups, LOOSE)["fairness"]
    circular = rows[rows["status"] == "circular"]
    assert set(circular.query("attribute == 'Male'")["grouping"]) == {
        "gender", "gender*age", "gender*ethnicity", "gender*age*ethnicity",
    }  # fmt: skip
    assert set(circular.query("attribute == 'Young'")["grouping"]) == {
        "age", "gender*age", "age*ethnicity", "gender*age*ethnicity",
    }  # fmt: skip


def test_images_are_their_own_cluster_without_identities():
    predictions, labels, groups = random_tables(5)
    tables = evaluate(predictions.drop(columns="identity_id"), labels, groups, LOOSE)
    assert set(tables["group_metrics"]["cluster_unit"]) == {"image"}


def test_derived_labels_flip_the_sign():
    predictions, labels, groups = random_tables(5)
    flipped = labels.assign(Mouth_Closed=-labels["Smiling"])[["image_id", "Mouth_Closed"]]
    scores = predictions.rename(columns={"score_Smiling": "score_Mouth_Slightly_Open"}).drop(columns="score_Bangs")
    settings = FairnessSettings(derived_labels={"Mouth_Slightly_Open": "-Mouth_Closed"}, **EVERYONE)
    tables = evaluate(scores, flipped, groups, settings)
    assert set(tables["group_metrics"]["label_source"]) == {"derived:-Mouth_Closed"}
    direct = evaluate(predictions.drop(columns="score_Bangs"), labels, groups, LOOSE)
    np.testing.assert_array_equal(direct["gap_metrics"]["value"], tables["gap_metrics"]["value"])


def test_zero_one_coding_is_declared():
    predictions, labels, groups = random_tables(5, undefined=0.0)
    zero_one = labels.assign(Smiling=(labels["Smiling"] + 1) // 2, Bangs=(labels["Bangs"] + 1) // 2)
    a = evaluate(predictions, labels, groups, LOOSE)["gap_metrics"]["value"]
    b = evaluate(predictions, zero_one, groups, FairnessSettings(label_coding="zero_one", **EVERYONE))
    np.testing.assert_array_equal(a, b["gap_metrics"]["value"])


# --- errors ---------------------------------------------------------------------------------------


def broken(change):
    tables = dict(zip(("predictions", "labels", "groups"), random_tables(5), strict=True))
    change(tables)
    return tables


def put(table, column, row, value):
    def change(tables):
        tables[table][column] = tables[table][column].astype(object)
        tables[table].loc[row, column] = value

    return change


def duplicate(tables):
    tables["predictions"] = pd.concat([tables["predictions"], tables["predictions"].iloc[[4]]], ignore_index=True)


def drop_label(tables):
    tables["labels"] = tables["labels"].drop(index=7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("predictions", "score_Bangs", 3, 1.5), ["predictions", "row 4", "Bangs", "1.5"]),
        (put("predictions", "score_Bangs", 3, np.nan), ["predictions", "row 4", "Bangs"]),
        (put("predictions", "score_Bangs", 3, np.inf), ["predictions", "row 4", "Bangs", "inf"]),
        (put("labels", "Smiling", 5, 2), ["labels", "row 6", "Smiling", "2"]),
        (put("groups", "ethnicity", 6, "martian"), ["groups", "row 7", "ethnicity", "martian", "asian"]),
        (duplicate, ["predictions", "row 401", "img00004"]),
        (drop_label, ["img00007", "labels", "allow_missing_images"]),
    ],
)
def test_mistakes_name_the_place(change, words):
    tables = broken(change)
    with pytest.raises(UserError) as caught:
        evaluate(tables["predictions"], tables["labels"], tables["groups"], LOOSE)
    for word in words:
        assert word in str(caught.value)


def test_three_valued_labels_passed_as_two_valued():
    with pytest.raises(UserError, match="label -1 is not one of 0, 1"):
        evaluate(*random_tables(5), FairnessSettings(label_coding="zero_one", **EVERYONE))


def test_missing_images_are_allowed_when_asked():
    predictions, labels, groups = random_tables(5)
    settings = FairnessSettings(allow_missing_images=True, **EVERYONE)
    tables = evaluate(predictions, labels.drop(index=7), groups, settings)
    coverage = tables["label_coverage"].query("grouping == 'gender' and attribute == 'Bangs'")
    assert coverage["n_images"].sum() == len(labels) - 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"groupings": ["sex"]}, ["groupings", "'sex'", "gender"]),
        ({"groupings": ["gender*gender"]}, ["twice"]),
        ({"grouping": ["gender"]}, ["evaluation: 'grouping'", "groupings"]),
        ({"min_identities": 0}, ["min_identities", "0"]),
        ({"alpha": 2}, ["alpha", "2"]),
        ({"label_coding": "guess"}, ["label_coding", "zero_one"]),
        ({"thresholds": {"Bangs": -1}}, ["thresholds.Bangs"]),
    ],
)
def test_settings_are_checked(config, words):
    with pytest.raises(UserError) as caught:
        FairnessSettings.from_config(config)
    for word in words:
        assert word in str(caught.value)


def test_unknown_summary_criterion():
    with pytest.raises(UserError, match="equalised_odds"):
        evaluate(*random_tables(5), FairnessSettings(summary=("equalised_odds",)))


# --- the summary and the files --------------------------------------------------------------------


def two_runs():
    (a, b, c), labels, groups = random_tables(11, seeds=3)
    return {"real-1": a, "real-2": b, "real+synthetic-1": b, "real+synthetic-2": c}, labels, groups


def test_summary_one_row_is_one_statement():
    models, labels, groups = two_runs()
    settings = FairnessSettings(baseline="real", **EVERYONE)
    tables = evaluate(models, labels, groups, settings)
    summary = tables["fairness"]
    key = ["dataset", "split", "model", "seed", "attribute", "grouping", "criterion"]
    assert not summary.duplicated(key).any()
    assert set(summary["criterion"]) == set(settings.summary)
    rows = summary.query("attribute == 'Bangs' and grouping == 'age' and criterion == 'accuracy_gap'")
    by_id = rows.set_index("model_id")
    runs = {"real", "real+synthetic"}
    assert set(by_id.index) == runs | {f"{run}-{seed}" for run in runs for seed in (1, 2)}
    seeds = by_id.loc[["real-1", "real-2"], "value"]
    assert by_id.loc["real", "seed_mean"] == pytest.approx(seeds.mean())
    assert by_id.loc["real", "seed_std"] == pytest.approx(seeds.std())
    assert by_id.loc["real", "aggregation"] == "over seeds"
    of_seeds = tables["group_metrics"].query(
        "run_id == 'real' and attribute == 'Bangs' and grouping == 'age' and metric == 'accuracy'"
    )
    averaged = of_seeds.groupby("group")["value"].mean()
    assert by_id.loc["real", "value"] == pytest.approx(np.ptp(averaged))
    assert by_id.loc["real", "value"] <= by_id.loc["real", "seed_mean"] + 1e-12
    assert by_id.loc["real", "n_images"] == by_id.loc["real-1", "n_images"]
    change = by_id.loc["real+synthetic", "value"] - by_id.loc["real", "value"]
    assert by_id.loc["real+synthetic", "change"] == pytest.approx(change)
    assert np.isnan(by_id.loc["real-1", "change"])
    assert set(headline(rows)["model_id"]) == runs
    one = by_id.loc["real-1"]
    rates = tables["group_metrics"].query(
        "model_id == 'real-1' and attribute == 'Bangs' and grouping == 'age' and metric == 'accuracy'"
    ).set_index("group")["value"]  # fmt: skip
    assert one["worst_rate"] == rates.min() and rates[one["worst_group"]] == rates.min()
    assert one["best_rate"] == rates.max() and rates[one["best_group"]] == rates.max()


def test_unknown_baseline():
    models, labels, groups = two_runs()
    with pytest.raises(UserError, match=r"'reel'.*real"):
        evaluate(models, labels, groups, FairnessSettings(baseline="reel"))


def write_predictions(folder, models, labels, groups, **meta):
    paths = {}
    for model_id, frame in models.items():
        table = frame.merge(groups, on="image_id").merge(
            labels.rename(columns={c: f"label_{c}" for c in labels.columns if c != "image_id"}), on="image_id"
        )
        paths[model_id] = folder / model_id / "maad_face.parquet"
        write_table(table, paths[model_id], kind="predictions", meta=meta)
    return paths


def test_files_are_the_same_bytes_twice(tmp_path):
    models, labels, groups = two_runs()
    thresholds = {"Smiling": 0.4, "Bangs": 0.6}
    paths = write_predictions(tmp_path, models, labels, groups, thresholds=thresholds, split="test")
    settings = FairnessSettings(baseline="real", **EVERYONE)
    kinds = (
        "fairness", "group_metrics", "gap_metrics", "pairwise_differences", "model_comparison", "label_coverage",
    )  # fmt: skip
    for folder in ("a", "b"):
        outputs = {name: tmp_path / folder / f"{name}.csv" for name in kinds}
        evaluate_predictions(paths, settings, outputs | {"manifest": tmp_path / folder / "manifest.json"})
    for name in (f"{k}.csv" for k in kinds):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    manifests = [json.loads((tmp_path / folder / "manifest.json").read_text()) for folder in ("a", "b")]
    for manifest in manifests:
        assert manifest.pop("started") <= manifest.pop("finished")
    assert manifests[0] == manifests[1]
    text = (tmp_path / "a" / "fairness.csv").read_bytes()
    assert b"\r" not in text and b"nan" not in text.lower() and b"True" not in text
    table = pd.read_csv(tmp_path / "a" / "fairness.csv")
    assert set(table["dataset"]) == {"maad_face"}
    assert set(table.query("attribute == 'Bangs'")["threshold"]) == {0.6}
    assert not table.drop(columns="status").isna().all().any(), "a column that is always empty is a promise"


def test_thresholds_belong_to_the_model(tmp_path):
    models, labels, groups = two_runs()
    paths = {}
    for threshold, (model_id, frame) in zip((0.2, 0.8, 0.8, 0.8), models.items(), strict=True):
        own = {"Smiling": threshold, "Bangs": 0.5}
        paths |= write_predictions(tmp_path, {model_id: frame}, labels, groups, thresholds=own)
    tables = evaluate_predictions(paths, LOOSE, {})
    seen = tables["group_metrics"].query("attribute == 'Smiling'").groupby("model_id")["threshold"].unique()
    assert seen.map(list).to_dict() == {"real-1": [0.2]} | {m: [0.8] for m in list(models)[1:]}
    mean = tables["fairness"].query("model_id == 'real' and attribute == 'Smiling'")
    assert mean["threshold"].isna().all()
    rates = tables["group_metrics"].query(
        "attribute == 'Smiling' and grouping == 'gender' and group == 'male' and metric == 'selection_rate_all'"
    ).set_index("model_id")["value"]  # fmt: skip
    assert rates["real-1"] > rates["real-2"]


def test_models_must_share_the_test_set(tmp_path):
    models, labels, groups = two_runs()
    paths = write_predictions(tmp_path, models, labels, groups)
    other = labels.copy()
    other.loc[9, "Bangs"] = 1 if other.loc[9, "Bangs"] != 1 else -1
    paths |= write_predictions(tmp_path / "x", {"late-1": models["real-1"]}, other, groups)
    with pytest.raises(UserError, match=r"img00009.*label_Bangs"):
        evaluate_predictions(paths, LOOSE, {})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1 + 0.2, "0.3"), (1.0, "1"), (-0.0, "0"), (np.nan, ""), (1 / 3, "0.3333333333"), (-0.05, "-0.05"),
     (1e-17, "1e-17")],
)  # fmt: skip
def test_numbers_in_csv(value, text):
    assert format_number(value) == text


def test_csv_words(tmp_path):
    frame = pd.DataFrame({"k": ["b", "a"], "flag": [True, None], "n": pd.array([1, None], dtype="Int64")})
    write_csv(frame, tmp_path / "t.csv", sort_by=["k"])
    assert (tmp_path / "t.csv").read_text() == "k,flag,n\na,,\nb,true,1\n"
    write_csv(pd.DataFrame({"x": np.float32([0.1, 1 / 3])}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "x\n0.1\n0.3333333\n"


def test_every_image_is_counted_once():
    rng = np.random.default_rng(0)
    n = 200_000
    decided, truth = rng.integers(0, 2, n).astype(np.int8), rng.integers(-1, 2, n).astype(np.int8)
    space = CellSpace({"gender": ("f", "m"), "age": ("y", "m", "s"), "ethnicity": ("a", "b", "w")})
    people = np.array([f"p{k:04d}" for k in range(500)], dtype=object)[np.arange(n) % 500]
    cube = count(people, rng.integers(0, space.size, n), space, [(f"a{k}", decided, truth) for k in range(5)])
    assert int(cube.counts[:, 0].sum()) == n
