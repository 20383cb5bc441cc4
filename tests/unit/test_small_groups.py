"""Small groups: shrunken rates, a scan over all subgroups, and q values over all groupings and criteria."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from simulated_subgroups import OF_GROUP, SPACE, N, World, discoveries, scanning, shrinkage

from evenface.fairness import FairnessSettings, evaluate
from evenface.fairness.criteria import hypothesis_of
from evenface.fairness.intersection_table import INTERSECTION_COLUMNS, PREDICTION, SHRUNKEN, UNKNOWN_EFFECT
from evenface.fairness.multiplicity import benjamini_hochberg, over_all_tests
from evenface.fairness.shrinkage import shrink
from evenface.fairness.subgroup_scan import families

DIMENSIONS = {"gender": ("female", "male"), "ethnicity": ("asian", "black", "white")}
PLAIN = dict(levels=DIMENSIONS, groupings=("gender", "gender*ethnicity"), min_denominator=1, min_identities=1)


def shrunk(x, people, se=None, correlation=None, of_group=OF_GROUP):
    """One attribute; standard errors are those of people who all succeed or all fail."""
    x, n = np.asarray(x, float)[None], np.asarray(people, float)[None]
    se = np.sqrt(x * (1 - x) / np.maximum(n - 1, 1)) if se is None else se
    whole = np.eye(x.shape[1])[None] if correlation is None else correlation
    return shrink(x, se, n, whole, of_group, 0.95)


def additive(rng, spread=0.6):
    logit = 1 + sum(spread * rng.normal(size=n)[OF_GROUP[:, d]] for d, n in enumerate((2, 3, 4)))
    return expit(logit)


# --- shrinkage ------------------------------------------------------------------------------------


def test_groups_of_many_people_keep_their_rates():
    rng = np.random.default_rng(0)
    x = rng.uniform(0.2, 0.9, N)
    found = shrunk(x, np.full(N, 1e6))
    np.testing.assert_allclose(found.value[0], x, atol=2e-3)
    assert (found.weight > 0.99).all() and (found.high - found.low < 0.01).all()


def test_a_group_without_people_gets_the_sum_of_its_effects():
    x = additive(np.random.default_rng(1))
    people = np.full(N, 5000.0)
    people[7] = 0
    raw = np.where(people > 0, x, np.nan)
    found = shrunk(raw, people)
    assert found.weight[0, 7] == 0
    assert abs(found.value[0, 7] - x[7]) < 0.05
    assert found.low[0, 7] < x[7] < found.high[0, 7]
    others = np.delete(np.arange(N), 7)
    assert (found.high - found.low)[0, 7] > 1.5 * (found.high - found.low)[0, others].mean()


def test_nothing_is_known_of_a_level_that_nobody_has():
    people = np.where(OF_GROUP[:, 2] == 3, 0, 30)
    found = shrunk(np.where(people > 0, 0.7, np.nan), people)
    assert np.isnan(found.value[0, people == 0]).all() and not np.isnan(found.value[0, people > 0]).any()
    none = shrunk(np.full(N, np.nan), np.zeros(N))
    assert np.isnan(none.value).all() and np.isnan(none.tau).all()


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_of_0_or_1_is_moved_inside(rate):
    x, people = np.full(N, rate), np.full(N, 3.0)
    found = shrunk(x, people, se=np.zeros((1, N)))
    ends = np.stack([found.low, found.value, found.high])
    assert np.isfinite(ends).all() and (ends > 0).all() and (ends < 1).all()
    assert (np.abs(found.value - rate) < 0.1).all()


def test_the_weight_grows_with_people_and_the_estimate_lies_between():
    x = additive(np.random.default_rng(2))
    x[3] = 0.2
    people = np.full(N, 200.0)
    weights = []
    for n in (1.0, 5.0, 50.0):
        people[3] = n
        found = shrunk(x, people)
        weights.append(found.weight[0, 3])
        assert 0.2 < found.value[0, 3] < additive(np.random.default_rng(2))[3] + 0.05
    assert weights == sorted(weights) and weights[0] < 0.3 < 0.5 < weights[2]


def test_shared_people_widen_intervals():
    """Rates that rise and fall together say less about their common level."""
    rng = np.random.default_rng(3)
    x, people = np.clip(additive(rng, 0.1), 0, 1), np.full(N, 20.0)
    together = np.full((1, N, N), 0.8) + 0.2 * np.eye(N)
    apart, shared = shrunk(x, people), shrunk(x, people, correlation=together)
    assert (shared.high - shared.low).mean() > 1.3 * (apart.high - apart.low).mean()


def test_groups_in_another_order_get_the_same_estimates():
    rng = np.random.default_rng(4)
    x, people, order = rng.uniform(0.4, 1, N), rng.integers(1, 60, N), rng.permutation(N)
    a, b = shrunk(x, people), shrunk(x[order], people[order], of_group=OF_GROUP[order])
    for name in ("value", "low", "high", "weight"):
        np.testing.assert_allclose(getattr(a, name)[:, order], getattr(b, name), atol=1e-9)


def test_estimates_beat_raw_rates_and_their_intervals_hold():
    for world in (World(), World(interaction=0.5), World(0.98, interaction=0.2)):
        table = shrinkage(world, runs=50)
        assert table["covered"].mean() > 0.93
        few = table[table["people"].between(2, 10)]
        assert few["error"].mean() < 0.6 * few["raw_error"].mean()
        assert few["width"].mean() < 0.6 * few["raw_width"].mean()


@pytest.mark.slow
@pytest.mark.parametrize("world", [World(r, interaction=i, spans=s) for r in (0.8, 0.98) for i, s in ((0, 0), (0.2, 0), (0.5, 0), (0.5, 1))])  # fmt: skip
def test_intervals_of_estimates_hold_on_average(world):
    table = shrinkage(world, runs=200, seed=1)
    assert table["covered"].mean() > 0.92
    assert table.groupby("people")["covered"].mean().min() > 0.9


def test_forty_attributes_take_a_fraction_of_a_second():
    rng = np.random.default_rng(5)
    x, n = rng.uniform(0.3, 1, (40, N)), rng.integers(1, 60, (40, N)).astype(float)
    se, whole = np.sqrt(x * (1 - x) / n), np.broadcast_to(np.eye(N), (40, N, N))
    started = time.process_time()
    shrink(x, se, n, whole, OF_GROUP, 0.95)
    assert time.process_time() - started < 0.3


# --- tables ---------------------------------------------------------------------------------------


def tables(seeds=(1,), runs=("real",), n=900, people=60, one=None, **kwargs):
    """Black women are missed more often, and white men are absent."""
    rng = np.random.default_rng(0)
    person = rng.integers(0, people, n)
    groups = pd.DataFrame({"image_id": [f"i{k}" for k in range(n)]})
    for position, (name, levels) in enumerate(DIMENSIONS.items()):
        groups[name] = np.array(levels)[(person // 2**position) % len(levels)]
    if one is not None:
        groups["ethnicity"] = one
    absent = (groups["gender"] == "male") & (groups["ethnicity"] == "white")
    harder = (groups["gender"] == "female") & (groups["ethnicity"] == "black")
    labels = pd.DataFrame({"image_id": groups["image_id"], "Smiling": rng.choice([-1, 1], n), "Male": 1})
    predictions = {}
    for run in runs:
        for seed in seeds:
            hit = rng.random(n) < np.where(harder, 0.55, 0.9)
            score = np.where((labels["Smiling"] == 1) == hit, 0.8, 0.2)
            frame = {"image_id": groups["image_id"], "identity_id": person.astype(str), "score_Smiling": score, "score_Male": score}  # fmt: skip
            predictions[f"{run}-{seed}"] = pd.DataFrame(frame)[~absent]
    keep = ~absent
    settings = FairnessSettings(**(PLAIN | {"n_boot": 100, "n_perm": 0} | kwargs))
    return evaluate(predictions, labels[keep], groups[keep], settings)


@pytest.fixture(scope="module")
def found():
    return tables(runs=("real", "synthetic"), n_perm=49, baseline="real")


def test_intersections_stand_beside_the_raw_rates(found):
    rows = found["intersections"]
    assert list(rows.columns) == INTERSECTION_COLUMNS
    assert set(rows["grouping"]) == {"gender*ethnicity"} and set(rows["model_id"]) == {"real-1", "synthetic-1"}
    key = ["model_id", "attribute", "grouping", "group", "metric"]
    raw = found["group_metrics"].set_index(key).reindex(pd.MultiIndex.from_frame(rows[key]))
    for name in ("value", "ci_low", "ci_high", "n_images", "n_eff", "denominator"):
        np.testing.assert_array_equal(rows[name].to_numpy(float), raw[name].to_numpy(float))
    tpr = rows[(rows["metric"] == "tpr") & (rows["attribute"] == "Smiling") & (rows["model_id"] == "real-1")]
    tpr = tpr.set_index("group")
    absent = tpr.loc["male|white"]
    assert (absent["basis"], absent["status"], absent["weight"]) == (PREDICTION, "no_denominator", 0)
    assert absent["shrunken_low"] < absent["shrunken"] < absent["shrunken_high"]
    assert set(tpr.drop("male|white")["basis"]) == {SHRUNKEN}
    assert tpr["shrunken"].idxmin() == "female|black"
    assert set(rows.loc[rows["attribute"] == "Male", "status"]) == {"circular"}


def test_a_level_without_people_is_named():
    rows = tables(levels=DIMENSIONS | {"ethnicity": ("asian", "black", "white", "other")})["intersections"]
    other = rows[rows["group"].str.endswith("other")]
    assert set(other["basis"]) == {UNKNOWN_EFFECT} and other["shrunken"].isna().all() and len(other)


def test_low_support_keeps_its_status_and_has_an_estimate():
    rows = tables(min_identities=11)["intersections"].query("attribute == 'Smiling' and status == 'low_support'")
    assert len(rows) and rows["shrunken"].notna().all() and (rows["basis"] == SHRUNKEN).all()


def test_single_dimensions_have_no_intersections():
    only = tables(groupings=("gender",))["intersections"]
    assert not len(only) and list(only.columns) == INTERSECTION_COLUMNS


def test_runs_of_several_seeds_have_one_estimate():
    several = tables(seeds=(1, 2))
    for name in ("intersections", "subgroup_scan"):
        assert set(several[name]["model_id"]) == {"real"}
    rows = several["intersections"].query("metric == 'tpr' and attribute == 'Smiling' and run_id == 'real'")
    seeds = several["group_metrics"].query(
        "metric == 'tpr' and attribute == 'Smiling' and run_id == 'real' and grouping == 'gender*ethnicity'"
    )
    np.testing.assert_allclose(rows.set_index("group")["value"], seeds.groupby("group")["value"].mean().reindex(rows["group"]))  # fmt: skip
    assert rows["n_images"].tolist() == seeds[seeds["model_id"] == "real-1"]["n_images"].tolist()


def test_the_scan_has_every_subgroup_once(found):
    rows = found["subgroup_scan"].query("model_id == 'real-1' and attribute == 'Smiling' and metric == 'tpr'")
    assert rows["subgroup"].tolist() == [
        "female", "male", "asian", "black", "white", "female|asian", "female|black", "female|white", "male|asian",
        "male|black", "male|white",
    ]  # fmt: skip
    assert rows["order"].tolist() == [1] * 5 + [2] * 6
    assert sum(g.n_known for g in families(SPACE)[1:]) == 59


def test_a_scan_compares_with_everyone_else(found):
    rows = found["subgroup_scan"].query("model_id == 'real-1' and attribute == 'Smiling' and metric == 'tpr'")
    rows = rows.set_index("subgroup")
    raw = found["group_metrics"].query("model_id == 'real-1' and attribute == 'Smiling' and metric == 'tpr'")
    raw = raw[raw["grouping"] == "gender*ethnicity"].set_index("group")
    rest = raw.drop("female|black")
    others = rest["numerator"].sum() / rest["denominator"].sum()
    black = rows.loc["female|black"]
    assert black["others"] == pytest.approx(others) and black["value"] == raw.loc["female|black", "value"]
    assert black["difference"] == pytest.approx(black["value"] - others)
    assert rows.loc["female", "others"] == rows.loc["male", "value"]
    seen = rows.drop("male|white")
    assert (seen["low"] <= seen["low_one_sided"]).all() and (seen["high_one_sided"] <= seen["high"]).all()
    assert (seen["low"] < seen["difference"]).all() and (seen["difference"] < seen["high"]).all()
    assert black["flagged"] and black["worst"] and rows["worst"].sum() == 1
    absent = rows.loc["male|white"]
    assert absent["status"] == "no_denominator" and pd.isna(absent["flagged"]) and not absent["worst"]


def test_flags_and_certificates_say_what_the_bounds_say(found):
    rows = found["subgroup_scan"]
    seen = rows[rows["low"].notna()]
    assert (seen["flagged"].astype(bool) == ((seen["low"] > 0) | (seen["high"] < 0))).all()
    inside = (seen["low"] > -seen["practical_threshold"]) & (seen["high"] < seen["practical_threshold"])
    assert (seen["certified"].astype(bool) == inside).all()
    circular = rows[rows["attribute"] == "Male"]
    assert set(circular.loc[circular["grouping"].str.contains("gender"), "status"]) == {"circular"}
    assert circular.loc[circular["grouping"].str.contains("gender"), "low"].isna().all()


def test_few_people_are_not_compared():
    rows = tables(min_identities=12)["subgroup_scan"].query("attribute == 'Smiling'")
    low = rows[rows["status"] == "low_support"]
    assert len(low) and low["low"].isna().all() and low["flagged"].isna().all()
    counted = rows[rows["low"].notna()].groupby(["model_id", "metric"]).size()
    sizes = rows.groupby(["model_id", "metric"])["n_subgroups"].first()
    assert (counted == sizes.reindex(counted.index)).all()


def test_there_may_be_nobody_else():
    only = tables(one="asian")
    rows = only["subgroup_scan"].query("attribute == 'Smiling' and metric == 'tpr'").set_index("subgroup")
    assert rows.loc[rows["n_images"] > 0, "status"].to_dict() == {
        "female": "", "male": "", "asian": "no_denominator", "female|asian": "", "male|asian": "",
    }  # fmt: skip
    assert pd.isna(rows.loc["asian", "others"]) and pd.isna(rows.loc["asian", "flagged"])


def test_without_replicates_the_scan_has_no_bounds():
    rows = tables(n_boot=0)["subgroup_scan"].query("attribute == 'Smiling'")
    assert rows[["low", "high"]].isna().all().all() and rows["flagged"].isna().all()
    assert rows["difference"].notna().any() and not rows["worst"].any()


def test_threads_and_blocks_change_no_bound(found):
    again = tables(block_size=1)
    for name in ("intersections", "subgroup_scan"):
        first = found[name].query("run_id == 'real'").reset_index(drop=True)
        pd.testing.assert_frame_equal(first, again[name])


def test_bounds_hold_for_all_subgroups_at_once():
    one = scanning(World(effects=0.0), people=200, runs=50, n_boot=200)
    assert one["both"] > 0.9 and one["false flag"] < 0.1 and one["false certificate"] < 0.1
    assert one["subgroups"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("people", [200, 500])
@pytest.mark.parametrize("world", [World(r, effects=e, interaction=i) for r in (0.8, 0.98) for e, i in ((0, 0), (0.4, 0.5))])  # fmt: skip
def test_simultaneous_coverage(world, people):
    one = scanning(world, people, runs=200, seed=2)
    assert one["both"] > 0.93 and one["false certificate"] < 0.05
    assert one["lower"] > 0.9 and one["upper"] > 0.9


# --- q values over all groupings and criteria -----------------------------------------------------


def test_a_hypothesis_counts_once():
    p = np.array([0.01, 0.01, np.nan, 0.03, 0.5, 0.01, 0.2])
    hypothesis = np.array([0, 0, 0, 1, 2, 0, 3])
    family = np.array([0, 0, 0, 0, 0, 1, 1])
    found = over_all_tests(p, family, hypothesis)
    first = benjamini_hochberg(np.array([0.01, 0.03, 0.5]))
    assert first.tolist() == [0.03, 0.045, 0.5]
    np.testing.assert_allclose(found["q_value_all"], [0.03, 0.03, np.nan, 0.045, 0.5, 0.02, 0.2])
    assert found["family_size_all"].tolist() == [3, 3, 0, 3, 3, 2, 2]


def test_a_rate_and_its_complement_are_one_hypothesis():
    assert hypothesis_of("fnr_difference") == hypothesis_of("equal_opportunity_ratio") == ("tpr",)
    assert hypothesis_of("tnr_std") == hypothesis_of("fpr_worst_group") == ("fpr",)
    assert (
        hypothesis_of("fairness_discrepancy_rate") == hypothesis_of("equalized_odds_difference_worst") == ("fpr", "tpr")
    )
    assert hypothesis_of("accuracy_gap") != hypothesis_of("balanced_accuracy_difference")


def test_q_values_over_a_whole_model(found):
    gaps = found["gap_metrics"].query("model_id == 'real-1'")
    tested = gaps[gaps["p_value"].notna()]
    named = tested.assign(hypothesis=["|".join(hypothesis_of(c)) for c in tested["criterion"]])
    key = ["attribute", "grouping", "hypothesis"]
    assert (named.groupby(key)["p_value"].nunique() == 1).all()
    once = named.drop_duplicates(key)
    assert set(tested["family_size_all"]) == {len(once)} and (gaps.loc[gaps["p_value"].isna(), "family_size_all"] == 0).all()  # fmt: skip
    np.testing.assert_allclose(once["q_value_all"], benjamini_hochberg(once["p_value"].to_numpy()))
    summary = found["fairness"].query("model_id == 'real-1'").set_index(["attribute", "grouping", "criterion"])
    same = gaps.set_index(["attribute", "grouping", "criterion"]).reindex(summary.index)
    np.testing.assert_array_equal(summary["q_value_all"], same["q_value_all"])
    changes = found["model_comparison"]
    tested = changes[changes["p_value"].notna()]
    np.testing.assert_allclose(tested["q_value_all"], benjamini_hochberg(tested["p_value"].to_numpy()))
    assert set(tested["family_size_all"]) == {len(tested)}


@pytest.mark.slow
def test_false_discoveries_over_whole_tables():
    none, some = discoveries(0.0, runs=30), discoveries(0.3, runs=20)
    assert none["false"] < 0.14  # 0.05 and twice its standard error
    assert some["false"] < 0.08 and some["found"] > 0.2
