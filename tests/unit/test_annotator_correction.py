"""Rates and gaps corrected for annotators' errors: exact cases, the assumption and its test, validation files, coverage."""

import itertools
import logging

import numpy as np
import pandas as pd
import pytest
from simulated_annotators import CELLS, confusion, measure
from test_fairness_statistics import settings_of, tables_of

from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.fairness import FairnessSettings, corrected, evaluate, headline
from evenface.fairness.annotator_errors import DEPENDENT, INDEPENDENT, UNTESTED, annotator_errors, homogeneity
from evenface.fairness.correction import Correction, confusion_draws, split_by_correctness
from evenface.fairness.cube import CellSpace, Cube
from evenface.fairness.evaluated import evaluate_grouping, observed_of
from evenface.fairness.inputs import Scored
from evenface.fairness.metrics import METRICS, rate

LEVELS = {"gender": ("female", "male"), "age": ("young", "middle_aged", "senior")}
GENDER, AGE = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.0, 0.2, 0.8]])
DIFFERENCE = "equal_opportunity_difference"
GROUPED = ["grouping", "attribute", "criterion"]


def true_counts(rng, groups, attributes=1):
    """Counts (A, groups, 6) of a classifier, without noise."""
    return rng.uniform(100, 1000, (attributes, groups, 6))


def correction_of(name, confusions, attributes=("Bangs",)):
    dimensions = name.split("*")
    settings = FairnessSettings(groupings=(name,), levels=LEVELS, confusion=confusions, n_boot=20)
    errors = annotator_errors(settings)
    grouping = CellSpace({d: LEVELS[d] for d in dimensions}).grouping(name)
    draws = confusion_draws(errors, 20, 0)
    return Correction(grouping, [len(LEVELS[d]) for d in dimensions], errors, draws, attributes)


@pytest.mark.parametrize(
    ("name", "matrices"),
    [
        ("gender", {"gender": GENDER}),
        ("age*gender", {"gender": GENDER, "age": AGE}),
        ("gender*age", {"age": AGE}),
        ("gender*age", {"gender": GENDER}),
    ],
)
def test_products_are_corrected_dimension_by_dimension(name, matrices):
    shape = [len(LEVELS[d]) for d in name.split("*")]
    whole = np.eye(1)
    for d, size in zip(name.split("*"), shape, strict=True):
        whole = np.kron(whole, matrices.get(d, np.eye(size)))
    true = true_counts(np.random.default_rng(0), len(whole), 3)
    seen = np.einsum("to,ath->aoh", whole, true)
    correction = correction_of(name, {d: (1000 * m).tolist() for d, m in matrices.items()}, ("a", "b", "c"))
    found, failed = correction.counts(seen)
    assert not failed.any()
    np.testing.assert_allclose(found, true, rtol=1e-9)
    # replicates with the matrix itself drawn
    correction.draws = [np.repeat(np.linalg.inv(one.rates)[..., None], 20, axis=-1) for one in correction.errors]
    np.testing.assert_allclose(
        correction.replicates(seen[:, None], slice(None)), np.repeat(true[:, None], 20, 1), rtol=1e-9
    )


def dependent_case(odds):
    """Three groups with a true gap of .147, whose annotator's odds of an error differ where the classifier is wrong."""
    tpr = np.array([0.9, 0.85, 0.753])
    true = np.zeros((1, 3, 6))
    true[0, :, 3], true[0, :, 2], true[0, :, 0] = 4000 * tpr, 4000 * (1 - tpr), 10
    share = true[..., 2] / true.sum(axis=-1)
    right, wrong = split_by_correctness(confusion(0.8, 3)[None], share, np.array(odds))[0]
    seen = np.stack([(wrong if o in (1, 2) else right).T @ true[0, :, o] for o in range(6)], axis=-1)[None]
    return true, seen, {"correct": (1000 * right).tolist(), "wrong": (1000 * wrong).tolist()}


def test_counts_by_outcome_are_right_where_errors_depend_on_correctness():
    one = correction_of("age", {"age": (1000 * confusion(0.8, 3)).tolist()})
    gaps = []
    for odds in itertools.product((2, 0.5), repeat=3):
        true, seen, by_outcome = dependent_case(odds)
        found, failed = correction_of("age", {"age": by_outcome}).counts(seen)
        assert not failed.any()
        np.testing.assert_allclose(rate(found, "tpr"), rate(true, "tpr"), atol=1e-9)
        wrong, _ = one.counts(seen)
        gaps.append(np.ptp(rate(wrong, "tpr")))
        variants = np.ptp(rate(one.sensitive_counts(seen, wrong), "tpr"), axis=-1)
        assert len(variants) == 1 + 2**3 and variants.min() < 0.1475 and variants.max() > 0.1465
    assert min(gaps) == pytest.approx(0.081, abs=5e-4) and max(gaps) == pytest.approx(
        0.211, abs=5e-4
    )  # docs/statistics.md


def test_a_mixture_over_outcomes_is_the_matrix_that_was_validated():
    share, odds = np.array([[0.1, 0.3, 0.0]]), np.array([2.0, 0.5, 3.0])
    right, wrong = split_by_correctness(AGE[None], share, odds)[0]
    np.testing.assert_allclose((1 - share[0])[:, None] * right + share[0][:, None] * wrong, AGE, atol=1e-12)
    error = [1 - np.diag(m) for m in (right, wrong)]
    np.testing.assert_allclose(error[1] / (1 - error[1]), odds * error[0] / (1 - error[0]), rtol=1e-9)
    np.testing.assert_array_equal(split_by_correctness(np.eye(3)[None], share, odds)[0], [np.eye(3)] * 2)


# --- the tables -----------------------------------------------------------------------------------

CONFUSION = {"gender": [[900, 100], [150, 850]], "ethnicity": {"correct": [[950, 25, 25], [20, 950, 30], [10, 40, 950]],
             "wrong": [[90, 5, 5], [5, 90, 5], [2, 8, 90]]}}  # fmt: skip


SETTINGS = dict(groupings=("gender", "age", "ethnicity", "gender*ethnicity"), n_boot=100, n_perm=50)


@pytest.fixture(scope="module")
def tables():
    return evaluate(*tables_of(12, n=6000, identities=200), settings_of(confusion=CONFUSION, **SETTINGS))


def test_corrected_rows_stand_beside_the_measured_ones(tables):
    plain = evaluate(*tables_of(12, n=6000, identities=200), settings_of(**SETTINGS))
    for name in ("group_metrics", "gap_metrics", "pairwise_differences", "fairness"):
        measured = tables[name][tables[name]["group_correction"] == ""].reset_index(drop=True)
        pd.testing.assert_frame_equal(measured, plain[name])
        found = tables[name][tables[name]["group_correction"] == "confusion_inverse"]
        every = {g for g in SETTINGS["groupings"] if {"gender", "ethnicity"} & set(g.split("*"))}
        assert set(found["grouping"]) == every and len(found) == measured["grouping"].isin(every).sum()
    assert len(headline(tables["fairness"])) == len(headline(plain["fairness"]))
    assert set(headline(tables["fairness"], "confusion_inverse")["group_correction"]) == {"confusion_inverse"}


def test_corrected_gaps_have_intervals_tests_and_verdicts(tables):
    rows = tables["gap_metrics"].query("group_correction != '' and grouping in ('gender', 'ethnicity')")
    rows = rows[rows["status"] == ""]
    gap = rows[rows["criterion"] == DIFFERENCE]
    assert len(gap) and gap[["ci_low", "ci_high", "null_mean", "p_value", "q_value"]].notna().all().all()
    assert ((gap["ci_low"] <= gap["value"]) & (gap["value"] <= gap["ci_high"])).all() and (gap["verdict"] != "").all()
    assert gap["family"].str.contains("confusion_inverse").all() and (gap["null_mean"] > 0).all()
    measured = tables["gap_metrics"].query("group_correction == ''").set_index(GROUPED)["p_value"]
    same = rows[(rows["grouping"] == "gender") & rows["p_value"].notna()].set_index(GROUPED)
    same = same[~same.index.get_level_values("criterion").str.startswith("balanced")]
    pd.testing.assert_series_equal(same["p_value"], measured.loc[same.index])
    assert set(rows[rows["grouping"] == "ethnicity"]["p_method"]) <= {"simultaneous_inverted", ""}
    pairs = tables["pairwise_differences"].query("group_correction != '' and status == '' and metric == 'tpr'")
    assert pairs[["ci_low", "ci_high", "se"]].notna().all().all()


def test_the_assumption_is_said_or_tested(tables):
    rows = tables["gap_metrics"].query("group_correction != '' and criterion == @DIFFERENCE")
    by = rows.set_index(["grouping", "attribute"])
    for _, row in by.loc["gender"].iterrows():
        assert row["errors_verdict"] == UNTESTED and np.isnan(row["errors_p_value"])
        assert row["sensitivity_low"] <= row["value"] <= row["sensitivity_high"] > row["sensitivity_low"]
    for _, row in by.loc["ethnicity"].iterrows():
        assert row["errors_verdict"] == DEPENDENT and row["errors_p_value"] < 0.05 and np.isnan(row["sensitivity_low"])
    assert set(by.loc["gender*ethnicity"]["errors_verdict"]) == {DEPENDENT}
    measured = tables["gap_metrics"].query("group_correction == ''")
    assert set(measured["errors_verdict"]) == {""} and measured["sensitivity_low"].isna().all()


def test_an_untested_and_a_wrong_assumption_are_warned_of(caplog):
    inputs = tables_of(12, n=400, identities=40)
    few = dict(n_boot=0, n_perm=0, groupings=("gender", "ethnicity"))
    with caplog.at_level(logging.WARNING, logger="evenface"):
        evaluate(*inputs, settings_of(confusion=CONFUSION, **few))
    text = caplog.text
    assert "evaluation.confusion.gender: one matrix for all outcomes" in text and "sensitivity_low" in text
    assert "evaluation.confusion.ethnicity: the annotator's errors depend on the classifier's outcome" in text
    caplog.clear()
    even = {"gender": {"correct": [[900, 100], [150, 850]], "wrong": [[90, 10], [15, 85]]}}
    with caplog.at_level(logging.WARNING, logger="evenface"):
        rows = evaluate(*inputs, settings_of(confusion=even, **few))["gap_metrics"]
    assert "evaluation.confusion" not in caplog.text
    assert set(rows.query("group_correction != ''")["errors_verdict"]) == {INDEPENDENT}


def test_a_hopeless_annotator_gives_no_rates():
    hopeless = {"gender": [[52, 48], [48, 52]]}
    found = evaluate(*tables_of(12, n=2000, identities=100), settings_of(confusion=hopeless, **SETTINGS))
    for name in ("group_metrics", "pairwise_differences", "gap_metrics"):
        rows = found[name].query("group_correction != '' and grouping == 'gender'")
        value = "difference" if name == "pairwise_differences" else "value"
        assert set(rows["status"]) <= {"correction_failed", "circular"} and rows[value].isna().all()
    assert set(rows["verdict"]) == {"not_evaluable"}


def test_a_perfect_annotator_changes_nothing():
    inputs, huge = tables_of(12, n=4000, identities=150), 10**9
    exact = {"gender": [[huge, 0], [0, huge]]}
    found = evaluate(*inputs, settings_of(groupings=("gender",), confusion=exact))
    for name, value in (("group_metrics", "value"), ("pairwise_differences", "difference"), ("gap_metrics", "value")):
        measured, corrected_ = (part for _, part in found[name].groupby("group_correction"))
        for column in (value, "ci_low", "ci_high"):
            np.testing.assert_allclose(corrected_[column], measured[column], atol=5e-3, err_msg=f"{name} {column}")


SMALL = dict(groupings=("gender",), attributes=("Bangs",), n_perm=0, confusion={"gender": CONFUSION["gender"]})


def test_blocks_threads_and_seeds(monkeypatch):
    inputs = tables_of(12, n=1500, identities=60)
    settings = settings_of(confusion=CONFUSION, groupings=("gender", "gender*ethnicity"), n_boot=30, n_perm=20)
    first = evaluate(*inputs, settings)
    monkeypatch.setattr(corrected, "_MAX_VALUES", 500)
    other = evaluate(*inputs, settings.changed(block_size=1), threads=2)
    for name in first:
        pd.testing.assert_frame_equal(first[name], other[name])
    several = {f"{run}-{seed}": inputs[0] for run in ("run", "base") for seed in (1, 2)}
    rows = evaluate(several, *inputs[1:], settings.changed(baseline="base", **SMALL))["fairness"]
    rows = rows[(rows["group_correction"] != "") & (rows["status"] == "")]
    assert rows["change"].isna().all() and rows["change_ci_low"].isna().all()
    rows = rows[rows["model"] == "run"].set_index(GROUPED)
    over, one = (rows.loc[rows["aggregation"] == name, "value"] for name in ("over seeds", "one seed"))
    assert len(over)
    pd.testing.assert_series_equal(over, one[~one.index.duplicated()])


# --- standard errors ------------------------------------------------------------------------------


def test_standard_errors_are_those_of_leaving_people_out_and_of_other_validation_counts():
    rng = np.random.default_rng(3)
    people = 60
    space = CellSpace({d: LEVELS[d] for d in ("gender", "age")})
    cells = np.array([(g * 4 + a) for g, a in itertools.product(range(2), range(3))])
    counts = rng.integers(2, 30, (len(cells), people, 2, 6)).astype(np.int32)
    counts[rng.random((len(cells), people)) < 0.3] = 0
    cell, person = np.divmod(np.flatnonzero(counts.any(axis=(2, 3))), people)
    names = np.array([f"p{k:02d}" for k in range(people)], dtype=object)
    cube = Cube(space, ("Bangs", "Bald"), names, cells[cell], person, counts[cell, person])
    matrices = {"gender": {"correct": [[90, 10], [20, 80]], "wrong": [[70, 30], [30, 80]]}, "age": (100 * AGE).tolist()}
    settings = FairnessSettings(
        groupings=("gender*age",), levels=LEVELS, confusion=matrices, min_denominator=1, min_identities=1, n_boot=50
    )
    grouping = space.grouping("gender*age")

    def rates_of(cube, matrices):
        errors = annotator_errors(settings.changed(confusion=matrices))
        draws = confusion_draws(errors, settings.n_boot, 0)
        correction = Correction(grouping, (2, 3), errors, draws, cube.attributes)
        result = evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)
        return (
            {m: rate(correction.counts(result.counts[:, : grouping.n_known])[0], m) for m in METRICS},
            correction,
            result,
        )

    own, correction, result = rates_of(cube, matrices)
    assert not correction.counts(result.counts[:, : grouping.n_known])[1].any()
    observed = corrected.corrected(observed_of(result, settings), result, correction, settings)[1]
    variance = {m: np.zeros_like(own[m]) for m in METRICS}
    for k in range(people):
        keep = person != k
        less = Cube(space, cube.attributes, names, cube.cell[keep], person[keep], cube.counts[keep])
        for m, x in rates_of(less, matrices)[0].items():
            variance[m] += (x - own[m]) ** 2
    for m in METRICS:
        np.testing.assert_allclose(observed._people_se[m], np.sqrt(variance[m]), rtol=0.02, err_msg=m)

    # the derivative by every row of every matrix, and the variance of that row's shares
    added = {m: np.zeros_like(own[m]) for m in METRICS if m not in ("selection_rate_all", "label_coverage")}
    rows = [("gender", o, t) for o in ("correct", "wrong") for t in range(2)] + [("age", None, t) for t in range(3)]
    for dimension, outcome, t in rows:
        row = np.array(matrices[dimension][outcome][t] if outcome else matrices[dimension][t], dtype=float)
        step, gradient = 1e-5 * row.sum(), {m: [] for m in added}
        for o in range(len(row)):
            moved = row.copy()
            moved[o] += step
            changed = {d: ({k: [*map(list, v)] for k, v in x.items()} if isinstance(x, dict) else [*map(list, x)])
                       for d, x in matrices.items()}  # fmt: skip
            (changed[dimension][outcome] if outcome else changed[dimension])[t] = (
                moved / moved.sum() * row.sum()
            ).tolist()
            for m, x in rates_of(cube, changed)[0].items():
                if m in added:
                    gradient[m].append((x - own[m]) / (step / row.sum()))
        share = (row + 0.5) / (row + 0.5).sum()
        covariance = (np.diag(share) - np.outer(share, share)) / (row + 0.5).sum()
        for m, parts in gradient.items():
            added[m] += np.einsum("oag,op,pag->ag", np.array(parts), covariance, np.array(parts))
    for m, more in added.items():
        found = observed.se[m] ** 2 - observed._people_se[m] ** 2
        np.testing.assert_allclose(found, more, rtol=0.03, atol=1e-9, err_msg=m)


# --- the test of the assumption -------------------------------------------------------------------


def test_homogeneity_of_matrices():
    same = np.array([[[80, 20], [10, 90]], [[8, 2], [1, 9]]])
    assert homogeneity(same) > 0.9 and homogeneity(same[:1]) is not None and np.isnan(homogeneity(same[:1]))
    assert homogeneity(np.array([[[80, 20], [10, 90]], [[40, 60], [30, 70]]])) < 1e-6
    few = np.array([[[9, 0], [0, 9]], [[1, 2], [0, 3]]])  # only the first row differs: 3 of 66 tables are as extreme
    assert homogeneity(few) == pytest.approx(3 / 66, abs=0.015)
    assert np.isnan(homogeneity(np.array([[[9, 0], [0, 9]], [[4, 0], [0, 3]]])))


@pytest.mark.parametrize("wrong", [6, 60])
def test_size_of_the_test_of_the_assumption(wrong):
    rng = np.random.default_rng(wrong)
    p = np.array([
        homogeneity(np.stack([[rng.multinomial(n, row) for row in confusion(0.8, 3)] for n in (200, wrong)]), k)
        for k in range(300)
    ])  # fmt: skip
    assert 0.01 < (p <= 0.05).mean() < 0.09


def validated_people(rng, people=60, images=20, dependent=False):
    """Rows of people whose images are all assigned alike, with outcomes that have nothing to do with it."""
    rows = []
    for k in range(people):
        true = LEVELS["gender"][k % 2]
        taken = rng.choice(LEVELS["gender"], p=[0.8, 0.2] if true == "female" else [0.2, 0.8])
        ease = rng.beta(4, 1)
        for _ in range(images):
            outcome = "correct" if rng.random() < ease else "wrong"
            assigned = (
                taken if not dependent or outcome == "correct" or rng.random() < 0.3 else LEVELS["gender"][1 - k % 2]
            )
            rows.append((true, assigned, outcome, f"p{k}"))
    return pd.DataFrame(rows, columns=["true", "assigned", "outcome", "identity_id"])


def test_images_of_a_person_count_as_few(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "v.csv"
    settings = dict(groupings=("gender",), confusion={"gender": str(path)})
    found = {}
    for columns in (["true", "assigned"], ["true", "assigned", "identity_id"]):
        validated_people(rng)[columns].to_csv(path, index=False)
        found[len(columns)] = annotator_errors(FairnessSettings(**settings))["gender"]
    assert found[2].counts.sum() == 1200 and found[3].counts.sum() == pytest.approx(60, rel=0.1)
    assert found[2].unit == "image" and found[3].unit == "identity"
    rejected = {True: 0, False: 0}
    for _ in range(40):
        for dependent in rejected:
            validated_people(rng, dependent=dependent).to_csv(path, index=False)
            errors = annotator_errors(FairnessSettings(**settings))["gender"]
            rejected[dependent] += errors.p[0] <= 0.05
    assert rejected[False] <= 6 and rejected[True] >= 36  # by image, 40 of 40 would be called dependent at most


# --- files ----------------------------------------------------------------------------------------

FILE = """true,assigned,n,outcome,attribute
female,female,90,correct,Bangs
female,male,10,correct,Bangs
male,male,80,correct,Bangs
male,female,20,correct,Bangs
female,female,9,wrong,Bangs
female,male,1,wrong,Bangs
male,male,8,wrong,Bangs
male,female,2,Wrong,Bangs
"""


def test_a_file_says_the_same_as_matrices(tmp_path):
    path = tmp_path / "v.csv"
    path.write_text(FILE + FILE.split("\n", 1)[1].replace("Bangs", "Bald") + "female,unknown,3,correct,Bangs\n")
    of_file = annotator_errors(FairnessSettings(groupings=("gender",), confusion={"gender": str(path)}))["gender"]
    given = {"correct": [[90, 10], [20, 80]], "wrong": [[9, 1], [2, 8]]}
    of_key = annotator_errors(FairnessSettings(groupings=("gender",), confusion={"gender": given}))["gender"]
    assert of_file.attributes == ("Bald", "Bangs") and of_file.left_out == 3
    for k in range(2):
        np.testing.assert_array_equal(of_file.counts[k], of_key.counts[0])
    assert of_file.rows_of(["Bangs", "Bald"]).tolist() == [1, 0]
    with pytest.raises(UserError, match=r"v\.csv has no row of attribute Smiling; add its images, or leave the column"):
        of_file.rows_of(["Smiling"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable CSV"),
        ("true,assigned\n", "has no rows"),
        ("true,called\nmale,male\n", "column 'assigned' is missing; it has true, called"),
        (FILE.replace("outcome", "outcomes"), "column: 'outcomes' is not known; did you mean 'outcome'"),
        (FILE.replace("female,male,10", "female,man,10"), r"row 3: assigned is 'man'; expected female, male, unknown"),
        (FILE.replace(",80,", ",-80,"), r"row 4: n is '-80'; expected a number of images"),
        (FILE.replace(",80,", ",many,"), r"row 4: n is 'many'"),
        (FILE.replace(",80,correct", ",80,TP"), r"row 4: outcome is 'TP'; expected correct, wrong"),
        (FILE.replace("Wrong", "correct").replace("wrong", "correct"), "no row has outcome wrong"),
        (FILE.replace("Bangs\nmale,male,80", "\nmale,male,80"), r"row 3: attribute is ''"),
        ("true,assigned\nmale,male\n", "no image is counted whose true level is female"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, message):
    path = tmp_path / "v.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        annotator_errors(FairnessSettings(groupings=("gender",), confusion={"gender": str(path)}))
    assert "v.csv" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    settings = FairnessSettings(groupings=("gender",), confusion={"gender": str(tmp_path / "none.csv")})
    with pytest.raises(UserError, match=r"none\.csv: this file of evaluation.confusion does not exist"):
        annotator_errors(settings)


@pytest.mark.parametrize(
    "given", [[[9, 1], [1, 9]], {"correct": [[9, 1], [1, 9]], "wrong": [[9, 1], [1, 9]]}, "validation/gender.csv",
              {o: [[9, 1], [1, 9]] for o in ("TN", "FP", "FN", "TP")}]
)  # fmt: skip
def test_the_configuration_accepts_every_form(shipped_config, given):
    shipped_config["evaluation"] |= {"groupings": ["gender*age"], "confusion": {"gender": given}}
    checked = check_config(shipped_config)["evaluation"]
    assert FairnessSettings.from_config({k: v for k, v in checked.items()}).confusion


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[9, 1]], r"evaluation.confusion.gender must have 2 rows and columns, one per level female, male"),
        ({"correct": [[9, 1], [1, 9]]}, r"gender has matrices of correct; give one for each of correct, wrong"),
        ({"right": [[9, 1], [1, 9]]}, r"'right'"),
        ({"correct": [[9, 1], [1, 9]], "wrong": [[9, 1], [0, 0]]}, r"gender.wrong, row 2: all counts are 0"),
    ],
)
def test_the_configuration_refuses_what_cannot_be_used(shipped_config, given, message):
    shipped_config["evaluation"] |= {"groupings": ["gender"], "confusion": {"gender": given}}
    with pytest.raises(UserError, match=message):
        check_config(shipped_config)


# --- coverage -------------------------------------------------------------------------------------


def test_coverage_quick():
    found = measure(CELLS["gap .15, 4 groups of 60, accuracy 0.8"], 60, n_boot=200)
    assert found["rate"] >= 0.9 and found["pairs"] >= 0.9 and found["gap"] >= 0.9 and abs(found["error"]) < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_coverage(name):
    found = measure(CELLS[name], 400)
    for interval in ("rate", "pairs", "gap"):
        wrong = (1 - found[interval]) * (1 - found["none"])  # a run without an interval claims nothing
        assert wrong <= 0.07 + 0.013, interval  # and the standard error of 400 runs
    if not name.startswith("gap .15"):
        assert found["rejected"] <= 0.11  # Wald's test, which is also that of assigned groups whose people span groups
