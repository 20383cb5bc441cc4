"""Ageing of parametric faces: it only ever grows, shows in the picture, and leaves the rest alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from evenface.generators.parametric import aging, regions, shading, styles, textures
from evenface.generators.parametric.asked import AGES
from evenface.generators.parametric.face import Backdrop, Expression, Face, Hair, Look, Person
from evenface.generators.parametric.pigment import hair_colour_probabilities
from evenface.generators.parametric.sampling import sample
from evenface.generators.parametric.truth import celeba_labels
from evenface.taxonomy import DIMENSIONS

SIGNS = ("shape", "folds", "lines", "skin", "spots", "blotches", "sallow", "hollows", "gray_brows")


def person(ethnicity="white", gender="female", **changes) -> Face:
    """A bald head before a plain backdrop, so that only the skin can change."""
    who = Person(5, gender, {ethnicity: 1.0}, 0.05 if gender == "female" else 0.95)
    return replace(Face(who, 30.0, Hair(styles.BALD, (0.03, 0.02, 0.015)), backdrop=Backdrop("plain")), **changes)


def roughness(image: np.ndarray) -> float:
    """Local contrast of the forehead and beside the mouth: deviation from the blurred log luminance."""
    log = np.log(image.astype(np.float32) @ np.array([0.3, 0.59, 0.11], np.float32) + 4)
    detail = log - cv2.GaussianBlur(log, (0, 0), 3.0)
    forehead, left, right = detail[64:90, 70:108], detail[134:168, 54:70], detail[134:168, 108:124]
    return float(np.sqrt((forehead**2).mean() + (left**2).mean() + (right**2).mean()))


@pytest.mark.parametrize("sign", SIGNS)
def test_signs_of_age_only_grow_and_never_jump(sign):
    values = np.array([aging.amount(sign, age) for age in np.linspace(10, 90, 801)])
    steps = np.diff(values)
    assert steps.min() >= 0 and steps.max() < 0.02
    assert values[0] == 0 and values[-1] > 0.4
    assert aging.youth(16) == 1 and aging.youth(30) == 0


@pytest.mark.parametrize("sign", ["shape", "folds", "skin"])
def test_bands_of_age_differ_by_more_than_they_span(sign):
    (_, young), (low, high), (senior, _) = (AGES[band] for band in DIMENSIONS["age"])
    amount = [aging.amount(sign, age) for age in (young, low, high, senior)]
    assert amount[1] - amount[0] > amount[2] - amount[1]
    assert amount[3] > amount[2] + 0.1


@pytest.mark.parametrize("ethnicity", DIMENSIONS["ethnicity"])
@pytest.mark.parametrize("gender", DIMENSIONS["gender"])
def test_creases_show_and_deepen_with_age(renderer, ethnicity, gender):
    face = person(ethnicity, gender)
    levels = [roughness(renderer.render(replace(face, age=age))) for age in (22.0, 40.0, 55.0, 72.0)]
    assert np.all(np.diff(levels) > 0), levels
    assert levels[1] > 1.05 * levels[0] and levels[3] > levels[0] + 0.04


def test_age_moves_neither_pose_nor_background_nor_hair(renderer):
    woman = person(hair=Hair("long", (0.07, 0.04, 0.02)), look=Look(clothes="female_casualsuit01"))
    pictures = [renderer.render_with_masks(replace(woman, age=age)) for age in (20.0, 72.0)]
    marks = [renderer.landmarks(replace(woman, age=age)) for age in (20.0, 72.0)]
    assert np.abs(marks[0][:2] - marks[1][:2]).max() < 1.0
    outside = np.logical_and.reduce([mask == 0 for _, mask in pictures])
    assert outside.mean() > 0.15 and (pictures[0][0][outside] == pictures[1][0][outside]).all()
    # The top of the head is hair at either age, of the same colour.
    crown = [image[28:40, 75:103].reshape(-1, 3).mean(0) for image, _ in pictures]
    assert np.abs(crown[0] - crown[1]).max() < 8


def test_age_leaves_the_labelled_hair_colour():
    for seed in range(12):
        face = sample({"age": "young"}, {}, seed)
        old = replace(face, age=72.0)
        assert hair_colour_probabilities(old.hair) == hair_colour_probabilities(face.hair)
        assert celeba_labels(old)["Gray_Hair"] == celeba_labels(face)["Gray_Hair"]


def test_people_crease_differently_but_always_alike():
    zones = {name: np.ones(3) for name in ("forehead", "eyes", "mouth", "neck")}
    face = person(age=60.0)
    first, again = (np.stack(aging.crease_amounts(face, zones, 0.0)) for _ in range(2))
    assert (first == again).all() and first.dtype == np.float32 and first.shape == (2, 3)
    other = replace(face, person=replace(face.person, shape_seed=6))
    assert not np.allclose(first, aging.crease_amounts(other, zones, 0.0))
    smiling = replace(face, expression=Expression(smile=1.0, brow_raise=0.5))
    assert (np.stack(aging.crease_amounts(smiling, zones, 0.0)) > first).all()
    child = replace(face, age=20.0)
    assert not np.any(aging.crease_amounts(child, zones, 1.0))


@pytest.mark.parametrize("band", DIMENSIONS["age"])
@pytest.mark.parametrize("wanted", [1, -1])
def test_bags_under_the_eyes_are_labelled_as_seen(band, wanted):
    for seed in range(20):
        face = sample({"age": band}, {"Bags_Under_Eyes": wanted}, seed)
        assert celeba_labels(face)["Bags_Under_Eyes"] in ((1,) if wanted == 1 else (-1, 0))
    plain = [aging.eye_bags(sample({"age": band}, {}, seed)) for seed in range(60)]
    assert {"young": 0.0, "middle_aged": 0.25, "senior": 0.4}[band] <= np.mean(plain)


def test_a_hairline_under_a_fringe_is_not_labelled():
    face = sample({"gender": "male"}, {"Bangs": 1, "Wearing_Hat": -1}, 2)
    assert celeba_labels(replace(face, hair=replace(face.hair, receding=0.9)))["Receding_Hairline"] == 0
    for seed in range(20):
        face = sample({"gender": "male", "ethnicity": "white"}, {"Receding_Hairline": 1}, seed)
        assert not styles.HAIR_STYLES[face.hair.style].bangs


def test_crease_textures_cover_the_corner_the_shader_reads():
    u, v, right, top = textures.FACE_CORNER
    assert (shading.CORNER_U, shading.CORNER_V) == (u, v) and (right, top) == (1.0, 1.0 - v)
    assert (shading.FITS_U * (right - u), shading.FITS_V * (top - v)) == (1.0, 1.0)


def test_reliefs_are_finite_and_their_slopes_fit_the_texture():
    x, dy = np.meshgrid(np.linspace(-0.9, 0.9, 181), np.linspace(-1.8, 0.9, 271))
    back = np.zeros_like(x)
    for relief in (regions.folds, regions.fine_lines):
        height, dark = relief(x, dy, back)[:2]
        assert np.isfinite(height).all() and np.abs(height).max() < 0.1 and 0 <= dark.min() <= dark.max() <= 1
        assert np.abs(regions.slopes(relief, x, dy, back)).max() < 2 * textures.SLOPE_MAX
    plane = regions.slopes(lambda x, dy, back: (0.5 * x - 0.25 * dy,), x, dy, back)
    assert np.allclose(plane, [0.5, -0.25])
