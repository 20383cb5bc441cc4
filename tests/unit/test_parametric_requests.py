"""Requests of the parametric generator: what is asked to be absent is absent, and requests combine."""

import itertools

import pytest

from evenface.errors import UserError
from evenface.generators.parametric.sampling import sample
from evenface.generators.parametric.truth import celeba_labels, demographics

MAN = {"gender": "male", "age": "middle_aged", "ethnicity": "white"}
WOMAN = {**MAN, "gender": "female"}
SEEDS = range(40)


def labels(who, attributes, seed):
    return celeba_labels(sample(who, attributes, seed))


@pytest.mark.parametrize("name", ["Goatee", "Mustache", "Sideburns", "5_o_Clock_Shadow"])
def test_facial_hair_that_is_excluded_does_not_grow(name):
    assert {labels(MAN, {name: -1}, seed)[name] for seed in SEEDS} == {-1}
    for seed in SEEDS:
        both = labels(MAN, {name: -1, "No_Beard": -1}, seed)
        assert both[name] == -1 and both["No_Beard"] == -1


def test_a_beard_without_any_facial_hair_is_refused():
    nothing = dict.fromkeys(("Goatee", "Mustache", "Sideburns", "5_o_Clock_Shadow", "No_Beard"), -1)
    with pytest.raises(UserError, match="every kind of facial hair is excluded"):
        sample(MAN, nothing, 1)


@pytest.mark.parametrize("who", [MAN, WOMAN], ids=["man", "woman"])
def test_requests_for_make_up_combine(who):
    names = ("Heavy_Makeup", "Wearing_Lipstick", "Rosy_Cheeks")
    for wanted in itertools.chain(itertools.combinations(names, 1), itertools.combinations(names, 2), [names]):
        for seed in range(6):
            seen = labels(who, dict.fromkeys(wanted, 1), seed)
            assert all(seen[name] == 1 for name in wanted), wanted


@pytest.mark.parametrize("name", ["Bald", "Bangs", "Wavy_Hair", "Straight_Hair", "Receding_Hairline"])
def test_no_unasked_hat_hides_a_requested_hair(name):
    assert all(labels(MAN, {name: 1}, seed)["Wearing_Hat"] == -1 for seed in range(120))


def test_male_and_young_decide_open_dimensions_and_refuse_others():
    for seed in SEEDS:
        assert demographics(sample({}, {"Male": 1}, seed))["gender"] == "male"
        assert demographics(sample({}, {"Male": -1}, seed))["gender"] == "female"
        for value in (1, -1):
            assert labels({}, {"Young": value}, seed)["Young"] == value
            assert labels(MAN, {"Young": value}, seed)["Young"] == value
    with pytest.raises(UserError, match="Male = -1 is asked for on a male face"):
        sample(MAN, {"Male": -1}, 1)
    with pytest.raises(UserError, match="age band senior"):
        sample({**MAN, "age": "senior"}, {"Young": 1}, 1)
