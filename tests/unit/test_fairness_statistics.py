"""Intervals, tests, comparisons and corrections: worked examples, properties, coverage, and bytes that hold."""

import numpy as np
import pytest
from scipy.stats import norm

from evenface.fairness import FairnessSettings, resampling
from evenface.fairness.cube import CellSpace, count
from evenface.fairness.inference import Resampler, replicate_rates
from evenface.fairness.inputs import Scored
from evenface.fairness.multiplicity import benjamini_hochberg, verdicts
from evenface.fairness.tables import _evaluate_grouping, _observed
from evenface.fairness.tests_of_difference import against_permutations
from evenface.fairness.uncertainty import quantiles, wilson

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
    result = _evaluate_grouping(Scored(cube, {}, "identity", {}, 0), space.grouping("ethnicity"), settings)
    return cube, result, _observed(result, settings), settings


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
    counts = resampling.permuted_counts(members, observed.person, 2)
    permuted = replicate_rates(counts, result.rates, slice(0, 1), 0.5)
    gap = dict(_gaps(permuted))[DIFFERENCE].value[0]
    assert sorted(gap) == [0, 0, 0.25, 0.25, 0.5, 0.5]
    test = against_permutations(result.rates, permuted, 0.5, exact=True)[DIFFERENCE]
    assert (test.p[0], test.null_mean[0], test.n[0]) == (4 / 6, 0.25, 6)
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
    nan = np.full(1, np.nan)
    assert verdicts(nan, nan, nan, np.array([True]), 0.05).tolist() == ["inconclusive"]


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
    low, high = wilson(np.array([0.0, 1.0, 0.5]), np.array([20, 20, 20]), 0.95)
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


def test_a_rate_without_spread_gets_wilsons_interval():
    rows = [("A", 5, 5)] * 20 + [("B", k % 5, 5) for k in range(20)]
    inferred = infer(rows, n_boot=200, n_perm=0)
    interval = inferred.rates["tpr"]
    assert interval.method[0].tolist() == ["wilson_identities", "percentile"]
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
    from evenface.fairness.cube import Cube

    groups = tuple(dict.fromkeys(group for group, _, _ in rows))
    space = CellSpace({"ethnicity": groups})
    counts = np.zeros((len(rows), 1, 6), dtype=np.int32)
    counts[:, 0, 3] = [tp for _, tp, _ in rows]
    counts[:, 0, 2] = [n - tp for _, tp, n in rows]
    cell = np.array([groups.index(g) for g, _, _ in rows])
    names = np.array([f"p{k:05d}" for k in range(len(rows))], dtype=object)
    return Cube(space, ("Smiling",), names, cell, np.arange(len(rows)), counts)


def simulated(rows, **kwargs):
    cube = fast_cube(rows)
    settings = FairnessSettings(groupings=("ethnicity",), levels=dict(cube.space.levels), **(EVERYONE | kwargs))
    result = _evaluate_grouping(Scored(cube, {}, "identity", {}, 0), cube.space.grouping("ethnicity"), settings)
    observed = _observed(result, settings)
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
    """Share of runs in which groups that do not differ are said to, and the mean excess."""
    rng = np.random.default_rng(seed)
    rejected, excess = 0, 0.0
    for run in range(runs):
        inferred = simulated(simulate(rng, (0.7,) * 8), n_boot=0, n_perm=n_perm, seed=run)
        test = inferred.tests[DIFFERENCE]
        rejected += test.p[0] <= 0.05
        x = inferred.observed.rates.x["tpr"][0]
        excess += x.max() - x.min() - test.null_mean[0]
    return rejected / runs, excess / runs


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
