"""Intervals contain the truth as often as they say, and tests are wrong as rarely, for few people of unequal weight."""

import numpy as np
import pytest
import simulated_people as simulation

from evenface.fairness.rate_limits import Spread, limits, student

QUICK = simulation.Cell((0.8,) * 4, (20,) * 4)
CLOSING = simulation.CHANGES["gap 0.15 to 0, 4 groups of 60"]


def test_coverage_quickly():
    found = simulation.measure(QUICK, 100, n_boot=200)
    assert found["rate"] >= 0.94 and found["gap"] >= 0.9 and found["rejected"] <= 0.12, found


def test_a_gap_that_closes_quickly():
    found = simulation.measure(CLOSING, 100, n_boot=200, n_perm=0)
    assert found["change"] >= 0.9 and found["groups"] >= 0.88, found


@pytest.mark.slow
@pytest.mark.parametrize("name", [*simulation.EQUAL, *simulation.OTHER])
def test_coverage(name):
    """Rates of people who are heavy-tailed in two ways, number of images and rate, are the hardest of these."""
    found = simulation.measure((simulation.EQUAL | simulation.OTHER)[name], 400)
    assert found["rate"] >= 0.91 and found["pairs"] >= 0.92 and found["gap"] >= 0.92, found
    if not name.startswith("gap"):
        assert found["rejected"] <= (0.12 if "spreads" in name else 0.085), found


@pytest.mark.slow
@pytest.mark.parametrize("name", simulation.CHANGES)
def test_coverage_of_changes(name):
    found = simulation.measure(simulation.CHANGES[name], 400, n_perm=0)
    assert found["change"] >= 0.92 and found["groups"] >= 0.9, found


def spread(se, n_eff, carriers=None, skew=0.0):
    values = (se, n_eff, n_eff / 2 if carriers is None else carriers, skew)
    return Spread(*(np.array([float(value)]) for value in values))


def test_limits_are_clopper_and_pearsons_for_one_image_each():
    from scipy.stats import beta

    n, z = 60, 1.959964
    for hits in (1, 6, 30, 59):
        p = hits / n
        factor = float(student(np.array(z), n - 1) / z) ** 2
        m = n / factor  # Student's t takes the place of the normal distribution
        low, high = limits(np.array([p]), spread(np.sqrt(p * (1 - p) / n), n, carriers=1e9), z)
        np.testing.assert_allclose(low, beta.ppf(0.025, p * m, m - p * m + 1), atol=2e-3)
        np.testing.assert_allclose(high, beta.ppf(0.975, p * m + 1, m - p * m), atol=2e-3)


def test_limits_at_the_ends_and_in_between():
    low, high = limits(np.array([0.0]), spread(0, 20), 1.96)
    assert low == 0 and 0.15 < high < 0.22
    low, high = limits(np.array([1.0]), spread(0, 20), 1.96)
    assert high == 1 and 0.78 < low < 0.85
    assert np.isnan(limits(np.array([0.5]), spread(np.nan, 1), 1.96)).all()
    values = np.linspace(0.1, 0.9, 81)
    many = Spread(*(np.full(81, value) for value in (0.05, 30.0, 15.0, 0.0)))
    low, high = limits(values, many, 1.96)
    assert (low < values).all() and (values < high).all() and (np.diff(low) > 0).all() and (np.diff(high) > 0).all()
    mirrored = limits(1 - values, many, 1.96)
    np.testing.assert_allclose(mirrored[0], 1 - high, atol=1e-9)


def test_a_rate_whose_variance_rests_on_few_people_reaches_further_on_their_side():
    value = np.array([0.9])
    even = limits(value, spread(0.03, 30, 15, 0), 1.96)
    skewed = limits(value, spread(0.03, 30, 3, -1), 1.96)
    assert skewed[0] < even[0] - 0.005 and skewed[1] == even[1]
