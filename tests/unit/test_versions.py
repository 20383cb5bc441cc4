"""Every version number against a stored digest of what its step makes: a forgotten raise is named, with its file."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import update_references as references
from digests import Digest, differences, version_numbers
from version_cases import CASES, Inputs, digest_of

NUMBERS = version_numbers()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, face_assets):
    return Inputs(tmp_path_factory.mktemp("versions"), face_assets)


@pytest.fixture(scope="module")
def stored():
    return json.loads(references.DIGESTS.read_text())


def test_every_version_number_has_a_case(stored):
    without = [f"{number.what} in {number.file}" for name, number in NUMBERS.items() if name not in CASES]
    assert not without, f"write a case in tests/version_cases for {'; '.join(without)}, and {references.UPDATE}"
    gone = sorted({*CASES, *stored} - set(NUMBERS))
    assert not gone, f"no such version number: {gone}; delete the cases, and {references.UPDATE}"


@pytest.mark.parametrize("name", [name for name in NUMBERS if name in CASES])
def test_the_output_belongs_to_its_number(name, inputs, stored):
    what, sentence = references.judge(name, NUMBERS, stored.get(name), digest_of(name, inputs))
    assert what == "same", sentence


# --- that a change is seen, and a last bit is not ---


def content(value=0.4, label="male", count=3, pixel=80):
    picture = np.full((80, 80, 3), 90, np.uint8)
    picture[4:40, 4:40] = pixel
    table = pd.DataFrame({"gender": [label, "female"], "score": np.float32([value, 0.7]), "n": [count, 4]})
    return {"table": table, "picture": picture, "text": "quality 2.50 < 3", "versions": {"torch": "2"}}


def test_last_bits_do_not_count_and_changes_do():
    one = Digest(content()).stored()
    bits = content(value=0.4 * (1 + 1e-5))
    bits["picture"][7, 7, 0] += 1
    assert differences(one, Digest(bits | {"versions": {"torch": "3"}}).stored()) == []
    assert differences(one, Digest(content(value=0.404)).stored()) == ["numbers at /table/score"]
    assert differences(one, Digest(content(value=np.nan)).stored()) == [
        "texts, whole numbers or shapes", "numbers at /table/score",
    ]  # fmt: skip
    assert differences(one, Digest(content(pixel=79)).stored()) == ["numbers at /picture"]
    for change in ({"label": "female"}, {"count": 5}):
        assert differences(one, Digest(content(**change)).stored()) == ["texts, whole numbers or shapes"]
    assert differences(one, Digest(content() | {"text": "quality 2.51 < 3"}).stored())
    loose = Digest(content(), decimals=True).stored()
    assert not differences(loose, Digest(content() | {"text": "quality 2.5001 < 3"}, decimals=True).stored())
    assert differences(loose, Digest(content() | {"text": "quality 2.60 < 3"}, decimals=True).stored())


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("screening.VERSIONS.acceptance", "evenface.screening.acceptance.wilson", lambda share, n: (share, share)),
        ("audit.VERSIONS.agreement", "evenface.audit.agreement.cohens_kappa", lambda a, b: 0.5),
        ("faces.hog.PART", "evenface.faces.detection.LANDMARK_BOX", 200),
        ("datasets.VERSIONS.synthetic", "evenface.datasets.synthetic.assign_splits", lambda frame, seed: "train"),
        ("plan.shards.RECIPE_VERSION", "evenface.plan.shards.seed_from", lambda *parts: 7),
    ],
)
def test_a_step_that_computes_otherwise_is_named(
    name, place, value, inputs, stored, monkeypatch, tmp_path, face_assets
):
    monkeypatch.setattr(place, value)
    what, sentence = references.judge(name, NUMBERS, stored[name], digest_of(name, Inputs(tmp_path, face_assets)))
    assert what == "forgotten" and f"raise {NUMBERS[name].what} in {NUMBERS[name].file}" in sentence


# --- the update ---


def test_the_update_refuses_a_new_digest_under_an_old_number(stored, tmp_path):
    name, other = "standins.celeba.PART", "generators.parametric.PART"
    path = tmp_path / "versions.json"
    path.write_text(json.dumps(stored))
    made = {key: {part: record[part] for part in ("exact", "numbers")} for key, record in stored.items()}
    assert references.update_digests(path, made, NUMBERS) == "no digest changed"
    before = path.read_bytes()
    made[name] = {**made[name], "exact": "0" * 12}
    with pytest.raises(
        SystemExit, match=rf"refused: the output of {name} changed .*raise the version of .*celeba.* in "
    ):
        references.update_digests(path, made, NUMBERS)
    assert path.read_bytes() == before

    def raised(which, by=1):
        return NUMBERS | {which: replace(NUMBERS[which], value=NUMBERS[which].value + by)}

    with pytest.raises(SystemExit, match="raise it to"):
        references.update_digests(path, made, raised(name, -1))
    for which in (name, other):  # its own number, or that of the renderer, which its recipe has too
        path.write_bytes(before)
        assert references.judge(name, raised(which), stored[name], made[name])[0] == "renew"
        assert name in references.update_digests(path, made, raised(which))
        assert json.loads(path.read_text())[name]["exact"] == "0" * 12
        assert references.update_digests(path, made, raised(which)) == "no digest changed"


def test_a_number_without_a_digest_is_named(tmp_path, stored):
    name = "networks.slim_cnn.PART"
    what, sentence = references.judge(name, NUMBERS, None, stored[name])
    assert what == "renew" and "no digest is stored for the version of the network slim_cnn" in sentence
