"""What a test set can see: the plan against exact formulas, against the real test on simulated people, and in tables."""

import numpy as np
import pandas as pd
import pytest
import simulated_people as simulation
from scipy.special import ndtri
from scipy.stats import studentized_range

from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate, power
from evenface.fairness.comparison import with_training
from evenface.fairness.planning import (
    PLANNED,
    POWER_COLUMNS,
    Assumptions,
    designs,
    designs_of_faces,
    designs_of_numbers,
    designs_of_table,
    learned_from,
    plan,
    seeds_in_words,
    text,
    warnings,
)
from evenface.fairness.rate_limits import student
from evenface.fairness.settings import PlanningSettings
from evenface.storage.csv import write_csv
from evenface.storage.tables import write_table

GAP = "equal_opportunity_difference"


@pytest.mark.parametrize("k", [3, 4, 8, 18])
@pytest.mark.parametrize("level", [0.05, 0.00125])
def test_the_range_of_equal_groups_is_the_studentised_range(k, level):
    critical, _ = power.needed_errors(k, level, 0.8)
    assert critical == pytest.approx(studentized_range.isf(level, k, np.inf) / np.sqrt(2), rel=1e-4)


@pytest.mark.parametrize("k", [2, 3, 8])
def test_the_largest_difference_is_seen_as_often_as_planned(k):
    critical, beyond = power.needed_errors(k, 0.05, 0.8)
    means = np.zeros(k)
    means[:2] = np.array([0.5, -0.5]) * (critical + beyond) * np.sqrt(2)
    x = np.random.default_rng(1).normal(means, size=(40_000, k))
    assert np.mean(np.ptp(x, axis=1) / np.sqrt(2) > critical) == pytest.approx(0.8, abs=0.01)


def test_people_of_one_image_each_are_two_binomial_samples():
    """The textbook's number per group for 0.8 against 0.7: 294 with a normal distribution, 0.05 and a power of 0.8."""
    textbook = (1.959964 + 0.841621) ** 2 * (0.8 * 0.2 + 0.7 * 0.3) / 0.1**2
    needed = power.people_needed(0.1, np.array([0.8]), np.array([1.0]), np.array([1.0]), 0.0, 2, 0.05, 0.8)[0]
    assert needed == pytest.approx(textbook, rel=0.03)


def test_people_differ_as_said():
    draws = np.random.default_rng(2).normal(size=400_000)
    chance = 1 / (1 + np.exp(-(simulation.intercept(0.8, 1.5) + 1.5 * draws)))
    assert float(power.intraclass(0.8, 1.5)) == pytest.approx(chance.var() / (0.8 * 0.2), rel=0.01)
    assert power.person_sd_of(0.8, float(power.intraclass(0.8, 1.1))) == pytest.approx(1.1, abs=0.02)
    assert power.person_sd_of(0.8, 0.0) == 0 and power.person_sd_of(0.8, 1.0) == 12
    assert float(power.intraclass(0.3, 0.0)) < 1e-9


def test_the_people_that_a_gap_needs_see_this_gap():
    many = power.people_needed(0.08, np.array([0.8]), np.array([0.4]), np.array([80.0]), 1.5, 4, 0.01, 0.8)
    group = many * 0.4, many * 80.0
    found = power.detectable_gap(np.array([0.8]), group, group, 1.5, 4, 0.01, 0.8)
    assert 0.078 < found[0] <= 0.08
    fewer = (group[0] * 0.97, group[1] * 0.97)
    assert power.detectable_gap(np.array([0.8]), fewer, fewer, 1.5, 4, 0.01, 0.8)[0] > 0.08
    # 0.2 is as far from 0.25 as 0.8 from 0.75; two people of a hundred images see nothing
    mirrored = power.detectable_gap(np.array([0.2]), group, group, 1.5, 4, 0.01, 0.8)
    np.testing.assert_allclose(mirrored, found)
    few = np.array([2.0]), np.array([200.0])
    assert np.isnan(power.detectable_gap(np.array([0.8]), few, few, 1.5, 4, 0.01, 0.8)[0])
    impossible = power.people_needed(0.9, np.array([0.8]), np.array([1.0]), np.array([9.0]), 1.5, 2, 0.05, 0.8)
    assert np.isnan(impossible[0])


def test_a_change_is_seen_as_often_as_planned():
    """Networks differ by 0.02 between seeds and the change by 0.006 between choices of 60 people; s and V are estimated."""
    people, n_eff, training, change = 0.006**2, 60.0, 0.02**2, 0.025
    seeds = int(power.seeds_needed(change, people, n_eff, training, 0.05, 0.8))
    rng = np.random.default_rng(3)
    runs = 40_000
    own = change + rng.normal(0, np.sqrt(training), (runs, seeds)) + rng.normal(0, np.sqrt(people), (runs, 1))
    total, freedom = with_training(
        people * rng.chisquare(n_eff - 1, runs) / (n_eff - 1), n_eff, (own.var(axis=1, ddof=1) / seeds, seeds)
    )
    seen = np.mean(np.abs(own.mean(axis=1)) > student(np.array(1.959964), freedom) * np.sqrt(total))
    assert 0.77 < seen < 0.9
    smallest = float(power.change_seen(people, n_eff, training, seeds, 0.05, 0.8))
    assert smallest <= change < float(power.change_seen(people, n_eff, training, seeds - 1, 0.05, 0.8))


def test_no_number_of_seeds_or_of_people_will_do():
    few_people = 0.02**2, 60.0, 0.005**2
    assert np.isnan(power.seeds_needed(0.02, *few_people, 0.05, 0.8))
    times = power.times_as_many_people(0.02, *few_people, 5, 0.05, 0.8)
    seen = power.change_seen(few_people[0] / times, 60 * times, few_people[2], 5, 0.05, 0.8)
    assert times > 1 and seen == pytest.approx(0.02, rel=1e-3)
    unsteady = 0.001**2, 60.0, 0.1**2
    assert np.isnan(power.times_as_many_people(0.02, *unsteady, 3, 0.05, 0.8))
    assert power.seeds_needed(0.02, *unsteady, 0.05, 0.8) > 150


def test_the_plan_holds_quickly():
    found = simulation.planned_power((60,) * 4, 100)
    assert 0.7 <= found["seen"] <= 0.97 and 0.2 < found["gap"] < 0.35, found


@pytest.mark.slow
@pytest.mark.parametrize("name", simulation.POWER)
def test_the_plan_holds(name):
    """Where groups say differently much, the plan is for those that say least, and more is seen than planned."""
    found = simulation.planned_power(runs=400, **simulation.POWER[name])
    even = "rate" not in name and "and" not in name
    assert 0.74 <= found["seen"] <= (0.93 if even else 0.96), found


# --- tables ---


@pytest.fixture(scope="module")
def faces():
    """240 people of 1 to 40 images, one image each of 12 more; 30 % positive labels."""
    rng = np.random.default_rng(5)
    person = np.repeat(np.arange(252), np.r_[rng.integers(1, 41, 240), np.ones(12, int)])
    frame = pd.DataFrame({"image_id": [f"i{k}" for k in range(len(person))], "identity_id": [f"p{k}" for k in person]})
    frame["split"] = "test"
    frame["gender"] = np.where(person % 2, "male", "female")
    frame["age"] = np.where(person >= 240, "senior", np.where(person % 3, "young", "middle_aged"))
    frame["ethnicity"] = "unknown"
    for name in ("Smiling", "Bangs", "Male"):
        frame[name] = rng.choice(np.array([-1, 1, 0], np.int8), len(person), p=[0.6, 0.3, 0.1])
    return frame


@pytest.fixture
def settings():
    return FairnessSettings(attributes=("Smiling", "Bangs", "Male"), groupings=("gender", "age"))


def test_a_plan_has_a_row_for_every_gap_and_says_what_it_rests_on(faces, settings):
    assumptions = Assumptions.from_config({"person_sd": 1.0}, settings, 1)
    table = plan(designs(faces, settings, "faces", stored=True), assumptions, "mine")
    assert list(table) == POWER_COLUMNS and len(table) == 2 * 3 * len(PLANNED)
    rows = table.set_index(["grouping", "attribute", "criterion"])
    row = rows.loc["gender", "Smiling", GAP]
    positive = faces[faces["Smiling"] == 1]
    of_men = positive[positive["gender"] == "male"].groupby("identity_id").size()
    of_women = positive[positive["gender"] == "female"].groupby("identity_id").size()
    least = min((of_men, of_women), key=lambda d: d.sum() ** 2 / (d**2).sum())
    assert row["people"] == len(least) and row["images"] == least.sum()
    assert row["n_eff"] == pytest.approx(least.sum() ** 2 / (least**2).sum())
    assert row["base_rate"] == pytest.approx((faces["Smiling"] == 1).sum() / (faces["Smiling"] != 0).sum())
    assert row["level"] == 0.05 / 2, "Male says gender, and is not tested there"
    assert rows.loc["age", "Smiling", GAP]["level"] == 0.05 / 3
    assert rows.loc["gender", "Male", GAP]["status"] == "circular"
    assert np.isnan(rows.loc["gender", "Male", GAP]["detectable_gap"])
    assert row["resolvable"] == "not resolvable" and row["detectable_gap"] > row["gap"] == 0.05
    assert row["people_needed"] > row["people"] and row["n_seeds"] == 2
    assert rows.loc["age", "Smiling", GAP]["groups_excluded"] == "senior", "its 12 people have fewer than 30 images"
    accuracy = rows.loc["gender", "Smiling", "accuracy_gap"]
    assert accuracy["detectable_gap"] < row["detectable_gap"], "more images count"
    parity = rows.loc["gender", "Smiling", "demographic_parity_difference"]
    assert parity["rate"] == pytest.approx(row["base_rate"] * 0.8 + (1 - row["base_rate"]) * 0.2)
    words = text(table, assumptions)
    assert "standard deviation of 1" in words and "shared by 2 or 3 tests" in words and "senior" in words
    assert "no number" in seeds_in_words(row) and len(words.splitlines()) == len(table) + 8


def test_more_people_and_fewer_tests_see_more(faces, settings):
    planned = [
        plan(designs(faces, settings, "faces", stored=True), one)["detectable_gap"].to_numpy()
        for one in (
            Assumptions(PlanningSettings(gap=0.05)),
            Assumptions(PlanningSettings(gap=0.05), tests=1),
            Assumptions(PlanningSettings(gap=0.05, person_sd=0.5)),
            Assumptions(PlanningSettings(gap=0.05), power=0.9),
        )
    ]
    known = ~np.isnan(planned[0])
    first, single, alike, surer = (values[known] for values in planned)
    assert (single < first).all() and (alike < first).all() and (surer > first).all()


def test_only_the_test_split_counts(faces, settings, tmp_path):
    both = pd.concat([faces, faces.assign(split="train", image_id=faces["image_id"] + "t")])
    write_table(both, tmp_path / "faces.parquet", kind="faces")
    found = designs_of_faces(tmp_path / "faces.parquet", settings)
    assert found[0].images.sum(axis=1).tolist() == [(faces[a] == 1).sum() for a in ("Smiling", "Bangs", "Male")]
    with pytest.raises(UserError, match="no image of the split 'val'"):
        designs_of_faces(tmp_path / "faces.parquet", settings, "val")
    with pytest.raises(UserError, match="'Smilin' is not known; did you mean 'Smiling'"):
        designs_of_faces(tmp_path / "faces.parquet", settings.changed(attributes=("Smilin",)))


def test_too_few_permutations_are_said():
    table = plan(designs_of_numbers([50, 50], [10]), Assumptions(PlanningSettings(gap=0.05), tests=100))
    assert "evaluation.n_perm to at least 2000" in warnings(table, 1000)[0]
    assert warnings(table, 2000) == []


def test_numbers_stand_for_a_test_set():
    assumptions = Assumptions(PlanningSettings(gap=0.05))
    even = plan(designs_of_numbers([200, 200], [40]), assumptions).iloc[0]
    uneven = plan(designs_of_numbers([200, 200], [40], 1.2), assumptions).iloc[0]
    assert even["n_eff"] == 200 and uneven["n_eff"] == pytest.approx(200 / 2.44)
    assert uneven["detectable_gap"] > even["detectable_gap"] == pytest.approx(0.062, abs=0.001)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([200], [1]), "at least two groups"),
        (([200, 1], [1]), "a group has 1 person"),
        (([20, 20, 20], [1, 2]), "2 numbers for 3 groups"),
        (([20, 20], [0]), "at least 1"),
        (([20, 20], [1], float("nan")), "--images-cv is nan"),
    ],
)
def test_numbers_that_describe_no_test_set_are_refused(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        designs_of_numbers(*arguments)


def test_a_table_of_ones_own(faces, settings, tmp_path):
    own = pd.DataFrame(
        {"identity_id": faces["identity_id"], "team": faces["gender"], "Hat": (faces["Smiling"] == 1).astype(int)}
    )
    write_csv(own, tmp_path / "mine.csv")
    coded = settings.changed(label_coding="zero_one")
    found = designs_of_table(tmp_path / "mine.csv", ["team"], [], coded)
    assert [d.criterion for d in found] == list(PLANNED) and found[0].attributes == ("Hat",)
    assert found[0].groups == ("female", "male") and found[0].images.sum() == own["Hat"].sum()
    for arguments, sentence in (
        (([], []), "no column of groups"),
        ((["tem"], []), "did you mean 'team'"),
        ((["team"], ["hat"]), "'hat' is not known; did you mean 'Hat'"),
    ):
        with pytest.raises(UserError, match=sentence):
            designs_of_table(tmp_path / "mine.csv", *arguments, coded)
    write_csv(own.drop(columns="identity_id"), tmp_path / "nobody.csv")
    with pytest.raises(UserError, match="column 'identity_id' is missing"):
        designs_of_table(tmp_path / "nobody.csv", ["team"], [], coded)
    with pytest.raises(UserError, match="does not exist"):
        designs_of_table(tmp_path / "absent.csv", ["team"], [], coded)


# --- beside every gap ---


def predicted(faces, people_sd, seed):
    rng = np.random.default_rng(seed)
    person = faces["identity_id"].str[1:].astype(int).to_numpy()
    skill = rng.normal(0, people_sd, person.max() + 1)[person]
    frame = faces[["image_id", "identity_id"]].copy()
    for name in ("Smiling", "Bangs", "Male"):
        right = rng.random(len(faces)) < 1 / (1 + np.exp(-(1.4 + skill)))
        frame[f"pred_{name}"] = np.where(right, faces[name] > 0, faces[name] <= 0).astype(int)
    return frame


def evaluated(faces, settings, people_sd=1.0, **changes):
    tables = evaluate(
        {f"a-{seed}": predicted(faces, people_sd, seed) for seed in (1, 2)},
        faces[["image_id", "Smiling", "Bangs", "Male"]], faces[["image_id", "gender", "age", "ethnicity"]],
        settings.changed(**{"n_boot": 50, "n_perm": 99, **changes}),
    )  # fmt: skip
    return tables


@pytest.fixture(scope="module")
def tables(faces):
    settings = FairnessSettings(attributes=("Smiling", "Bangs", "Male"), groupings=("gender", "age"))
    return evaluated(faces, settings)


def test_resolvable_stands_beside_every_tested_gap(tables):
    gaps = tables["gap_metrics"]
    tested = gaps["p_value"].notna() & (gaps["criterion"] != "gini_aggregation_rate")
    assert set(gaps.loc[tested, "resolvable"]) <= {"resolvable", "not resolvable"} and tested.sum() > 100
    assert set(gaps.loc[~tested, "resolvable"]) == {""} and gaps.loc[~tested, "detectable_gap"].isna().all()
    assert {"detectable_gap", "resolvable"} < set(tables["fairness"])
    over = tables["fairness"][tables["fairness"]["aggregation"] == "over seeds"]
    assert over.loc[over["p_value"].notna(), "resolvable"].isin(["resolvable", "not resolvable"]).all()


def test_the_detectable_gap_is_that_of_the_rows_standard_errors(tables):
    gaps, groups = tables["gap_metrics"], tables["group_metrics"]

    def row(criterion):
        chosen = (gaps["criterion"] == criterion) & (gaps["attribute"] == "Smiling") & (gaps["grouping"] == "gender")
        return gaps[chosen & (gaps["model_id"] == "a-1")].iloc[0]

    mine = groups[(groups["metric"] == "tpr") & (groups["attribute"] == "Smiling") & (groups["grouping"] == "gender")]
    mine = mine[mine["model_id"] == "a-1"]
    variance, n_eff = mine["se"].to_numpy() ** 2, mine["n_eff"].to_numpy()
    freedom = variance.sum() ** 2 / (variance**2 / (n_eff - 1)).sum()
    level = 0.05 / row(GAP)["family_size"]
    assert row(GAP)["family_size"] == 2
    errors = student(-ndtri(level / 2), freedom) + student(ndtri(0.8), freedom)
    expected = float(errors * np.sqrt(variance.sum()))
    assert row(GAP)["detectable_gap"] == pytest.approx(expected, rel=1e-6)
    assert row("tpr_std")["detectable_gap"] == pytest.approx(expected / 2)
    assert row("fnr_difference")["detectable_gap"] == pytest.approx(expected)
    assert row("equal_opportunity_ratio")["detectable_gap"] == pytest.approx(1 - expected / mine["value"].max())
    worst, mean = (row(f"equalized_odds_difference_{kind}")["detectable_gap"] for kind in ("worst", "mean"))
    assert worst > expected, "two metrics share the level"
    assert mean <= worst
    assert row("fairness_discrepancy_rate")["detectable_gap"] == pytest.approx(1 - mean)
    assert np.isnan(row("tpr_macro_mean")["detectable_gap"])


def test_the_threshold_decides_what_is_resolvable(faces, settings, tables):
    gaps = tables["gap_metrics"]
    known = gaps["resolvable"] != ""
    differences = known & gaps["criterion"].str.endswith("_difference")
    expected = np.where(gaps["detectable_gap"] <= gaps["practical_threshold"], "resolvable", "not resolvable")
    assert (gaps["resolvable"] == expected)[differences].all()
    ratios = known & gaps["criterion"].str.endswith("_ratio")
    expected = np.where(1 - gaps["detectable_gap"] <= 0.2 + 1e-12, "resolvable", "not resolvable")
    assert (gaps["resolvable"] == expected)[ratios].all()
    wide = evaluated(faces, settings, practical_threshold=0.5, practical_ratio_threshold=0.9)["gap_metrics"]
    narrow = evaluated(faces, settings, practical_threshold=0.001, practical_ratio_threshold=0.001)["gap_metrics"]
    assert set(wide.loc[known & differences, "resolvable"]) == {"resolvable"}
    assert set(narrow.loc[known, "resolvable"]) == {"not resolvable"}
    untested = evaluated(faces, settings, n_perm=0)["gap_metrics"]
    assert set(untested["resolvable"]) == {""}


def test_an_earlier_run_says_how_much_people_differ(faces, settings, tmp_path):
    steady, unsteady = (
        evaluated(faces, settings, people_sd, n_boot=0, n_perm=0)["group_metrics"] for people_sd in (0.0, 2.0)
    )
    planned = []
    for name, table in (("steady", steady), ("unsteady", unsteady)):
        (tmp_path / name).mkdir()
        write_csv(table, tmp_path / name / "group_metrics.csv")
        learned = learned_from(tmp_path / name, Assumptions.from_config({}, settings, 3))
        planned.append(learned.learned["Smiling", "accuracy"])
    assert planned[0][1] < 0.5 < 1.5 < planned[1][1] < 2.7
    accuracy = steady[(steady["metric"] == "accuracy") & (steady["attribute"] == "Smiling")]["value"]
    assert planned[0][0] == pytest.approx(accuracy.mean(), abs=0.03)
    rows = plan(designs(faces, settings, "faces", stored=True), learned).set_index(
        ["grouping", "attribute", "criterion"]
    )
    assert rows.loc["age", "Smiling", "accuracy_gap"]["person_sd"] == planned[1][1]
    of_numbers = plan(designs_of_numbers([200, 200], [40]), learned).iloc[0]
    assert of_numbers["person_sd"] == learned.learned["", "accuracy"][1] > 1.5, "the mean of attributes"
    assert "an earlier run" in text(rows.reset_index(), learned)
    with pytest.raises(UserError, match=r"group_metrics\.csv does not exist; name the folder"):
        learned_from(tmp_path, Assumptions.from_config({}, settings, 3))


def test_an_earlier_comparison_says_what_seeds_do(faces, settings, tmp_path):
    tables = evaluate(
        {f"{run}-{seed}": predicted(faces, 1.0, seed + 10 * (run == "b")) for run in "ab" for seed in (1, 2, 3)},
        faces[["image_id", "Smiling", "Bangs", "Male"]], faces[["image_id", "gender", "age", "ethnicity"]],
        settings.changed(n_boot=50, n_perm=0, baseline="a"),
    )  # fmt: skip
    for name in ("group_metrics", "model_comparison"):
        write_csv(tables[name], tmp_path / f"{name}.csv")
    learned = learned_from(tmp_path, Assumptions.from_config({}, settings, 3))
    change = tables["model_comparison"].set_index(["scope", "attribute", "grouping", "metric_or_criterion"]).loc[
        ("gap", "Smiling", "gender", GAP)
    ]  # fmt: skip
    expected = float(change["variance_people"]), 3 * float(change["variance_training"])
    assert learned.variances["Smiling", "gender", GAP] == pytest.approx(expected)
    rows = plan(designs(faces, settings, "faces", stored=True), learned).set_index(
        ["attribute", "grouping", "criterion"]
    )
    row = rows.loc["Smiling", "gender", GAP]
    assert (row["variance_people"], row["variance_training"]) == pytest.approx(expected)
