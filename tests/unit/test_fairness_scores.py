"""What scores say whatever the threshold: equal to plain definitions, honest intervals, statuses, the mean of seeds."""

import itertools
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated_scores as simulation
from sklearn.metrics import brier_score_loss, roc_auc_score

from evenface.fairness import FairnessSettings, evaluate, write_csv
from evenface.fairness.cube import CellSpace, count
from evenface.fairness.evaluated import evaluate_grouping
from evenface.fairness.inputs import ScoreColumns, Scored, read_predictions, read_test_set
from evenface.fairness.score_tables import SCORE_TABLES
from evenface.fairness.scores import AUC, BRIER, ECE, EER, SIGNED, score_statistics

LEVELS = ("a", "b", "c", "d")


def random_tables(seed, n=200, people=25, decimals=None, constant=True, dtype=np.float32, attributes=("Smiling",)):
    rng = np.random.default_rng(seed)
    person = rng.integers(0, people, n)
    ids = [f"i{k}" for k in range(n)]
    group = np.array(LEVELS)[person % 4 if constant else rng.integers(0, 4, n)]
    predictions = pd.DataFrame({"image_id": ids, "identity_id": [f"p{k}" for k in person]})
    labels = pd.DataFrame({"image_id": ids})
    effect = rng.normal(size=people)
    for attribute in attributes:
        label = rng.choice(np.array([-1, 0, 1]), n, p=[0.45, 0.1, 0.45])
        score = 1 / (1 + np.exp(-(1.2 * label + effect[person] + rng.normal(size=n))))
        predictions[f"score_{attribute}"] = (np.round(score, decimals) if decimals is not None else score).astype(dtype)
        labels[attribute] = label
    return predictions, labels, pd.DataFrame({"image_id": ids, "ethnicity": group})


def settings_of(**changes):
    own = {"groupings": ("ethnicity",), "levels": {"ethnicity": LEVELS}, "min_denominator": 1, "min_identities": 1}
    return FairnessSettings(**own | {"n_boot": 100, "n_perm": 20, "calibration_bins": 5} | changes)


def by_hand(score, label, bin_of):
    """The metrics of one group, by their definitions, and the threshold of the EER."""
    positive = label > 0
    found = dict.fromkeys((AUC, EER, ECE, SIGNED, BRIER), np.nan) | {"threshold": np.nan}
    if len(score):
        error = score - positive
        found[ECE] = sum(abs(error[bin_of == k].sum()) for k in set(bin_of)) / len(score)
        found[SIGNED], found[BRIER] = error.mean(), brier_score_loss(positive, score, labels=[False, True])
    if positive.any() and not positive.all():
        found[AUC] = roc_auc_score(positive, score)
        points = [((score >= t) & ~positive, (score < t) & positive, t) for t in [*np.unique(score), np.inf]]
        m, n = int(positive.sum()), int((~positive).sum())
        points = [(int(fp.sum()), int(fn.sum()), t) for fp, fn, t in points]
        for (fp, fn, t), (fp_next, fn_next, t_next) in itertools.pairwise(points):
            here, there = fp * m - fn * n, fp_next * m - fn_next * n  # FPR - FNR, times m n
            if here >= 0 > there:
                found[EER] = (fp + here / (here - there) * (fp_next - fp)) / n
                found["threshold"] = t if abs(here) <= abs(there) else t_next
    return found


@pytest.mark.parametrize("decimals", [None, 0, 1, 2])
@pytest.mark.parametrize("constant", [True, False])
def test_metrics_and_jackknife_are_those_of_plain_definitions(decimals, constant):
    for seed in range(5):
        n, people = int(np.random.default_rng(seed).integers(6, 160)), 1 + 5 * seed
        dtype = (np.float32, np.float64)[seed % 2]
        tables = random_tables(seed, n, people, decimals, constant, dtype)
        settings = settings_of()
        test = read_test_set(tables[1], tables[2], settings, {"Smiling"})
        scored = read_predictions(tables[0], test, settings)
        evaluated = {"ethnicity": evaluate_grouping(scored, test.space.grouping("ethnicity"), settings)}
        statistics = score_statistics(scored, evaluated, settings)
        found, counted = statistics.groupings["ethnicity"], evaluated["ethnicity"].counted
        label = tables[1]["Smiling"].to_numpy()
        score, exact = tables[0]["score_Smiling"].to_numpy(), tables[0]["score_Smiling"].to_numpy(dtype=np.float64)
        defined = np.sort(score[label != 0])
        bin_of = np.searchsorted(defined[len(defined) * np.arange(1, 5) // 5], score, side="right")
        person, group = tables[0]["identity_id"].to_numpy(), tables[2]["ethnicity"].to_numpy()

        def expected(mask, score=exact, label=label, bin_of=bin_of):
            return by_hand(score[mask], label[mask], bin_of[mask])

        for g, level in enumerate(LEVELS):
            inside = (group == level) & (label != 0)
            whole = expected(inside)
            for metric in (AUC, EER, ECE, SIGNED, BRIER):
                np.testing.assert_allclose(found.value[metric][0, g], whole[metric], atol=1e-12)
            assert found.threshold[0, g] == pytest.approx(whole["threshold"], abs=0, nan_ok=True)
            for unit in np.flatnonzero(counted.group == g):
                without = expected(inside & (person != scored.cube.identities[counted.identity[unit]]))
                for metric in (AUC, SIGNED, BRIER):
                    if not np.isnan(without[metric]):
                        effect = whole[metric] - without[metric]
                        np.testing.assert_allclose(found.effects[metric][unit, 0], effect, atol=1e-12)


def test_the_effects_of_people_on_the_eer_are_its_derivative():
    """Weights of people, changed a little, move the EER as the effects say, up to the smoothing of the slope."""
    tables = random_tables(3, 6000, 60)
    settings = settings_of()
    test = read_test_set(tables[1], tables[2], settings, {"Smiling"})
    scored = read_predictions(tables[0], test, settings)
    evaluated = {"ethnicity": evaluate_grouping(scored, test.space.grouping("ethnicity"), settings)}
    found, counted = (
        score_statistics(scored, evaluated, settings).groupings["ethnicity"],
        evaluated["ethnicity"].counted,
    )
    label, score = tables[1]["Smiling"].to_numpy(), tables[0]["score_Smiling"].to_numpy().astype(float)
    person, group = tables[0]["identity_id"].to_numpy(), tables[2]["ethnicity"].to_numpy()
    effects, exact = [], []
    for unit, (g, identity) in enumerate(zip(counted.group, counted.identity, strict=True)):
        inside = (group == LEVELS[g]) & (label != 0)
        without = inside & (person != scored.cube.identities[identity])
        part = by_hand(score[without], label[without], np.zeros(without.sum(), int))[EER]
        effects.append(found.effects[EER][unit, 0])
        exact.append(found.value[EER][0, g] - part)
    assert np.corrcoef(effects, exact)[0, 1] > 0.97
    assert np.std(effects) == pytest.approx(np.std(exact), rel=0.15)


def test_coverage_quickly():
    found = simulation.measure(simulation.CELLS["4 groups of 20, AUC 0.8"], 60, n_boot=200)
    for metric in (AUC, EER, ECE, SIGNED):
        assert found[metric] >= 0.91 and found[f"{metric} gap"] >= 0.88 and found[f"{metric} rejected"] <= 0.12, found


@pytest.mark.slow
@pytest.mark.parametrize("name", simulation.CELLS)
def test_coverage(name):
    found = simulation.measure(simulation.CELLS[name], 400)
    for metric in (AUC, EER, ECE, SIGNED):
        assert found[metric] >= 0.92 and found[f"{metric} gap"] >= 0.91, found
        if "and" not in name and "shifted" not in name:
            assert found[f"{metric} rejected"] <= 0.09, found


def test_rows_of_every_table():
    predictions, labels, groups = random_tables(0, 1500, 80, attributes=("Smiling", "Bangs"))
    tables = evaluate(predictions, labels, groups, settings_of(curve_thresholds=9))
    rows = tables["score_metrics"]
    assert len(rows) == 2 * 4 * 5 and (rows["status"] == "").all()
    assert ((rows["ci_low"] <= rows["value"]) & (rows["value"] <= rows["ci_high"])).all()
    assert rows.loc[rows["metric"] == EER, "threshold"].notna().all()
    for row in tables["score_gaps"].itertuples():
        of = rows[(rows["attribute"] == row.attribute) & (rows["metric"] == row.metric)].set_index("group")
        value = of["value"] - of["bias"].fillna(0)
        value = value.clip(lower=0) if row.metric == ECE else value
        assert row.value == pytest.approx(np.ptp(value), abs=1e-12)
        assert row.group_max == value.idxmax() and row.group_min == value.idxmin()
        assert row.ci_low <= row.value <= row.ci_high and 0 < row.p_value <= 1 and row.p_value <= row.q_value <= 1
    bins = tables["calibration"]
    assert bins.groupby(["attribute", "group"])["n_images"].sum().tolist() == rows.loc[
        rows["metric"] == ECE, "n_images"].tolist()  # fmt: skip
    error = (bins["mean_score"] - bins["positive_rate"]).abs() * bins["n_images"]
    ece = (
        error.groupby([bins["attribute"], bins["group"]]).sum() / bins.groupby(["attribute", "group"])["n_images"].sum()
    )
    np.testing.assert_allclose(ece, rows.loc[rows["metric"] == ECE, "value"], atol=1e-12)
    assert ((bins["score_from"] <= bins["mean_score"]) & (bins["mean_score"] <= bins["score_to"])).all()


@pytest.mark.parametrize("threshold", [0.5, 0.31])
def test_curves_at_the_models_own_threshold_are_the_rates(threshold):
    tables = evaluate(*random_tables(1, 900, 60, decimals=2), settings_of(thresholds=threshold))
    curves = tables["threshold_curves"]
    assert len(curves) == 4 * 20
    own = curves[curves["own_threshold"]].set_index("group")
    assert (own["threshold"] == threshold).all()
    rates = tables["group_metrics"].pivot(index="group", columns="metric", values="value")
    gaps = tables["gap_metrics"].set_index("criterion")["value"]
    of_gaps = tables["threshold_gaps"].set_index("own_threshold").loc[True]
    for name in ("tpr", "fpr", "selection_rate", "accuracy"):
        np.testing.assert_allclose(own[name], rates[name], atol=1e-15)
        assert ((curves[f"{name}_low"] <= curves[name]) & (curves[name] <= curves[f"{name}_high"])).all()
    assert of_gaps["tpr_difference"] == pytest.approx(gaps["equal_opportunity_difference"], abs=1e-15)
    for kind in ("worst", "mean"):
        name = f"equalized_odds_difference_{kind}"
        assert of_gaps[name] == pytest.approx(gaps[name], abs=1e-15)
    for group, rows in curves[~curves["own_threshold"]].groupby("group"):
        assert (rows["tpr"].diff().dropna() <= 0).all() and (rows["fpr"].diff().dropna() <= 0).all(), group


def test_a_threshold_means_the_same_in_curves_and_decisions():
    """float32 scores at a threshold that float32 cannot hold are compared as in the predictions."""
    predictions, labels, groups = random_tables(2, 400, 40)
    predictions["score_Smiling"] = np.float32(0.7)
    tables = evaluate(predictions, labels, groups, settings_of(thresholds=0.7))
    curves = tables["threshold_curves"]
    assert (curves.loc[np.isclose(curves["threshold"], 0.7), "selection_rate"] == 1).all()
    metrics = tables["score_metrics"].set_index("metric")
    assert (metrics.loc[AUC, "value"] == 0.5).all() and (metrics.loc[EER, "value"] == 0.5).all()
    assert (metrics.loc[AUC, "ci_low"] < 0.45).all(), "no spread does not mean certainty"


def test_decisions_only_have_their_status():
    predictions, labels, groups = random_tables(0)
    decided = predictions.rename(columns={"score_Smiling": "pred_Smiling"})
    decided["pred_Smiling"] = (decided["pred_Smiling"] > 0.5).astype(int)
    tables = evaluate(decided, labels, groups, settings_of())
    for name in set(SCORE_TABLES) - {"calibration"}:
        assert len(tables[name]) and (tables[name]["status"] == "no_scores").all(), name
    assert tables["score_metrics"]["value"].isna().all() and not len(tables["calibration"])
    assert (tables["score_gaps"]["verdict"] == "not_evaluable").all()


def test_statuses_of_groups_without_a_class_with_little_support_and_of_circular_attributes():
    predictions, labels, groups = random_tables(0, 600, 40, attributes=("Male", "Smiling"))
    groups["gender"] = np.where(groups["ethnicity"].isin(["a", "b"]), "female", "male")
    labels.loc[groups["ethnicity"] == "a", "Smiling"] = -1
    few = groups["ethnicity"] == "b"
    labels.loc[few, "Smiling"] = np.where(np.cumsum(few)[few] <= 2, 1, -1)
    settings = settings_of(min_denominator=5, groupings=("ethnicity", "gender"),
                           levels={"gender": ("female", "male"), "ethnicity": LEVELS})  # fmt: skip
    tables = evaluate(predictions, labels, groups, settings)
    rows = tables["score_metrics"].set_index(["attribute", "grouping", "group", "metric"])["status"]
    assert rows["Smiling", "ethnicity", "a", AUC] == "no_denominator" and rows["Smiling", "ethnicity", "a", ECE] == ""
    assert rows["Smiling", "ethnicity", "b", AUC] == "low_support" and rows["Smiling", "ethnicity", "c", AUC] == ""
    assert (rows["Male", "gender"] == "circular").all()
    gaps = tables["score_gaps"].set_index(["attribute", "grouping", "metric"])
    assert gaps.loc[("Smiling", "ethnicity", AUC), "groups_excluded"] == "a;b"
    assert np.isnan(gaps.loc[("Male", "gender", AUC), "p_value"])
    nothing = labels.assign(Smiling=0, Male=0)
    for table in evaluate(predictions, nothing, groups, settings).values():
        assert "nan" not in set(table.get("status", pd.Series(dtype=object)).astype(str))
    everything = evaluate(predictions.iloc[:0], labels.iloc[:0], groups.iloc[:0], settings)
    assert (everything["score_metrics"]["value"].isna()).all()


def test_undefined_labels_can_take_a_claim_back():
    predictions, labels, groups = random_tables(5, 4000, 200)
    worse = groups["ethnicity"] == "a"
    predictions.loc[worse, "score_Smiling"] = np.random.default_rng(0).random(int(worse.sum()), np.float32)
    labels.loc[:, "Smiling"] = np.where(labels["Smiling"] == 0, 1, labels["Smiling"])
    sure = evaluate(predictions, labels, groups, settings_of())["score_gaps"].set_index("metric")
    assert sure.loc[AUC, "verdict"] == "gap" and sure.loc[EER, "verdict"] == "gap"
    hidden = labels.assign(Smiling=labels["Smiling"].where(np.random.default_rng(1).random(4000) < 0.5, 0))
    unsure = evaluate(predictions, hidden, groups, settings_of())["score_gaps"].set_index("metric")
    assert unsure.loc[AUC, "verdict"] == "gap_not_label_robust" and unsure.loc[EER, "verdict"] == "gap_not_label_robust"


def test_label_robustness_holds_for_labels_of_the_worst_kind():
    """Groups whose gap is label-robust differ whatever the undefined labels are; tried with many."""
    rng = np.random.default_rng(8)
    predictions, labels, groups = random_tables(6, 1200, 100)
    far = groups["ethnicity"] == "a"
    predictions.loc[far, "score_Smiling"] = rng.random(int(far.sum()), np.float32)
    labels.loc[rng.random(1200) < 0.97, "Smiling"] = np.where(rng.random(1200) < 0.5, 1, -1)[: len(labels)][0]
    gaps = evaluate(predictions, labels, groups, settings_of())["score_gaps"].set_index("metric")
    if gaps.loc[AUC, "label_robust"] is True:
        score = predictions["score_Smiling"].to_numpy()
        for flip in (score > 0.5, score <= 0.5, rng.random(1200) < 0.5):
            filled = labels["Smiling"].where(labels["Smiling"] != 0, np.where(flip, 1, -1))
            again = evaluate(predictions, labels.assign(Smiling=filled), groups, settings_of())["score_gaps"]
            assert again.set_index("metric").loc[AUC, "value"] > 0


def test_seeds_are_averaged_jointly():
    first, labels, groups = random_tables(0, 900, 60)
    second = first.assign(
        score_Smiling=np.clip(first["score_Smiling"] + np.random.default_rng(9).normal(0, 0.2, 900), 0, 1)
    )
    tables = evaluate(
        {"real-1": first, "real-2": second.astype({"score_Smiling": np.float32})}, labels, groups, settings_of()
    )
    rows = tables["score_metrics"].pivot_table(
        index=["metric", "group"], columns="model_id", values=["value", "se", "n_eff"]
    )
    value, se, n_eff = rows["value"], rows["se"], rows["n_eff"]
    np.testing.assert_allclose(value["real"], (value["real-1"] + value["real-2"]) / 2, atol=1e-12)
    assert (se["real"] <= (se["real-1"] + se["real-2"]) / 2 + 1e-12).all(), (
        "errors of the same people are shared, not added"
    )
    np.testing.assert_allclose(n_eff["real"], n_eff["real-1"])
    assert set(tables["score_gaps"].groupby("model_id")["n_seeds"].first()) == {1, 2}
    curves = tables["threshold_curves"]
    assert set(curves["model_id"]) == {"real"} and (curves["n_seeds"] == 2).all()
    own = curves[curves["own_threshold"]].set_index("group")["tpr"]
    rates = tables["group_metrics"].query("metric == 'tpr'").groupby("group")["value"].mean()
    np.testing.assert_allclose(own, rates, atol=1e-12)
    same = evaluate({"real-1": first, "real-2": first}, labels, groups, settings_of())["score_metrics"]
    parts = [same[same["model_id"] == model].reset_index(drop=True) for model in ("real", "real-1")]
    for column in ("value", "ci_low", "ci_high", "se", "n_positive", "n_images", "n_eff"):
        np.testing.assert_allclose(parts[0][column], parts[1][column], atol=1e-12, err_msg=column)


def test_order_of_rows_and_threads_change_no_byte(tmp_path):
    predictions, labels, groups = random_tables(0, 700, 50, decimals=2, constant=False, attributes=("Smiling", "Bangs"))
    shuffled = [table.sample(frac=1, random_state=1) for table in (predictions, labels, groups)]
    for name, tables in (
        ("a", evaluate(predictions, labels, groups, settings_of())),
        ("b", evaluate(*shuffled, settings_of(), threads=3)),
    ):
        for table in SCORE_TABLES:
            (tmp_path / name).mkdir(exist_ok=True)
            write_csv(tables[table], tmp_path / name / table)
    for table in SCORE_TABLES:
        assert (tmp_path / "a" / table).read_bytes() == (tmp_path / "b" / table).read_bytes(), table


def test_images_of_one_person_are_not_further_people():
    """Every image twice within its person: nothing about the groups changes, and no interval becomes narrower."""
    predictions, labels, groups = random_tables(0, 500, 40)
    labels["Smiling"] = labels["Smiling"].replace(0, 1)  # 500 images in 5 bins, 1000 in the same ones
    twice = [pd.concat([t, t.assign(image_id=t["image_id"] + "x")]) for t in (predictions, labels, groups)]
    one, two = (evaluate(*tables, settings_of())["score_metrics"] for tables in ((predictions, labels, groups), twice))
    for column in ("value", "ci_low", "ci_high", "se", "n_eff"):
        np.testing.assert_allclose(one[column], two[column], atol=1e-12, err_msg=column)


def test_without_identities_every_image_is_its_own_unit():
    predictions, labels, groups = random_tables(0, 400, 400)
    alone = predictions.drop(columns="identity_id")
    rows = evaluate(alone, labels, groups, settings_of())["score_metrics"].set_index(["group", "metric"])
    score, label = predictions["score_Smiling"].astype(float), labels["Smiling"]
    inside = (groups["ethnicity"] == "a") & (label != 0)
    # DeLong's standard error, from the placements of positives and negatives
    positive, negative = (score[inside & (label == sign)].to_numpy() for sign in (1, -1))
    above = (positive[:, None] > negative).astype(float) + 0.5 * (positive[:, None] == negative)
    parts = above.mean(axis=1).var(ddof=1) / len(positive) + above.mean(axis=0).var(ddof=1) / len(negative)
    assert rows.loc[("a", AUC), "se"] == pytest.approx(np.sqrt(parts), rel=0.02)


def test_intervals_can_be_switched_off():
    tables = evaluate(*random_tables(0), settings_of(n_boot=0, n_perm=0))
    assert tables["score_gaps"][["p_value", "ci_low"]].isna().all(axis=None)
    assert tables["score_gaps"]["value"].notna().all()


def large(n, attributes, people):
    """A model of ``attributes`` on ``n`` images of ``people`` with one demographic cell each."""
    rng = np.random.default_rng(0)
    space = CellSpace({"gender": ("f", "m"), "age": ("y", "m", "s"), "ethnicity": LEVELS})
    person = np.sort(rng.integers(0, people, n))
    known = np.array([np.ravel_multi_index((k % 2, k // 2 % 3, k // 6), (3, 4, 5)) for k in range(24)])
    cells, names = known[np.arange(people) % 24][person], np.array([f"p{k:05d}" for k in person], dtype=object)
    label = rng.choice(np.array([-1, 1, 0], np.int8), n, p=[0.5, 0.4, 0.1])
    base = 1.5 * label + rng.normal(size=people)[person]
    frame = pd.DataFrame(
        {
            f"score_a{k:02d}": (1 / (1 + np.exp(-base - rng.standard_normal(n)))).astype(np.float32)
            for k in range(attributes)
        }
    )
    columns = {f"a{k:02d}": f"score_a{k:02d}" for k in range(attributes)}
    cube = count(names, cells, space, ((a, frame[c] >= 0.5, label) for a, c in columns.items()))
    rows, labels = np.arange(n), dict.fromkeys(columns, label)
    scores = ScoreColumns(cube.pair_of(names, cells), frame, columns, rows, labels, rows)
    return Scored(cube, dict.fromkeys(columns, 0.5), "identity", {}, 0, 0, scores), space


def test_speed_at_the_size_of_a_test_set():
    """169,396 images x 40 attributes x 500 people in 7 groupings of 59 groups; 1.5 s of one core where it is free."""
    scored, space = large(169_396, 40, 500)
    settings = FairnessSettings(levels=dict(space.levels))
    evaluated = {g: evaluate_grouping(scored, space.grouping(g), settings) for g in settings.groupings}
    started = time.process_time()
    statistics = score_statistics(scored, evaluated, settings, threads=2)
    assert sum(one.result.n_groups for one in statistics.groupings.values()) == 59
    assert time.process_time() - started < 8
    assert replace(statistics, groupings={}).at_least.nbytes < 2e7
