"""The sentence about a name that is not known."""

import pytest

from evenface.errors import UserError, check_names, unknown_name


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("slim_cn", ["slim_cnn"], "k: 'slim_cn' is not known; did you mean 'slim_cnn'? (choose from slim_cnn)"),
        ("vit", ["slim_cnn", None], "k: 'vit' is not known (choose from slim_cnn, null)"),
        ("Blond", [f"A{i}" for i in range(20)] + ["Blond_Hair"], "k: 'Blond' is not known; did you mean 'Blond_Hair'?"),
        ("caucasian", ["asian", "black", "white"], "k: 'caucasian' is not known (choose from asian, black, white)"),
        (None, ["a"], "k: null is not known (choose from a)"),
        ("x", [], "k: 'x' is not known (choose from nothing)"),
        (5, ["a"], "k: 5 is not known (choose from a)"),
    ],
)
def test_a_near_name_is_offered_and_a_short_list_shown(name, known, sentence):
    assert unknown_name("k", name, known) == sentence


def test_the_first_unknown_name_is_an_error():
    check_names("k", {"a": 1}, {"a": 0, "b": 0})
    with pytest.raises(UserError, match="k: 'c' is not known"):
        check_names("k", ["a", "c", "d"], ["a", "b"])
