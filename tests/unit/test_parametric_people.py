"""People, scenes, labels and cameras: truthful, reproducible, independent of the cell."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenface.errors import UserError
from evenface.generators import create
from evenface.generators.parametric import camera, pigment
from evenface.generators.parametric.domains import DOMAINS, domain
from evenface.generators.parametric.sampling import sample, sample_face, sample_identity
from evenface.generators.parametric.truth import celeba_labels, demographics, maad_labels
from evenface.plan.requests import Request
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, HAIR_COLOURS, MAAD_ATTRIBUTES

ANYONE = {"gender": "female", "age": "young", "ethnicity": "asian"}

levels = st.fixed_dictionaries({d: st.sampled_from(v) for d, v in DIMENSIONS.items()})


@given(levels, st.sampled_from(sorted(HAIR_COLOURS)), st.integers(0, 2**62))
@settings(max_examples=60, deadline=None)
def test_a_request_is_obeyed_and_described_truthfully(wanted, colour, seed):
    face = sample(wanted, {HAIR_COLOURS[colour]: 1, "Eyeglasses": -1, "Smiling": 1}, seed)
    assert demographics(face) == wanted
    labels = celeba_labels(face)
    assert set(labels) == set(CELEBA_ATTRIBUTES) and set(labels.values()) <= {-1, 0, 1}
    assert labels["Eyeglasses"] == -1 and labels["Smiling"] == 1
    assert labels["Male"] == (1 if wanted["gender"] == "male" else -1)
    # The label is cut from the continuum: near a threshold it may be undefined, never another colour.
    others = [labels[name] for c, name in HAIR_COLOURS.items() if c != colour]
    assert labels[HAIR_COLOURS[colour]] >= 0 and max(others) <= 0
    assert face == sample(wanted, {HAIR_COLOURS[colour]: 1, "Eyeglasses": -1, "Smiling": 1}, seed)


@pytest.mark.parametrize("name", ["Goatee", "Mustache", "5_o_Clock_Shadow", "Sideburns", "Receding_Hairline", "Big_Nose",
                                  "Bangs", "Wearing_Hat", "Heavy_Makeup", "Rosy_Cheeks", "Pale_Skin", "Bald", "Wavy_Hair",
                                  "Mouth_Slightly_Open", "Double_Chin", "Narrow_Eyes", "Arched_Eyebrows"])  # fmt: skip
def test_every_settable_attribute_is_set(name):
    gender = "female" if name in ("Heavy_Makeup", "Rosy_Cheeks", "Bangs") else "male"
    for seed in range(8):
        labels = celeba_labels(sample({**ANYONE, "gender": gender}, {name: 1}, seed))
        assert labels[name] == 1, seed


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"Attractive": 1}, "cannot show Attractive"),
        ({"Wearing_Necktie": 1}, "cannot show"),
        ({"Goatee": 1}, "female face"),
    ],
)
def test_what_cannot_be_drawn_is_refused(attributes, message):
    with pytest.raises(UserError, match=message):
        sample(ANYONE, attributes, 1)


def test_who_has_a_beard_and_no_gender_is_drawn_male():
    for seed in range(8):
        assert demographics(sample({}, {"No_Beard": -1}, seed))["gender"] == "male"


def test_an_open_dimension_is_drawn_evenly():
    drawn = Counter(demographics(sample({}, {}, seed))["ethnicity"] for seed in range(150))
    assert set(drawn) == set(DIMENSIONS["ethnicity"]) and min(drawn.values()) > 30


def test_asking_for_one_thing_moves_nothing_else():
    plain, smiling = sample(ANYONE, {}, 5), sample(ANYONE, {"Smiling": 1}, 5)
    assert (plain.person, plain.hair, plain.light, plain.pose, plain.backdrop) == (
        smiling.person, smiling.hair, smiling.light, smiling.pose, smiling.backdrop)  # fmt: skip


def test_secondary_traits_do_not_follow_ethnicity():
    rates = {}
    for ethnicity in DIMENSIONS["ethnicity"]:
        faces = [sample({**ANYONE, "gender": "male", "ethnicity": ethnicity}, {}, s) for s in range(300)]
        labels = [celeba_labels(f) for f in faces]
        rates[ethnicity] = {
            n: np.mean([x[n] == 1 for x in labels]) for n in ("Smiling", "Eyeglasses", "Big_Nose", "Goatee")
        }
    for name in rates["white"]:
        values = [r[name] for r in rates.values()]
        assert max(values) - min(values) < 0.12, name


def test_one_identity_many_pictures():
    identity = sample_identity(ANYONE, {}, 3)
    faces = [sample_face(identity, {}, s, place=domain("web_crop")) for s in range(5)]
    assert len({str(f.person) for f in faces}) == 1 and len({f.pose for f in faces}) == 5


def test_maad_labels_agree_with_celeba():
    face = sample({}, {}, 4)
    maad, celeba = maad_labels(face), celeba_labels(face)
    assert set(maad) == set(MAAD_ATTRIBUTES)
    assert sum(maad[n] == 1 for n in ("Asian", "White", "Black")) == 1
    assert sum(maad[n] == 1 for n in ("Young", "Middle_Aged", "Senior")) == 1
    assert maad["Smiling"] == celeba["Smiling"] and maad["No_Eyewear"] == -celeba["Eyeglasses"]


@given(st.floats(0, 1), st.floats(0, 1.2))
def test_hair_lightness_can_be_read_off_the_colour(lightness, warmth):
    colour = pigment.hair_colour(lightness, warmth)
    assert all(0 <= c <= 1 for c in colour)
    assert abs(pigment.lightness_of(colour) - lightness) < 0.01


@pytest.mark.parametrize("name", DOMAINS)
def test_the_camera_is_reproducible_and_keeps_the_size(name):
    image = np.random.default_rng(0).integers(0, 256, (218, 178, 3), np.uint8)
    before = image.copy()
    first, quality = camera.photograph(image, DOMAINS[name], 7)
    again, _ = camera.photograph(image, DOMAINS[name], 7)
    assert first.shape == image.shape and first.dtype == np.uint8 and (first == again).all()
    assert DOMAINS[name].jpeg[0] <= quality <= DOMAINS[name].jpeg[1]
    assert (image == before).all()
    assert not (first == camera.photograph(image, DOMAINS[name], 8)[0]).all()


def test_the_generator_depends_on_each_request_alone(face_assets):
    requests = [Request(f"r{i}", "", "", ANYONE, {"Brown_Hair": 1}, i) for i in range(3)]
    generator = create("parametric", {"files": {"assets": str(face_assets)}})
    together = {f.request.request_id: f for f in generator.generate(requests)}
    for request in reversed(requests):
        (alone,) = generator.generate([request])
        assert (alone.image == together[request.request_id].image).all()
        assert alone.image.shape == (218, 178, 3)
        assert alone.truth["attributes"]["Brown_Hair"] >= 0


def test_unknown_names_and_settings_are_refused(face_assets):
    with pytest.raises(UserError, match="is not known"):
        create("parametrik", {})
    with pytest.raises(UserError, match="'sise' is not known"):
        create("parametric", {"sise": 3})
    with pytest.raises(UserError, match="domain: 'x' is not known"):
        list(create("parametric", {"domain": "x", "files": {"assets": str(face_assets)}}).generate([]))
