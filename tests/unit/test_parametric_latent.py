"""The latent space of parametric faces: complete, reproducible, and known."""

import numpy as np
import pytest

from evenface.errors import UserError
from evenface.generators.latent import LatentGenerator, create_latent, space_of
from evenface.generators.parametric import truth
from evenface.generators.parametric.latent import COORDINATES, MIXED, SPACE, ParametricLatent, coordinates, rotation
from evenface.generators.parametric.sampling import sample
from evenface.taxonomy import DIMENSIONS


@pytest.fixture(scope="module")
def generator(face_assets):
    settings = {"size": [46, 56], "supersample": 1, "files": {"assets": str(face_assets)}, "threads": 1}
    return create_latent("parametric", settings)


@pytest.fixture(scope="module")
def latents(generator):
    return generator.sample(1500, 11, SPACE)


def test_it_is_a_latent_generator_with_one_space(generator):
    assert isinstance(generator, LatentGenerator) and space_of(generator, None) == SPACE
    with pytest.raises(UserError, match="'w' is not known"):
        space_of(generator, "w")
    with pytest.raises(UserError, match="'sizes' is not known"):
        ParametricLatent({"sizes": [1, 1]})
    with pytest.raises(UserError, match="does not draw from a latent space"):
        create_latent("diffusion", {})
    with pytest.raises(UserError, match="needs its assets"):
        next(ParametricLatent({}).draw(np.zeros((1, len(COORDINATES))), SPACE))


def test_a_row_depends_on_seed_and_index_alone(generator, latents):
    assert latents.shape == (1500, generator.dimension(SPACE)) and latents.dtype == np.float32
    assert np.array_equal(generator.sample(3, 11, SPACE), latents[:3])
    assert not np.array_equal(generator.sample(3, 12, SPACE), latents[:3])
    assert abs(latents.mean()) < 0.01 and abs(latents.std() - 1) < 0.01


def test_factors_are_spread_over_the_latent():
    matrix = rotation()
    assert np.abs(matrix @ matrix.T - np.eye(len(matrix))).max() < 1e-12
    assert np.abs(matrix).max() < 0.6, "a coordinate of the latent is nearly a factor"


def test_coordinates_are_standard_normal_and_mixed_as_told(latents):
    table = np.array([list(coordinates(z).values()) for z in latents])
    assert np.abs(table.mean(0)).max() < 0.12 and np.abs(table.std(0) - 1).max() < 0.1
    names = list(coordinates(latents[0]))
    share = np.corrcoef(table[:, names.index("gray")], table[:, names.index("age")])[0, 1]
    assert share == pytest.approx(MIXED["gray"][1], abs=0.05)


def test_one_coordinate_moves_its_own_factor_alone(generator):
    start = generator.sample(1, 3, SPACE)[0].astype(float)
    for name, moved in (("smile", "expression"), ("yaw", "pose"), ("trait lips", "person"), ("tint", "light")):
        axis = rotation()[COORDINATES.index(name)]
        pair = np.stack([start - (start @ axis + 1.5) * axis, start - (start @ axis - 1.5) * axis])
        one, two = (face.to_dict() for face in generator.describe(pair, SPACE))
        assert {part for part in one if one[part] != two[part]} == {moved}, name


def test_the_population_is_as_documented(generator, latents):
    truths = list(generator.truths(latents, SPACE))
    for dimension, levels in DIMENSIONS.items():
        shares = [np.mean([t[dimension] == level for t in truths]) for level in levels]
        assert max(shares) - min(shares) < 0.08, dimension
    blond = {e: np.mean([t["attributes"]["Blond_Hair"] == 1 for t in truths if t["ethnicity"] == e]) for e in
             DIMENSIONS["ethnicity"]}  # fmt: skip
    assert blond["white"] > 2 * blond["black"], "fair hair does not go with the white level"
    gray = {a: np.mean([t["attributes"]["Gray_Hair"] == 1 for t in truths if t["age"] == a]) for a in DIMENSIONS["age"]}
    assert gray["senior"] > 3 * gray["young"]


def test_known_directions_lead_where_they_say(generator, latents):
    for (factor, level), direction in generator.known_directions(SPACE).items():
        assert np.linalg.norm(direction) == pytest.approx(1)
        ends = [latents[:40] + sign * 3.5 * direction for sign in (-1, 1)]
        shares = []
        for end in ends:
            truths = list(generator.truths(end, SPACE))
            if factor == "hair":
                shares.append(np.mean([t["hair_probabilities"][level] > 0.5 for t in truths]))
            else:
                shares.append(np.mean([t[factor] == level for t in truths]))
        assert shares[0] < 0.1 and shares[1] > 0.6, (factor, level, shares)


def test_pictures_are_those_of_the_description_whatever_the_batch(generator, latents):
    pictures = list(generator.draw(latents[:3], SPACE))
    assert pictures[0].shape == (56, 46, 3) and pictures[0].dtype == np.uint8
    assert np.array_equal(next(generator.draw(latents[2:3], SPACE)), pictures[2])
    assert not np.array_equal(pictures[0], pictures[1])


def test_heads_turn_into_each_other(generator, latents):
    """A small step of the shape moves the picture a little, a large one more: no jump between heads."""
    axis = rotation()[COORDINATES.index("shape 0")]
    base = latents[5].astype(float)
    pictures = [p.astype(int) for p in generator.draw(np.stack([base, base + 0.02 * axis, base + 2 * axis]), SPACE)]
    near, far = np.abs(pictures[1] - pictures[0]).mean(), np.abs(pictures[2] - pictures[0]).mean()
    assert 3 * near < far and far > 0.5


def test_a_description_with_shape_coordinates_survives_json_and_one_without_has_its_old_digest(generator, latents):
    face = next(generator.describe(latents[:1], SPACE))
    assert len(face.person.shape) > 8
    assert truth.truth_of(face)["face"]["person"]["shape"] == face.person.shape
    assert "shape" not in sample({}, {}, 1).to_dict()["person"]


def test_latents_that_are_no_latents_are_refused(generator):
    for bad in (np.zeros((2, 3)), np.full((1, len(COORDINATES)), np.nan), np.zeros(len(COORDINATES))):
        with pytest.raises(ValueError, match="latents must be finite, of shape"):
            next(generator.draw(bad, SPACE))
