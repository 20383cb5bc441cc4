"""Intervals, tests, comparisons and corrections: worked examples, properties, coverage, and bytes that hold."""

import time
import weakref

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, norm

from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate, metric_frame, resampling, write_csv
from evenface.fairness.annotator_errors import condition_number
from evenface.fairness.comparison import compare
from evenface.fairness.correction import corrected_counts
from evenface.fairness.criteria import Rates, replicate_rates
from evenface.fairness.cube import CellSpace, Cube, count
from evenface.fairness.evaluated import evaluate_grouping, observed_of
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import Scored
from evenface.fairness.metrics import METRICS, rate
from evenface.fairness.multiplicity import benjamini_hochberg, verdicts
from evenface.fairness.quantiles import quantiles
from evenface.fairness.runs import runs_of
from evenface.fairness.settings import StatisticsSettings
from evenface.fairness.tests_of_difference import Studentised, null_means
from evenface.fairness.uncertainty import Replicates
from evenface.intervals import wilson

EVERYONE = dict(min_denominator=1, min_identities=1)
DIFFERENCE = "equal_opportunity_difference"


def people(rows, **kwargs):
    """A cube of identities: (group, true positives, positives) each, and what is observed in it."""
    groups = list(dict.fromkeys(group for group, _, _ in rows))
    space = CellSpace({"ethnicity": tuple(groups)})
    images = [(k, groups.index(g), hit) for k, (g, tp, n) in enumerate(rows) for hit in [1] * tp + [0] * (n - tp)]
    person, cell, decided = (np.array(column) for column in zip(*images, strict=True))
    label = np.ones(len(images), dtype=np.int8)
    cube = count([f"p{k:05d}" for k in person], cell, space, [("Smiling", decided, label)])
    settings = FairnessSettings(groupings=("ethnicity",), levels={"ethnicity": tuple(groups)}, **(EVERYONE | kwargs))
    result = evaluate_grouping(Scored(cube, {}, "identity", {}, 0), space.grouping("ethnicity"), settings)
    return cube, result, observed_of(result, settings), settings


def infer(rows, threads=1, **kwargs):
    cube, result, observed, settings = people(rows, **kwargs)
    resampler = Resampler({"m": cube}, settings, threads)
    return resampler.infer("m", cube, {"ethnicity": (result.grouping, observed)})["ethnicity"]


# --- worked examples ------------------------------------------------------------------------------

E6 = [("A", 3, 4), ("A", 1, 4), ("B", 4, 4), ("B", 2, 4)]


def test_e6_identity_clusters():
    cube, result, observed, _settings = people(E6)
    assert result.rates.x["tpr"][0].tolist() == [0.5, 0.75]
    assert observed.linearised("tpr")[:, 0].tolist() == [0.25, -0.25, 0.25, -0.25]
    np.testing.assert_allclose(observed.se["tpr"][0] ** 2, [0.125, 0.125], atol=1e-15)
    effect = observed.design_effect("tpr", np.array([[8, 8]]))[0]
    np.testing.assert_allclose(effect, [0.125 / 0.03125, 0.125 / 0.0234375], atol=1e-12)
    weights = np.array([[2, 0, 1, 1], [0, 2, 2, 0], [4, 0, 0, 0]], dtype=np.float32).T
    cells = resampling.weighted_cells(cube, slice(0, 1), weights, np.arange(4))
    replicates = replicate_rates(resampling.sum_cells(cells, result.grouping, 2), result.rates, slice(0, 1), 0.5)
    tpr = replicates.x["tpr"][0]
    np.testing.assert_array_equal(tpr, [[0.75, 0.75], [0.25, 1], [0.75, np.nan]])
    gap = dict(_gaps(replicates))[DIFFERENCE].value[0]
    np.testing.assert_array_equal(gap, [0, 0.75, np.nan])


def _gaps(rates):
    from evenface.fairness.criteria import gap_values

    return gap_values(rates, 0.5)


def test_e7_all_permutations():
    _cube, result, observed, _settings = people(E6)
    orders = resampling.all_assignments(observed.group)
    assert len(orders) == resampling.n_assignments(observed.group) == 6
    members = resampling.membership(orders, observed.group, 2)
    counts = resampling.permuted_sums(members, observed.person).transpose(2, 3, 0, 1)
    permuted = replicate_rates(counts, result.rates, slice(0, 1), 0.5)
    gap = dict(_gaps(permuted))[DIFFERENCE].value[0]
    assert sorted(gap) == [0, 0, 0.25, 0.25, 0.5, 0.5]
    test = null_means({name: gap.value for name, gap in _gaps(result.rates)}, permuted, 0.5)[DIFFERENCE]
    assert (test.null_mean[0], test.n[0]) == (0.25, 6)
    inferred = infer(E6)  # few enough identities to try every assignment
    assert (inferred.p_method, inferred.tests[DIFFERENCE].p[0]) == ("perm_identity_exact", 4 / 6)


def test_e8_benjamini_hochberg():
    p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    q = [0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.74 / 7, 0.216, 0.216, 0.216]
    np.testing.assert_allclose(benjamini_hochberg(np.array(p)), q, atol=1e-12)
    with_gap = benjamini_hochberg(np.array([np.nan, *p[::-1]]))
    np.testing.assert_allclose(with_gap[1:], q[::-1], atol=1e-12)
    assert np.isnan(with_gap[0])


def test_verdicts():
    low, high = np.array([0.06, 0.01, 0.0, 0.0, 0.2]), np.array([0.2, 0.2, 0.04, 0.2, 0.3])
    q = np.array([0.01, 0.01, 0.5, 0.5, 0.01])
    evaluable = np.array([True, True, True, True, False])
    expected = ["gap", "small_gap", "equivalent", "inconclusive", "not_evaluable"]
    assert verdicts(low, high, q, evaluable, 0.05).tolist() == expected
    robust = np.array([False, False, True, True, True])
    assert verdicts(low, high, q, evaluable, 0.05, robust).tolist() == ["gap_not_label_robust", *expected[1:]]
    assert verdicts(low, high, q, evaluable, np.full(5, 0.2)).tolist()[0] == "small_gap"
    nan = np.full(1, np.nan)
    assert verdicts(nan, nan, nan, np.array([True]), 0.05).tolist() == ["not_tested"]


def test_e9_annotator_correction():
    confusion = np.array([[0.9, 0.1], [0.2, 0.8]])
    counts = np.zeros((1, 2, 6))
    counts[0, :, 3], counts[0, :, 2] = (88, 37), (12, 13)
    np.testing.assert_allclose(rate(counts, "tpr")[0], [0.88, 0.74])
    corrected, failed = corrected_counts(counts, confusion)
    np.testing.assert_allclose(rate(corrected, "tpr")[0], [0.9, 0.7], atol=1e-12)
    assert not failed.any()


def test_correction_is_guarded():
    counts = np.zeros((1, 2, 6))
    counts[0, :, 0] = 1000
    counts[0, :, 3] = (100, 5)
    assert corrected_counts(counts, np.array([[0.9, 0.1], [0.2, 0.8]]))[1].tolist() == [True]
    counts[0, :, 3] = (100, 11.1)
    corrected, failed = corrected_counts(counts, np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert not failed.any() and (corrected >= 0).all()
    assert condition_number(np.array([[0.55, 0.45], [0.45, 0.55]])) == pytest.approx(10)


def test_correction_recovers_a_gap():
    rng = np.random.default_rng(0)
    truth = np.array([0.9, 0.86, 0.82, 0.787])
    true = np.zeros((1, 4, 6))
    true[0, :, 3], true[0, :, 2] = 50_000 * truth, 50_000 * (1 - truth)
    confusion = np.full((4, 4), 0.08) + np.diag([0.68, 0.68, 0.68, 0.68])
    seen = np.einsum("to,ath->aoh", confusion, true)
    assert np.ptp(rate(seen, "tpr")) < 0.1 and np.ptp(truth) == pytest.approx(0.113)
    corrected, failed = corrected_counts(rng.poisson(seen).astype(float), confusion)
    assert not failed.any() and np.ptp(rate(corrected, "tpr")) == pytest.approx(0.113, abs=0.02)


def test_fairlearn_gets_the_same_data():
    pytest.importorskip("fairlearn")
    predictions, labels, groups = tables_of(13)
    table = evaluate(predictions, labels, groups, settings_of(n_boot=0, n_perm=0))["group_metrics"]
    for grouping in ("ethnicity", "gender*age"):
        frame = metric_frame(predictions, labels, groups, "Bangs", grouping)
        values = table.query("attribute == 'Bangs' and grouping == @grouping").set_index(["metric", "group"])["value"]
        assert len(frame.by_group) == (3 if grouping == "ethnicity" else 6)
        for group, row in frame.by_group.iterrows():
            name = "|".join(group) if isinstance(group, tuple) else group
            for metric in frame.by_group.columns:
                assert row[metric] == pytest.approx(values[metric, name], abs=1e-12)
    with pytest.raises(UserError, match="Smirking"):
        metric_frame(predictions, labels, groups, "Smirking", "gender")


# --- parts ----------------------------------------------------------------------------------------


def test_weights_are_prefixes_and_sum_to_the_identities():
    few, many = (resampling.bootstrap_weights(37, n, seed=5) for n in (130, 260))
    np.testing.assert_array_equal(few, many[:, :130])
    assert (many.sum(axis=0) == 37).all()
    assert many.mean() == 1 and abs(many.var() - 1) < 0.1
    poisson = resampling.bootstrap_weights(500, 200, seed=5, kind="poisson")
    assert abs(poisson.mean() - 1) < 0.02 and abs(poisson.var() - 1) < 0.05
    assert not np.array_equal(many, resampling.bootstrap_weights(37, 260, seed=6))


def test_permutations_stay_in_their_strata():
    strata = np.array([0, 1, 0, 1, 1, 2])
    orders = resampling.permutations(strata, 250, seed=1)
    assert (strata[orders] == strata).all()
    assert (np.sort(orders, axis=1) == np.arange(6)).all()
    assert len(np.unique(orders, axis=0)) == 12


def test_quantiles_are_numpys():
    values = np.random.default_rng(0).normal(size=(7, 300))
    for got, want in zip(quantiles(values, (0.025, 0.975)), np.quantile(values, [0.025, 0.975], axis=1), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-14)
    values[2, ::3] = np.nan
    values[4] = np.nan
    got = quantiles(values, (0.5,))[0]
    np.testing.assert_allclose(got[[0, 2]], np.nanquantile(values[[0, 2]], 0.5, axis=1), atol=1e-14)
    assert np.isnan(got[4])


def test_wilson_at_the_ends():
    z = norm.ppf(0.975)
    low, high = wilson(np.array([0.0, 1.0, 0.5]), np.array([20, 20, 20]))
    np.testing.assert_allclose(high[0], z**2 / (20 + z**2))
    np.testing.assert_allclose(low[1], 20 / (20 + z**2))
    assert (low[0], high[1]) == (0, 1)
    np.testing.assert_allclose(low[2] + high[2], 1)


def test_standard_error_is_the_jackknife():
    rng = np.random.default_rng(3)
    rows = [("A", int(rng.binomial(n, 0.7)), int(n)) for n in rng.integers(3, 30, 40)] + [("B", 1, 2), ("B", 2, 2)]
    observed = people(rows)[2]
    tp, n = (np.array(column) for column in list(zip(*rows, strict=True))[1:])
    tp, n = tp[:40], n[:40]
    left_out = (tp.sum() - tp) / (n.sum() - n)
    np.testing.assert_allclose(observed.se["tpr"][0, 0] ** 2, ((left_out - tp.sum() / n.sum()) ** 2).sum(), rtol=1e-12)


def test_a_rate_without_spread_has_an_interval():
    rows = [("A", 5, 5)] * 20 + [("B", k % 5, 5) for k in range(20)]
    inferred = infer(rows, n_boot=200, n_perm=0)
    interval = inferred.rates["tpr"]
    assert interval.method[0].tolist() == ["binomial_identities"] * 2
    assert interval.high[0, 0] == 1 and 0.8 < interval.low[0, 0] < 0.9
    gap = inferred.criteria[DIFFERENCE]
    assert gap.low[0] < 0.6 < gap.high[0] and gap.high[0] - gap.low[0] > 0.2


def test_few_identities_have_no_interval():
    inferred = infer([("A", 3, 4), *[("B", k % 4, 4) for k in range(30)]], n_boot=200, n_perm=0)
    interval = inferred.rates["tpr"]
    assert np.isnan(interval.low[0, 0]) and not np.isnan(interval.low[0, 1])
    assert 0.5 < interval.n_valid[0, 0] / 200 < 0.75
    assert np.isnan(inferred.criteria[DIFFERENCE].low[0])


# --- simulations ----------------------------------------------------------------------------------


def simulate(rng, truths, identities=500, images=30, strength=4.0):
    """Rows of people whose true positive rates scatter around their group's truth (Beta person effects)."""
    names = np.array([chr(65 + k) for k in range(len(truths))])
    group = np.arange(identities) % len(truths)
    skill = rng.beta(strength * np.array(truths)[group], strength * (1 - np.array(truths)[group]))
    hits = rng.binomial(images, skill)
    order = np.argsort(group, kind="stable")
    return [(str(names[group[k]]), int(hits[k]), images) for k in order]


def fast_cube(rows):
    """As :func:`people`, with counts put in directly."""
    groups = tuple(dict.fromkeys(group for group, _, _ in rows))
    space = CellSpace({"ethnicity": groups})
    counts = np.zeros((len(rows), 1, 6), dtype=np.int32)
    counts[:, 0, 3] = [tp for _, tp, _ in rows]
    counts[:, 0, 2] = [n - tp for _, tp, n in rows]
    cell = np.array([groups.index(g) for g, _, _ in rows])
    names = np.array([f"p{k:05d}" for k in range(len(rows))], dtype=object)
    return Cube(space, ("Smiling",), names, cell, np.arange(len(rows)), counts)


def simulated(rows, **kwargs):
    return infer_cube(fast_cube(rows), **kwargs)


def infer_cube(cube, **kwargs):
    settings = FairnessSettings(groupings=("ethnicity",), levels=dict(cube.space.levels), **(EVERYONE | kwargs))
    result = evaluate_grouping(Scored(cube, {}, "identity", {}, 0), cube.space.grouping("ethnicity"), settings)
    observed = observed_of(result, settings)
    return Resampler({"m": cube}, settings).infer("m", cube, {"ethnicity": (result.grouping, observed)})["ethnicity"]


def coverages(runs, seed, n_boot):
    """Share of runs whose intervals of a pair, of a rate and of a gap contain the truth."""
    rng = np.random.default_rng(seed)
    hits = np.zeros(3)
    for run in range(runs):
        inferred = simulated(simulate(rng, (0.7, 0.8)), n_boot=n_boot, n_perm=0, seed=run)
        pair, group, gap = inferred.pairs["tpr"], inferred.rates["tpr"], inferred.criteria[DIFFERENCE]
        hits += [
            pair.low[0, 0] <= -0.1 <= pair.high[0, 0],
            group.low[0, 0] <= 0.7 <= group.high[0, 0],
            gap.low[0] <= 0.1 <= gap.high[0],
        ]
    return hits / runs


def size(runs, seed, n_perm):
    """Share of runs that report a difference between equal groups, and the mean excess."""
    rng = np.random.default_rng(seed)
    rejected, excess = 0, 0.0
    for run in range(runs):
        inferred = simulated(simulate(rng, (0.7,) * 8), n_boot=0, n_perm=n_perm, seed=run)
        test = inferred.tests[DIFFERENCE]
        rejected += test.p[0] <= 0.05
        x = inferred.observed.rates.x["tpr"][0]
        excess += x.max() - x.min() - test.null_mean[0]
    return rejected / runs, excess / runs


def null_coverage(runs, seed):
    """Share of runs in which the interval of a gap between 8 equal groups contains 0."""
    rng = np.random.default_rng(seed)
    lows = [
        simulated(simulate(rng, (0.7,) * 8), n_boot=300, n_perm=0, seed=run).criteria[DIFFERENCE].low[0]
        for run in range(runs)
    ]
    return np.mean(np.array(lows) == 0)


def spanning(rng, n_groups=4, identities=150, images=12):
    """A cube of equal groups in which every identity has images in two groups, as with predicted ages."""
    skill = rng.beta(3, 1.5, identities)
    first = rng.integers(0, n_groups, identities)
    cell = np.concatenate([first, (first + 1) % n_groups])
    identity = np.tile(np.arange(identities), 2)
    order = np.lexsort((identity, cell))
    cell, identity = cell[order], identity[order]
    counts = np.zeros((len(cell), 1, 6), dtype=np.int32)
    counts[:, 0, 3] = rng.binomial(images, skill[identity])
    counts[:, 0, 2] = images - counts[:, 0, 3]
    names = np.array([f"p{k:05d}" for k in range(identities)], dtype=object)
    space = CellSpace({"ethnicity": tuple("ABCDEFGH"[:n_groups])})
    return Cube(space, ("Smiling",), names, cell, identity, counts)


def inverted_size(runs, seed, n_boot):
    """Share of runs in which inverted intervals reject equal groups, and that in which the gap's interval has 0."""
    rng = np.random.default_rng(seed)
    found = [infer_cube(spanning(rng), n_boot=n_boot, n_perm=1, seed=run) for run in range(runs)]
    assert {one.p_method for one in found} == {"simultaneous_inverted"}
    rejected = np.mean([one.tests[DIFFERENCE].p[0] <= 0.05 for one in found])
    covered = np.mean([one.criteria[DIFFERENCE].low[0] == 0 for one in found])
    value = [np.ptp(one.observed.rates.x["tpr"][0]) for one in found]
    return rejected, covered, np.mean(value) - np.mean([one.tests[DIFFERENCE].null_mean[0] for one in found])


def two_models(rng, before, after, identities=500, images=30, strength=6.0):
    """Cubes of two models with similar skill for the same person (correlation 0.81)."""
    group = np.sort(np.arange(identities) % len(before))
    person = rng.normal(size=identities)
    cubes = []
    for truth in (before, after):
        z = 0.9 * person + np.sqrt(1 - 0.81) * rng.normal(size=identities)
        mean = np.array(truth)[group]
        hits = rng.binomial(images, beta.ppf(norm.cdf(z), strength * mean, strength * (1 - mean)))
        cubes.append(fast_cube([("ABCDEFGH"[g], int(h), images) for g, h in zip(group, hits, strict=True)]))
    return cubes


def change_of(before, after, settings):
    """The change between two models of one seed each."""
    cubes = dict(zip("ab", (before, after), strict=True))
    grouping = before.space.grouping("ethnicity")
    evaluated = {
        name: {"ethnicity": evaluate_grouping(Scored(cube, {}, "identity", {}, 0), grouping, settings)}
        for name, cube in cubes.items()
    }
    resampler = Resampler(cubes, settings)
    widths = {}
    for name, cube in cubes.items():
        observed = {"ethnicity": (grouping, observed_of(evaluated[name]["ethnicity"], settings))}
        widths[name] = {"ethnicity": resampler.infer(name, cube, observed)["ethnicity"].observed.widths}
    runs = runs_of(evaluated, cubes, settings)
    return compare(runs["a"], runs["b"], widths, resampler)["ethnicity"]


def change_coverage(runs, seed, before, after, n_boot):
    """Shares of runs: interval of the change of gap, those of all groups at once, p of the former below 0.05."""
    rng = np.random.default_rng(seed)
    hits = np.zeros(3)
    for run in range(runs):
        cubes = two_models(rng, before, after)
        settings = FairnessSettings(
            groupings=("ethnicity",), levels=dict(cubes[0].space.levels), n_boot=n_boot, n_perm=0, seed=run
        )
        change = change_of(*cubes, settings)
        truth = np.ptp(after) - np.ptp(before)
        groups = np.array(after) - np.array(before)
        hits += [
            change.low[DIFFERENCE][0] <= truth <= change.high[DIFFERENCE][0],
            ((change.low["tpr"][0] <= groups) & (groups <= change.high["tpr"][0])).all(),
            change.p[DIFFERENCE][0] <= 0.05,
        ]
    return hits / runs


SMALLER_GAP = dict(before=(0.6, 0.7, 0.7, 0.8), after=(0.65, 0.7, 0.7, 0.75))


def test_coverage_of_changes_quickly():
    gap, groups, _ = change_coverage(60, 6, **SMALLER_GAP, n_boot=150)
    assert gap >= 0.85 and groups >= 0.82, (gap, groups)


def test_spanned_groups_quickly():
    rejected, covered, excess = inverted_size(40, 5, n_boot=200)
    assert rejected <= 0.15 and covered >= 0.85 and abs(excess) < 0.015, (rejected, covered, excess)


@pytest.mark.slow
def test_coverage_of_changes():
    gap, groups, _ = change_coverage(400, 7, **SMALLER_GAP, n_boot=1000)
    assert gap >= 0.92 and 0.9 <= groups <= 0.98, (gap, groups)
    equal = dict(before=(0.6, 0.8), after=(0.6, 0.8))
    _, _, rejected = change_coverage(400, 8, **equal, n_boot=500)
    assert rejected <= 0.08, rejected


@pytest.mark.slow
def test_spanned_groups_and_null_coverage():
    rejected, covered, excess = inverted_size(400, 9, n_boot=1000)
    # Everybody is in two groups here; the intervals of neighbours are then too long, so few are rejected (2 %).
    assert 0.01 <= rejected <= 0.07 and covered >= 0.92 and abs(excess) < 0.003, (rejected, covered, excess)
    assert null_coverage(400, 10) >= 0.92


def test_coverage_quickly():
    shares = coverages(100, seed=1, n_boot=200)
    assert (shares >= 0.88).all() and (shares[:2] <= 0.99).all(), shares


def test_size_quickly():
    share, excess = size(100, seed=2, n_perm=99)
    assert 0 <= share <= 0.12, share
    assert abs(excess) < 0.01


@pytest.mark.slow
def test_coverage():
    shares = coverages(400, seed=3, n_boot=1000)
    assert (shares >= 0.92).all() and (shares <= 0.975).all(), shares


@pytest.mark.slow
def test_size():
    share, excess = size(400, seed=4, n_perm=1000)
    assert 0.03 <= share <= 0.08, share
    assert abs(excess) < 0.003


# --- whole tables ---------------------------------------------------------------------------------


def tables_of(seed, n=1500, identities=60, per_image_age=True, models=1):
    """Inputs of :func:`evaluate`: people of one gender and ethnicity whose age may vary between images."""
    rng = np.random.default_rng(seed)
    person = rng.integers(0, identities, n)
    ids = [f"img{k:05d}" for k in range(n)]
    age = rng.integers(0, 3, n) if per_image_age else (person // 8) % 3
    groups = pd.DataFrame(
        {
            "image_id": ids,
            "gender": np.array(["female", "male"])[person % 2],
            "age": np.array(["young", "middle_aged", "senior"])[age],
            "ethnicity": np.array(["asian", "black", "white", "unknown"])[(person // 2) % 4],
        }
    )
    labels = pd.DataFrame({"image_id": ids})
    for a in ("Smiling", "Bangs", "Goatee"):
        labels[a] = rng.choice([-1, 1, 0], n, p=[0.45, 0.45, 0.1])
    frames = {}
    for name in ("base-1", "base-2", "new-1", "new-2")[: 4 if models > 1 else 1]:
        frames[name] = pd.DataFrame({"image_id": ids, "identity_id": [f"p{k}" for k in person]})
        for a in ("Smiling", "Bangs", "Goatee"):
            noise = rng.normal(0, 0.35 if name < "c" else 0.25, n)
            frames[name][f"score_{a}"] = np.clip(0.5 + 0.25 * labels[a] + noise, 0, 1)
    return (frames if models > 1 else frames["base-1"]), labels, groups


def settings_of(**kwargs):
    return FairnessSettings(**(EVERYONE | dict(n_boot=120, n_perm=120) | kwargs))


def written(tables, folder):
    folder.mkdir()
    for name, table in tables.items():
        write_csv(table, folder / f"{name}.csv")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_threads_and_blocks_change_no_byte(tmp_path):
    inputs = tables_of(1, models=2)
    chosen = dict(baseline="base", groupings=("gender", "age", "gender*ethnicity"), n_boot=60, n_perm=60)
    expected = written(evaluate(*inputs, settings_of(block_size=1, **chosen)), tmp_path / "a")
    for name, size, threads in (("b", 2, 1), ("c", 1, 2), ("d", 8, 2)):
        tables = evaluate(*inputs, settings_of(block_size=size, **chosen), threads=threads)
        assert written(tables, tmp_path / name) == expected


@pytest.mark.parametrize("unknown", [False, True])
def test_groupings_of_the_same_people_share_one_product_which_changes_no_number(monkeypatch, unknown):
    frames, labels, groups = tables_of(4)
    people = frames["identity_id"].str.removeprefix("p").astype(int)
    groups = groups.assign(
        gender=np.where(people % 3, "female", "male"), ethnicity=np.where(people % 2, "black", "white")
    )
    groups.loc[people < 4 * unknown, "gender"] = None
    several = ("gender", "ethnicity", "gender*ethnicity")
    chosen = dict(levels={"gender": ("female", "male"), "ethnicity": ("black", "white")}, n_boot=0)
    product, products = resampling.permuted_sums, []
    monkeypatch.setattr(resampling, "permuted_sums", lambda *given: products.append(1) or product(*given))
    together = evaluate(frames, labels, groups, settings_of(groupings=several, **chosen))["gap_metrics"]
    assert len(products) == 1 + unknown  # only the groupings with gender leave people out
    assert set(together["p_method"]) == {"perm_identity", ""}
    for grouping in several:
        alone = evaluate(frames, labels, groups, settings_of(groupings=(grouping,), **chosen))["gap_metrics"]
        rows = together[together["grouping"] == grouping].reset_index(drop=True)
        over_all = ["q_value_all", "family_size_all"]  # these are about all groupings
        pd.testing.assert_frame_equal(rows.drop(columns=over_all), alone.drop(columns=over_all), check_exact=True)


def test_an_unused_group_without_images_does_not_undo_a_permutation():
    person = np.zeros((6, 1, 6), dtype=np.int64)
    person[:, 0, 1], person[:, 0, 3] = 4, [1, 3, 4, 2, 3, 1]  # false and true positives
    statistic = Studentised(person)
    sums = np.concatenate([person, statistic.columns], axis=-1)
    sums = np.stack([sums[:3].sum(axis=0), sums[3:].sum(axis=0), np.zeros_like(sums[0])])
    counts, columns = np.split(sums.transpose(1, 0, 2)[:, None], [6], axis=-1)
    used = {metric: np.array([[True, True, False]]) for metric in METRICS}
    rates = Rates.of(counts, {metric: mask[:, None] for metric, mask in used.items()}, 0.5, bounds=False)
    assert statistic.largest(used, rates.x, counts, columns)["precision"][0, 0] > 0


def test_the_seed_matters_and_the_estimates_do_not_depend_on_it():
    inputs = tables_of(1)
    a, b = (evaluate(*inputs, settings_of(seed=seed))["gap_metrics"] for seed in (0, 1))
    pd.testing.assert_series_equal(a["value"], b["value"])
    assert (a["ci_high"] != b["ci_high"]).any() and (a["p_value"] != b["p_value"]).any()


def test_duplicated_images_change_nothing():
    predictions, labels, groups = tables_of(2, per_image_age=False)
    twice = [
        pd.concat([table, table.assign(image_id=table["image_id"] + "again")], ignore_index=True)
        for table in (predictions, labels, groups)
    ]
    once, again = evaluate(predictions, labels, groups, settings_of()), evaluate(*twice, settings_of())
    for name, columns in {
        "group_metrics": ["value", "ci_low", "ci_high", "se", "n_identities", "n_boot_valid"],
        "gap_metrics": ["value", "ci_low", "ci_high", "null_mean", "excess", "p_value", "q_value", "verdict"],
        "pairwise_differences": ["difference", "ci_low", "ci_high", "se"],
    }.items():
        pd.testing.assert_frame_equal(once[name][columns], again[name][columns], rtol=0, atol=1e-12)
    effect = [tables["group_metrics"]["design_effect"] for tables in (once, again)]
    np.testing.assert_allclose(2 * effect[0], effect[1], rtol=1e-9)


def test_intervals_contain_their_value_and_pairs_sum_to_gaps():
    tables = evaluate(*tables_of(3), settings_of())
    for table, value in (("group_metrics", "value"), ("pairwise_differences", "difference")):
        frame = tables[table].dropna(subset="ci_low")
        assert len(frame) > 100
        assert ((frame["ci_low"] <= frame[value] + 1e-9) & (frame[value] <= frame["ci_high"] + 1e-9)).mean() > 0.99
    gaps = tables["gap_metrics"].dropna(subset="ci_low")
    outside = gaps[(gaps["ci_low"] > gaps["value"] + 1e-9) | (gaps["value"] > gaps["ci_high"] + 1e-9)]
    assert outside.empty, outside[["criterion", "value", "ci_low", "ci_high"]]
    key = ["attribute", "grouping"]
    pairs = tables["pairwise_differences"].query("metric == 'tpr'").groupby(key)["difference"]
    gap = tables["gap_metrics"].query("criterion == @DIFFERENCE").set_index(key)["value"]
    np.testing.assert_allclose(pairs.apply(lambda d: d.abs().max()).sort_index(), gap.sort_index(), atol=1e-12)


def test_every_criterion_has_an_interval_or_is_known_to_have_none():
    rows = evaluate(*tables_of(3), settings_of())["gap_metrics"].query("grouping == 'gender' and status == ''")
    without = set(rows.loc[rows["ci_low"].isna(), "criterion"])
    spread = {name for name in rows["criterion"] if name.endswith("_std")}
    assert without == spread | {"gini_aggregation_rate"} | {"prevalence_bias_worst_group"}
    discrepancy = rows.set_index(["attribute", "criterion"])
    for attribute in ("Bangs", "Smiling"):
        a = discrepancy.loc[attribute, "fairness_discrepancy_rate"]
        b = discrepancy.loc[attribute, "equalized_odds_difference_mean"]
        assert a["ci_low"] == pytest.approx(1 - b["ci_high"]) and a["ci_method"] == "simultaneous_conservative"
        assert a["null_mean"] == pytest.approx(1 - b["null_mean"]) and a["p_value"] == pytest.approx(b["p_value"])


def test_identities_that_span_groups_are_tested_by_their_intervals():
    tables = evaluate(*tables_of(4), settings_of())
    methods = tables["gap_metrics"].query("p_value == p_value").groupby("grouping")["p_method"].unique()
    assert methods["gender"] == ["perm_identity"] and methods["ethnicity"] == ["perm_identity"]
    assert methods["age"] == ["simultaneous_inverted"] and methods["gender*age"] == ["simultaneous_inverted"]
    rows = tables["gap_metrics"].query("grouping == 'age' and criterion == 'accuracy_gap'")
    assert rows["null_mean"].between(0.001, 0.2).all()


def test_families_leave_out_circular_attributes():
    predictions, labels, groups = tables_of(5)
    predictions = predictions.rename(columns={"score_Goatee": "score_Male"})
    labels = labels.rename(columns={"Goatee": "Male"})
    rows = evaluate(predictions, labels, groups, settings_of())["gap_metrics"].query("criterion == 'accuracy_gap'")
    by = rows.set_index(["attribute", "grouping"])
    assert by.loc[("Male", "gender"), ["status", "verdict", "family_size"]].tolist() == ["circular", "not_evaluable", 0]
    assert np.isnan(by.loc[("Male", "gender"), "q_value"]) and by.loc[("Bangs", "gender"), "family_size"] == 2
    assert by.loc[("Male", "age"), "family_size"] == 3


def test_each_replicate_is_what_fairlearn_gets_from_sample_weights():
    fairlearn = pytest.importorskip("fairlearn.metrics")
    predictions, labels, groups = tables_of(6)
    keep = (labels["Smiling"] != 0).to_numpy()
    predictions, labels, groups = (table[keep].reset_index(drop=True) for table in (predictions, labels, groups))
    truth, decided = (labels["Smiling"] > 0).astype(int), (predictions["score_Smiling"] >= 0.5).astype(int)
    space = CellSpace({"gender": ("female", "male")})
    cell = (groups["gender"] == "male").to_numpy().astype(int)
    cube = count(
        predictions["identity_id"], cell, space, [("Smiling", decided.to_numpy(), labels["Smiling"].to_numpy())]
    )
    weights = resampling.bootstrap_weights(len(cube.identities), 25, seed=0)
    cells = resampling.weighted_cells(cube, slice(0, 1), weights, np.arange(len(cube.identities)), np.float32)
    counts = resampling.sum_cells(cells, space.grouping("gender"), 2)
    rates = Rates.of(counts, {m: np.ones((1, 1, 2), dtype=bool) for m in METRICS}, 0.5, bounds=False)
    gaps = {name: gap.value[0] for name, gap in _gaps(rates)}
    of_image = weights[np.searchsorted(cube.identities, predictions["identity_id"])]
    for b in range(25):
        given_to = dict(y_true=truth, y_pred=decided, sensitive_features=groups["gender"], sample_weight=of_image[:, b])
        expected = {
            "demographic_parity_difference": fairlearn.demographic_parity_difference(**given_to),
            DIFFERENCE: fairlearn.equal_opportunity_difference(**given_to),
            "equalized_odds_difference_worst": fairlearn.equalized_odds_difference(**given_to),
            "equalized_odds_ratio_worst": fairlearn.equalized_odds_ratio(**given_to),
        }
        for name, value in expected.items():
            assert gaps[name][b] == pytest.approx(value, abs=1e-6)


def test_comparison_with_the_baseline():
    models, labels, groups = tables_of(7, models=2)
    tables = evaluate(models, labels, groups, settings_of(baseline="base"))
    rows = tables["model_comparison"]
    assert set(rows["baseline_model_id"]) == {"base"} and set(rows["candidate_model_id"]) == {"new"}
    group = rows.query("scope == 'group' and metric_or_criterion == 'accuracy' and grouping == 'gender'")
    assert (group["delta"] > 0).all() and (group["ci_low"] > 0).any()  # less noise
    gap = rows.query("scope == 'gap' and status == ''")
    inside = gap.dropna(subset="ci_low")
    assert ((inside["ci_low"] <= inside["delta"]) & (inside["delta"] <= inside["ci_high"])).mean() > 0.95
    tested = gap.dropna(subset="p_value")
    assert tested["p_value"].between(0, 1).all() and set(tested["p_method"]) == {"interval_people_and_seeds"}
    assert len(tested) > 0.8 * len(gap) and set(gap["claim"]) == {"method"}  # base rates do not change
    assert gap["seed_std"].gt(0).mean() > 0.8
    values = tables["gap_metrics"].pivot_table(
        index=["attribute", "grouping", "criterion"], columns="model_id", values="value"
    )
    seeds = np.stack([values[f"new-{seed}"] - values[f"base-{seed}"] for seed in (1, 2)])
    found = gap.set_index(["attribute", "grouping", "metric_or_criterion"]).loc[values.index]
    np.testing.assert_allclose(found["seed_mean"], seeds.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found["variance_training"], seeds.var(axis=0, ddof=1) / 2, atol=1e-12)
    summary = tables["fairness"].query("model_id == 'new' and criterion == 'accuracy_gap' and grouping == 'gender'")
    assert (summary["change_ci_low"] < summary["change"]).all()
    assert summary["levelling_down"].isin([True, False]).all()


def test_levelling_down_is_seen():
    uneven = (-1, 0, 0, 0, 1)  # people differ, or nothing would say how sure a change is
    rows = [(group, hits + uneven[k % 5], 10) for group, hits in (("A", 8), ("B", 6)) for k in range(30)]
    worse = [(group, 5 + uneven[(k + 2) % 5], 10) for group in "AB" for k in range(30)]
    ids = [f"i{k}" for k in range(600)]
    person = [f"p{k // 10:02d}" for k in range(600)]
    frames = {
        name: pd.DataFrame(
            {"image_id": ids, "identity_id": person,
             "pred_Smiling": [hit for _, tp, n in cases for hit in [1] * tp + [0] * (n - tp)]}
        )
        for name, cases in (("before", rows), ("after", worse))
    }  # fmt: skip
    labels = pd.DataFrame({"image_id": ids, "Smiling": 1})
    groups = pd.DataFrame({"image_id": ids, "gender": ["female"] * 300 + ["male"] * 300})
    tables = evaluate(frames, labels, groups, settings_of(groupings=("gender",), baseline="before"))
    row = tables["model_comparison"].query("metric_or_criterion == @DIFFERENCE").iloc[0]
    assert (row["baseline"], row["candidate"]) == (pytest.approx(0.2), 0)
    assert row["levelling_down"] is True and row["worst_group_delta"] == pytest.approx(-0.1)
    assert row["worst_group_ci_low"] < -0.1 < row["worst_group_ci_high"] < 0
    slightly = dict(frames, after=frames["before"].copy())
    slightly["after"].loc[300, "pred_Smiling"] = 0  # one hit less in the worst group, four less in the best
    slightly["after"].loc[[0, 10, 20, 40], "pred_Smiling"] = 0
    tables = evaluate(slightly, labels, groups, settings_of(groupings=("gender",), baseline="before"))
    row = tables["model_comparison"].query("metric_or_criterion == @DIFFERENCE").iloc[0]
    assert row["delta"] < 0 and row["worst_group_delta"] < 0 and row["levelling_down"] is False


def test_equal_models_do_not_differ():
    predictions, labels, groups = tables_of(8)
    tables = evaluate({"a": predictions, "b": predictions}, labels, groups, settings_of(baseline="a"))
    rows = tables["model_comparison"].query("status == ''")
    assert (rows["delta"].dropna() == 0).all()
    assert rows[["ci_low", "p_value"]].isna().all().all()  # where nothing moves, nothing says how sure it is
    assert not (rows["levelling_down"] == True).any()  # noqa: E712


def wrong_answers_left_undefined(seed, people, missing=(0.6, 0.1), right=0.8):
    """Labels of a fair classifier's wrong answers are missing more often in one group than in the other."""
    rng = np.random.default_rng(seed)
    n = 2 * people * 15
    person = np.repeat(np.arange(2 * people), 15)
    female = person < people
    shown = np.log(right / (1 - right)) + np.repeat(rng.normal(0, 0.8, 2 * people), 15)
    correct = rng.random(n) < 1 / (1 + np.exp(-shown))
    label = rng.choice([-1, 1], n)
    lost = ~correct & (rng.random(n) < np.where(female, *missing))
    ids = [f"i{k}" for k in range(n)]
    return evaluate(
        pd.DataFrame(
            {"image_id": ids, "identity_id": person.astype(str), "pred_Bald": np.where(correct, label, -label) > 0}
        ),
        pd.DataFrame({"image_id": ids, "Bald": np.where(lost, 0, label)}),
        pd.DataFrame({"image_id": ids, "gender": np.where(female, "female", "male")}),
        FairnessSettings(groupings=("gender",), n_boot=200, n_perm=200),
    )["gap_metrics"]


@pytest.mark.parametrize("people", [100, 300])
def test_a_gap_of_missing_labels_is_never_called_a_gap(people):
    """Coverage itself differs; every gap that rests on the labels says that missing ones could be all of it."""
    for seed in range(3):
        rows = wrong_answers_left_undefined(seed, people)
        rows = rows[~rows["criterion"].str.startswith("label_coverage")]
        assert "gap_not_label_robust" in set(rows["verdict"])
        assert "gap" not in set(rows["verdict"]), rows.loc[rows["verdict"] == "gap", "criterion"].tolist()


def test_a_gap_that_missing_labels_cannot_explain_is_a_gap():
    rows = wrong_answers_left_undefined(0, 150, missing=(0.02, 0.02)).set_index("criterion")
    assert rows.loc["accuracy_gap", "verdict"] != "gap"
    rng = np.random.default_rng(0)
    n = 3000
    person = np.arange(n) // 10
    right = rng.random(n) < np.where(person < 150, 0.9, 0.6)
    label = rng.choice([-1, 1], n)
    ids = [f"i{k}" for k in range(n)]
    found = evaluate(
        pd.DataFrame(
            {"image_id": ids, "identity_id": person.astype(str), "pred_Bald": np.where(right, label, -label) > 0}
        ),
        pd.DataFrame({"image_id": ids, "Bald": np.where(rng.random(n) < 0.03, 0, label)}),
        pd.DataFrame({"image_id": ids, "gender": np.where(person < 150, "female", "male")}),
        FairnessSettings(groupings=("gender",), n_boot=200, n_perm=200),
    )["gap_metrics"].set_index("criterion")
    for name in ("accuracy_gap", "equal_opportunity_difference", "precision_difference", "f1_difference"):
        assert (found.loc[name, "verdict"], found.loc[name, "label_robust"]) == ("gap", True), name


def test_ratios_have_their_own_practical_threshold_and_reach_every_verdict():
    """A ratio of 0.85 is farther than 0.05 from 1, and nearer than 0.2; equal groups are equivalent."""

    def verdict(rates, **settings):
        rng = np.random.default_rng(1)
        n = 12000
        person = np.arange(n) // 12
        hit = rng.random(n) < np.where(person < 500, *rates)
        ids = [f"i{k}" for k in range(n)]
        found = evaluate(
            pd.DataFrame({"image_id": ids, "identity_id": person.astype(str), "pred_Bald": hit.astype(int)}),
            pd.DataFrame({"image_id": ids, "Bald": 1}),
            pd.DataFrame({"image_id": ids, "gender": np.where(person < 500, "female", "male")}),
            FairnessSettings(groupings=("gender",), n_boot=200, n_perm=200, **settings),
        )["gap_metrics"].set_index("criterion")
        assert set(found.loc[["equal_opportunity_ratio"], "practical_threshold"]) == {
            settings.get("practical_ratio_threshold", 0.2)
        }
        return found.loc["equal_opportunity_ratio", "verdict"]

    assert verdict((0.8, 0.8)) == "equivalent"
    assert verdict((0.8, 0.68)) == "small_gap"
    assert verdict((0.8, 0.68), practical_ratio_threshold=0.05) == "gap"
    assert verdict((0.8, 0.5)) == "gap"


def test_missing_groups_lone_identities_and_nothing_defined():
    predictions, labels, groups = tables_of(9)
    groups.loc[groups["ethnicity"] == "black", "ethnicity"] = "unknown"
    lone = predictions["identity_id"] == "p0"
    groups.loc[lone, "ethnicity"] = "black"
    groups["age"] = "unknown"
    labels["Bangs"] = 0
    tables = evaluate(predictions, labels, groups, settings_of())
    group = tables["group_metrics"].set_index(["attribute", "grouping", "group", "metric"])
    assert group.loc[("Smiling", "ethnicity", "black", "tpr"), "status"] == "unstable_bootstrap"
    assert np.isnan(group.loc[("Smiling", "ethnicity", "black", "tpr"), ["se", "ci_low"]].astype(float)).all()
    gap = tables["gap_metrics"].set_index(["attribute", "grouping", "criterion"])
    row = gap.loc["Smiling", "ethnicity", DIFFERENCE]
    assert (row["status"], row["verdict"]) == ("unstable_bootstrap", "not_evaluable")
    assert gap.loc["Bangs", "gender", DIFFERENCE]["status"] == "too_few_groups"
    assert set(tables["gap_metrics"].query("grouping == 'age'")["verdict"]) == {"not_evaluable"}


def test_resampling_can_be_switched_off():
    tables = evaluate(*tables_of(10), settings_of(n_boot=0, n_perm=0))
    assert tables["gap_metrics"][["ci_low", "p_value"]].isna().all().all()
    assert tables["group_metrics"]["se"].notna().any()
    only = evaluate(*tables_of(10), settings_of(n_perm=0))["gap_metrics"]
    assert only["ci_low"].notna().any() and only["p_value"].isna().all()


def test_draws_that_cannot_fit_are_refused():
    with pytest.raises(UserError, match=r"60 units x 10000000 replicates.*evaluation.n_boot"):
        evaluate(*tables_of(10), settings_of(n_boot=10_000_000))


def test_images_without_identities_are_their_own_units():
    predictions, labels, groups = tables_of(14)
    tables = evaluate(predictions.drop(columns="identity_id"), labels, groups, settings_of())
    assert set(tables["gap_metrics"]["cluster_unit"]) == {"image"}
    effect = tables["group_metrics"].query("metric == 'tpr' and grouping == 'gender'")["design_effect"]
    np.testing.assert_allclose(effect, 1, atol=0.02)


def test_poisson_weights_and_permutation_within_levels():
    tables = evaluate(*tables_of(11), settings_of(weights="poisson", perm_within=("gender",)))
    rows = tables["gap_metrics"].query("criterion == 'accuracy_gap'")
    assert rows["ci_low"].notna().any() and rows.query("grouping == 'gender'")["p_value"].notna().all()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"n_boot": -1}, ["n_boot", "-1"]),
        ({"n_perm": 1.5}, ["n_perm", "1.5"]),
        ({"ci_level": 95}, ["ci_level", "95"]),
        ({"weights": "normal"}, ["weights", "poisson"]),
        ({"perm_within": ["height"]}, ["perm_within", "height"]),
        ({"practical_threshold": -0.1}, ["practical_threshold"]),
        ({"block_size": 0}, ["block_size"]),
        ({"confusion": {"gender": [[1, 2]]}}, ["confusion.gender", "2 rows"]),
        ({"confusion": {"gender": [[9, 1], [0, 0]]}}, ["confusion.gender", "row 2"]),
        (
            {"confusion": {"gender": [[9, 1], [1, 9]]}, "groupings": ["age"]},
            ["confusion", "gender", "evaluation.groupings"],
        ),
    ],
)
def test_settings_are_checked(config, words):
    with pytest.raises(UserError) as caught:
        FairnessSettings.from_config(config)
    for word in words:
        assert word in str(caught.value)


def test_the_library_and_the_configuration_share_their_defaults(config):
    library, section = FairnessSettings(), {k: v for k, v in config["evaluation"].items() if k != "crop"}
    shared = StatisticsSettings.model_fields.keys() - {"attributes", "groupings"}
    filled = FairnessSettings.from_config(section)
    assert {key: getattr(filled, key) for key in shared} == {key: getattr(library, key) for key in shared}


def test_speed_at_the_size_of_a_test_set():
    """169,500 images x 40 attributes x 500 identities x 7 groupings of 59 groups x 1000 replicates."""
    rng = np.random.default_rng(0)
    levels = {"gender": ("f", "m"), "age": ("y", "m", "s"), "ethnicity": ("a", "b", "c", "d")}
    space = CellSpace(levels)
    cell = np.sort([np.ravel_multi_index((k % 2, k // 2 % 3, k // 6 % 4), (3, 4, 5)) for k in range(500)])
    counts = rng.multinomial(339, [0.2, 0.1, 0.1, 0.2, 0.2, 0.2], size=(500, 40)).astype(np.int32)
    names = np.array([f"p{k:03d}" for k in range(500)], dtype=object)
    cube = Cube(space, tuple(f"a{k:02d}" for k in range(40)), names, cell, np.arange(500), counts)
    settings = FairnessSettings(levels=levels, n_perm=0)
    started = time.process_time()
    results = {
        g: evaluate_grouping(Scored(cube, {}, "identity", {}, 0), space.grouping(g), settings)
        for g in settings.groupings
    }
    observed = {g: (result.grouping, observed_of(result, settings)) for g, result in results.items()}
    inferred = Resampler({"m": cube}, settings, threads=2).infer("m", cube, observed)
    assert sum(one.observed.n_groups for one in inferred.values()) == 59
    assert time.process_time() - started < 10  # 5 s on two cores; 2 s where they are free


def test_replicates_leave_the_memory_with_their_last_user():
    """They are most of what an evaluation holds; a reference to themselves would keep them until garbage is collected."""
    cube, result, observed, _settings = people(E6, min_denominator=100)
    cells = resampling.weighted_cells(cube, slice(0, 1), np.ones((4, 20), dtype=np.float32), np.arange(4))
    rates = replicate_rates(resampling.sum_cells(cells, result.grouping, 2), result.rates, slice(0, 1), 0.5)
    intervals = Replicates(observed, rates, slice(0, 1), 0.5)
    # no group is large enough, so that both errors compare the same ones
    alone, criteria = intervals.jointly is intervals, intervals.criteria()
    assert alone and criteria
    known = weakref.ref(intervals)
    del intervals
    assert known() is None


def test_cells_without_images_have_no_replicates():
    cube, result, _observed, _settings = people(E6)
    cells = resampling.weighted_cells(cube, slice(0, 1), np.ones((4, 3), dtype=np.float32), np.arange(4))
    assert cells.cell.tolist() == sorted(set(cube.cell)) and len(cells.cell) < cube.space.size
    counts = resampling.sum_cells(cells, result.grouping, len(result.grouping.groups))
    whole = cube.by_group(result.grouping).counts.transpose(1, 0, 2)
    np.testing.assert_array_equal(counts, np.repeat(whole[:, None], 3, axis=1))
