"""Directions of latent spaces: splits, fits, walks, mirror images, balanced sets, the guided generator."""

import json

import numpy as np
import pandas as pd
import pytest

from evenface.directions import balance, effects, fitting, labels, samples
from evenface.errors import UserError
from evenface.generators.directions_file import Directions, read_directions, write_directions
from evenface.generators.guided.generator import GuidedGenerator, nearest, wanted_levels
from evenface.generators.latent import class_of
from evenface.generators.parametric.latent import SPACE, ParametricLatent
from evenface.generators.settings import WalkSettings
from evenface.generators.walks import Scorer, Walk, held_span, mirrored, orthogonal, walk
from evenface.parts import Generator, parts
from evenface.plan.requests import Request
from evenface.storage import metadata
from evenface.storage.shards import read_shard
from evenface.taxonomy import UNKNOWN

WALK_DEFAULTS = WalkSettings.filled({}, "walk")
FACTORS = ["gender", "age", "ethnicity", "hair"]
WIDTH = 12


def scorers_of(seed=0):
    """Three factors with known planes: gender and hair lean on each other, age has three levels."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((3, WIDTH))
    weights[1] += 0.8 * weights[0]

    def two(row):
        return np.stack([-row, row])

    return {
        "gender": Scorer("gender", ("female", "male"), two(weights[0]), np.array([0.3, -0.3])),
        "Smiling": Scorer("Smiling", ("absent", "present"), two(weights[1]), np.array([-0.1, 0.1])),
        "age": Scorer("age", ("young", "middle_aged", "senior"), random.standard_normal((3, WIDTH)), np.zeros(3)),
    }


def directions_of(scorers):
    return Directions("parametric", 5, SPACE, np.zeros(WIDTH), np.ones(WIDTH), scorers)


class LinearLatent:
    """A generator whose faces are just their latents; the truth about them is a linear function."""

    name, spaces = "parametric", (SPACE,)

    def __init__(self, scorers):
        self.scorers = scorers

    def dimension(self, space):
        return WIDTH

    def sample(self, count, seed, space):
        return np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)

    def draw(self, latents, space):
        for latent in latents:
            yield np.full((8, 8, 3), int(abs(latent[0]) * 20) % 256, np.uint8)

    def truths(self, latents, space):
        for latent in latents:
            level = {f: s.levels[int(s.logits(latent).argmax())] for f, s in self.scorers.items()}
            smiling = 1 if level["Smiling"] == "present" else -1
            yield {"attributes": {"Smiling": smiling}, "gender": level["gender"], "age": level["age"]}


@pytest.fixture
def linear():
    return LinearLatent(scorers_of())


def truth_reader(factors):
    return labels.Reader({"name": "ground_truth", "settings": {}}, factors, {}, {}, {})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """True labels and latents of 1200 parametric faces, without rendering them."""
    folder = tmp_path_factory.mktemp("samples")
    recipe = {"generator": "parametric", "settings": {}, "space": None, "seed": 5, "samples": 1200, "parts": 2,
              "pictures": False}  # fmt: skip
    parts = [folder / "0.tar", folder / "1.tar"]
    for part, path in enumerate(parts):
        samples.sample_part({**recipe, "part": part}, path, {})
    table = labels.label_samples(parts, truth_reader(FACTORS), folder / "labels.parquet")
    return parts, table, samples.read_samples(parts)[1]


@pytest.fixture(scope="module")
def fitted(drawn):
    _, table, latents = drawn
    return fitting.Fit(table, latents, FACTORS, confidence=0.8, test_share=0.3, seed=1)


# ---- geometry


def test_conditional_directions_are_of_unit_length_and_orthogonal_to_every_condition():
    random = np.random.default_rng(1)
    vector, held = random.standard_normal(WIDTH), random.standard_normal((4, WIDTH))
    found = orthogonal(vector, held)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-12) and np.abs(held @ found).max() < 1e-12
    one = orthogonal(vector, held[:1])  # Shen et al. 2020: n - (n.c) c, normalised
    c = held[0] / np.linalg.norm(held[0])
    expected = vector - (vector @ c) * c
    assert np.allclose(one, expected / np.linalg.norm(expected), atol=1e-12)
    assert orthogonal(held.sum(0), held) is None
    assert orthogonal(vector, np.zeros((0, WIDTH))) == pytest.approx(vector / np.linalg.norm(vector))


def test_a_mirror_image_flips_one_factor_and_holds_the_others_exactly():
    scorers = scorers_of()
    x = np.random.default_rng(2).standard_normal((50, WIDTH))
    other = mirrored(x, scorers, "gender", "male", "female")
    before, after = scorers["gender"].logits(x), scorers["gender"].logits(other)
    assert np.allclose(after[:, 1] - after[:, 0], before[:, 0] - before[:, 1], atol=1e-9)
    for name in ("Smiling", "age"):
        assert np.allclose(scorers[name].probabilities(other), scorers[name].probabilities(x), atol=1e-9), name
    assert np.allclose(mirrored(other, scorers, "gender", "male", "female"), x, atol=1e-9)
    # Ramaswamy et al. 2021, with one held factor: z' = z - 2 dist / sin(theta) g_perp.
    pair = {name: scorers[name] for name in ("gender", "Smiling")}
    normal, offset = scorers["gender"].contrast("male", "female")
    length = np.linalg.norm(normal)
    g, b = normal / length, offset / length
    a = scorers["Smiling"].weights[1] / np.linalg.norm(scorers["Smiling"].weights[1])
    g_perp = (g - (g @ a) * a) / np.linalg.norm(g - (g @ a) * a)
    expected = x - 2 * ((x @ g + b) / np.sqrt(1 - (g @ a) ** 2))[:, None] * g_perp
    assert np.allclose(mirrored(x, pair, "gender", "male", "female"), expected, atol=1e-9)


def test_a_factor_within_the_span_of_others_cannot_be_mirrored():
    scorers = scorers_of()
    scorers["twin"] = Scorer("twin", ("absent", "present"), scorers["gender"].weights * 2, np.zeros(2))
    with pytest.raises(UserError, match="no direction changes it alone"):
        mirrored(np.zeros((1, WIDTH)), scorers, "gender", "male", "female")


# ---- walks


def test_a_walk_ends_at_its_target_and_leaves_other_factors_where_they_were():
    scorers = scorers_of()
    start = np.random.default_rng(3).standard_normal(WIDTH)
    level = "female" if scorers["gender"].logits(start).argmax() else "male"
    done = walk(start, {"gender": level}, scorers, WALK_DEFAULTS)
    assert done.met and done.steps > 0 and done.probabilities["gender"] >= 0.9
    assert done.length == pytest.approx(np.linalg.norm(done.x - start))
    for name in ("Smiling", "age"):
        assert np.allclose(scorers[name].probabilities(done.x), scorers[name].probabilities(start), atol=1e-9)
    again = walk(done.x, {"gender": level}, scorers, WALK_DEFAULTS)
    assert again.met and again.steps == 0 and np.array_equal(again.x, done.x)


@pytest.mark.parametrize(
    ("settings", "stop"),
    [({"max_steps": 1}, "max_steps"), ({"max_distance": 0.01}, "distance"), ({"target": 0.999999, "step": 0.01,
     "max_steps": 50}, "max_steps")],
)  # fmt: skip
def test_a_walk_that_cannot_reach_its_target_says_why(settings, stop):
    scorers = scorers_of()
    start = np.zeros(WIDTH)
    done = walk(start, {"gender": "male"}, scorers, {**WALK_DEFAULTS, **settings})
    assert not done.met and done.stop == stop and done.probabilities["gender"] < 0.99
    assert np.isfinite(done.x).all()


def test_a_level_between_two_others_is_reached_from_both_sides_or_given_up():
    axis = np.zeros(WIDTH)
    axis[0] = 1.0
    weights = np.outer([-6.0, 0.0, 6.0], axis)
    scorer = {"age": Scorer("age", ("young", "middle_aged", "senior"), weights, np.array([0.0, 6.0, 0.0]))}
    for side in (-2.5, 2.5):
        done = walk(side * axis, {"age": "middle_aged"}, scorer, WALK_DEFAULTS)
        assert done.met and abs(done.x[0]) < 1
    narrow = {"age": Scorer("age", ("young", "middle_aged", "senior"), weights, np.zeros(3))}
    assert walk(2.5 * axis, {"age": "middle_aged"}, narrow, WALK_DEFAULTS).stop == "no_progress"


def test_entangled_factors_end_a_walk():
    scorers = scorers_of()
    scorers["twin"] = Scorer("twin", ("absent", "present"), scorers["gender"].weights * 2, np.zeros(2))
    assert walk(np.zeros(WIDTH), {"gender": "male"}, scorers, WALK_DEFAULTS).stop == "entangled"


def test_the_plan_knows_the_spaces_of_every_latent_generator():
    described = {p.name: p.spaces for p in parts(Generator).values() if p.latent_code}
    assert described and {name: class_of(name).spaces for name in described} == described


def test_an_unfitted_level_is_refused():
    with pytest.raises(UserError, match="fitted directions of gender: 'unknown' is not known"):
        walk(np.zeros(WIDTH), {"gender": UNKNOWN}, scorers_of(), WALK_DEFAULTS)


# ---- labels


def test_levels_are_read_off_an_annotation():
    annotation = pd.DataFrame(
        {
            "gender": ["female", UNKNOWN], "gender_score": [0.7, np.nan],
            **{f"score_{c}_Hair": [s, t] for c, s, t in (("Black", 0.9, 0.6), ("Blond", 0.2, 0.8), ("Brown", 0.1, 0.1),
                                                          ("Gray", 0.0, 0.0))},
            **{f"label_{c}_Hair": [s, t] for c, s, t in (("Black", 1, 1), ("Blond", -1, 1), ("Brown", -1, -1),
                                                          ("Gray", -1, -1))},
            "score_Smiling": [0.1, np.nan], "label_Smiling": [-1, 0],
        }
    )  # fmt: skip
    read = labels.read_levels(annotation, ["gender", "hair", "Smiling"], "somebody")
    assert list(read["gender"]) == ["female", UNKNOWN]
    assert list(read["hair"]) == ["black", UNKNOWN], "two colours are no colour"
    assert list(read["Smiling"]) == ["absent", UNKNOWN] and read["Smiling_score"][0] == pytest.approx(0.9)
    with pytest.raises(UserError, match="somebody does not read Bald, which the factor 'Bald' needs"):
        labels.read_levels(annotation, ["Bald"], "somebody")


def test_ground_truth_needs_a_generator_that_knows(linear):
    class Ignorant(LinearLatent):
        truths = None

    with pytest.raises(UserError, match="needs a generator that knows what it draws"):
        truth_reader(["gender"]).read_latents(Ignorant(scorers_of()), SPACE, np.zeros((2, WIDTH), np.float32))


# ---- fits


def test_a_face_is_drawn_and_split_by_its_index_never_by_its_part(drawn, tmp_path):
    _, table, latents = drawn
    recipe = {"generator": "parametric", "settings": {}, "space": None, "seed": 5, "samples": 1200, "parts": 1,
              "part": 0, "pictures": False}  # fmt: skip
    samples.sample_part(recipe, tmp_path / "all.tar", {})
    one, whole = samples.read_samples([tmp_path / "all.tar"])
    assert np.array_equal(whole, latents) and list(one["image_id"]) == list(table["image_id"])
    out = fitting.held_out(one["identity_id"], 0.3, 1)
    assert 0.26 < out.mean() < 0.34
    assert np.array_equal(fitting.held_out(one["identity_id"][::-1], 0.3, 1), out[::-1])
    twins = fitting.held_out(["a", "a", "b", "a"], 0.5, 3)
    assert twins[0] == twins[1] == twins[3], "an identity lies on both sides"


def test_nothing_of_the_held_out_part_reaches_the_fit(drawn, fitted):
    _, table, latents = drawn
    changed, noise = table.copy(), latents.copy()
    noise[fitted.test] = 100 * noise[fitted.test] + 7
    for factor in FACTORS:
        values = changed[factor].to_numpy(object).copy()
        values[fitted.test] = np.roll(values[fitted.test], 1)
        changed[factor] = values
        changed[f"{factor}_score"] = np.where(values == UNKNOWN, np.nan, 1.0)
    other = fitting.Fit(changed, noise, FACTORS, confidence=0.8, test_share=0.3, seed=1)
    assert np.array_equal(other.mean, fitted.mean) and np.array_equal(other.scale, fitted.scale)
    for factor in FACTORS:
        assert np.array_equal(other.scorers[factor].weights, fitted.scorers[factor].weights), factor


def test_known_directions_are_recovered(fitted):
    known = ParametricLatent({}).known_directions(SPACE)
    table = fitted.accuracy_table(known).set_index(["factor", "level"])
    for factor, least in (("gender", 0.92), ("age", 0.85), ("ethnicity", 0.92), ("hair", 0.7)):
        row = table.loc[(factor, "")]
        assert row["accuracy"] > least and row["low"] < row["accuracy"] < row["high"], (factor, row)
        assert row["accuracy"] > row["majority"] + 0.3
    for key in known:
        assert table.loc[key, "cosine_known"] > 0.85, key
        assert table.loc[key, "cosine_known_conditional"] > 0.8, key
    assert table.loc[("age", "senior"), "kept"] < 0.95, "gray hair and age share a direction, which was not seen"
    middle = table.loc[("age", "middle_aged")]
    assert middle["accuracy"] < middle["majority"] + 0.05, "there is no direction to a level between two others"


def test_shuffled_labels_are_found_to_be_nothing(drawn):
    _, table, latents = drawn
    shuffled = table.copy()
    shuffled["gender"] = np.random.default_rng(0).permutation(shuffled["gender"])
    lost = fitting.Fit(shuffled, latents, ["gender"], confidence=0.8, test_share=0.3, seed=1)
    row = lost.accuracy_table().iloc[0]
    assert row["low"] < 0.5 < row["high"]


def test_conditional_directions_hold_every_other_factor(fitted):
    for (factor, level), along in fitted.conditional.items():
        assert np.linalg.norm(along) == pytest.approx(1)
        assert np.abs(held_span(fitted.scorers, factor) @ along).max() < 1e-9, (factor, level)


def test_every_group_has_its_accuracy(fitted):
    table = fitted.group_table()
    assert set(table["within"]) == {"gender", "age", "ethnicity"}
    own = table[(table["factor"] == "gender") & (table["level"] == "male")]
    assert len(own) == 6 and own["accuracy"].min() > 0.85 and own["cosine_own"].min() > 0.8
    cosines = fitted.cosine_table().set_index(["factor", "level", "other_factor", "other_level"])
    assert cosines.loc[("age", "senior", "hair", "gray"), "cosine"] > 0.4


def test_confident_labels_alone_are_fitted_and_the_others_reported(drawn):
    _, table, latents = drawn
    doubted = table.copy()
    doubted["gender_score"] = np.where(np.arange(len(table)) % 2, 0.6, 0.95)
    fit = fitting.Fit(doubted, latents, ["gender"], confidence=0.9, test_share=0.3, seed=1)
    row = fit.accuracy_table().iloc[0]
    assert row["training"] + row["held_out"] + row["unsure"] < 1200 and row["unsure"] > 100
    assert row["training"] == (fit.train & (doubted["gender_score"] > 0.9)).sum()


def test_too_few_confident_faces_are_refused_by_name(drawn):
    _, table, latents = drawn
    rare = table.copy()
    rare.loc[rare["ethnicity"] == "black", "ethnicity_score"] = 0.5
    with pytest.raises(
        UserError, match=r"only 0 of the training faces are ethnicity 'black' with a confidence of 0\.8"
    ):
        fitting.Fit(rare, latents, FACTORS, confidence=0.8, test_share=0.3, seed=1)


# ---- the file


def test_a_directions_file_gives_back_what_was_written(fitted, tmp_path):
    directions = fitted.directions("parametric", 5, SPACE, {"seed": 1, "test_share": 0.3})
    for name in ("a.npz", "b.npz"):
        write_directions(directions, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = read_directions(tmp_path / "a.npz")
    assert back.facts == directions.facts and list(back.normals) == list(directions.normals)
    x = np.random.default_rng(0).standard_normal((5, len(back.mean)))
    for factor, scorer in directions.scorers.items():
        assert np.array_equal(back.scorers[factor].probabilities(x), scorer.probabilities(x))
        assert np.allclose(scorer.probabilities(x).sum(-1), 1)


def test_a_damaged_directions_file_is_refused(fitted, tmp_path):
    path = tmp_path / "directions.npz"
    with pytest.raises(UserError, match="no such file of directions; run the rule fit_directions"):
        read_directions(path)
    write_directions(fitted.directions("parametric", 5, SPACE, {}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a readable file of directions"):
        read_directions(path)
    path.write_bytes(whole)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["weights/gender"] = np.full_like(arrays["weights/gender"], np.nan)
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="array weights/gender is not finite numbers"):
        read_directions(path)
    header = json.loads(arrays["header"].tobytes()) | {"file_version": 99}
    np.savez(path, **(arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}))
    with pytest.raises(UserError, match="directions of another version"):
        read_directions(path)


# ---- effects, mirror pairs, balanced sets


def test_a_held_factor_does_not_change_and_an_entangled_one_does(fitted, drawn):
    key = ("age", "senior")
    directions = Directions(
        "parametric", 5, SPACE, fitted.mean, fitted.scale, fitted.scorers, {key: fitted.normals[key]},
        {key: fitted.conditional[key]},
    )  # fmt: skip
    latents = drawn[2][fitted.test][:60]
    table = effects.effect_table(directions, ParametricLatent({}), latents, truth_reader(FACTORS), 2.5)
    table = table.set_index(["factor", "level", "kind", "measured", "value"]).sort_index()
    senior = table.loc[("age", "senior")]
    assert senior.loc[("single", "age", "senior"), "change"] > 0.9
    assert senior.loc[("single", "hair", "gray"), "change"] > 0.5
    assert abs(senior.loc[("conditional", "hair", "gray"), "change"]) < 0.12
    assert senior.loc[("conditional", "age", "senior"), "change"] > 0.8
    row = senior.loc[("single", "hair", "gray")]
    assert row["low"] < row["change"] < row["high"] and row["after"] - row["before"] == pytest.approx(row["change"])


def test_mirror_pairs_flip_the_factor_and_keep_the_others(linear, tmp_path):
    latents = linear.sample(12, 1, SPACE)
    table = effects.mirror_table(
        directions_of(linear.scorers),
        linear,
        latents,
        truth_reader(["gender", "Smiling"]),
        "gender",
        tmp_path / "m.tar",
    )
    assert table["flipped"].all() and table["kept_Smiling"].all() and len(table) == 12
    with read_shard(tmp_path / "m.tar") as shard:
        assert len(shard.table) == 24 and np.array_equal(shard.table["latent"][0], latents[0])
    summary = effects.mirror_summary(table).set_index("what")
    assert summary.loc["flipped", "share"] == 1 and summary.loc["kept_Smiling", "pairs"] == 12


def balanced(linear, tmp_path, **settings):
    chosen = {"groups": ["gender", "Smiling"], "per_group": 4, "max_candidates": 30, "unguided": 60, **WALK_DEFAULTS}
    return balance.balanced_set(
        directions_of(linear.scorers), linear, truth_reader(["gender", "Smiling"]), chosen | settings, 3,
        tmp_path / "balanced.tar",
    )  # fmt: skip


def test_guidance_is_accepted_more_often_than_chance_and_fills_every_group(linear, tmp_path):
    candidates, summary = balanced(linear, tmp_path)
    guided = summary[summary["method"] == "guided"].set_index("group")
    unguided = summary[summary["method"] == "unguided"].set_index("group")
    assert set(guided.index) == {"female|absent", "female|present", "male|absent", "male|present"}
    assert (guided["accepted"] == 4).all() and (guided["share"] > unguided["share"]).all()
    assert unguided["accepted"].sum() == 60, "the groups part the random faces between them"
    with read_shard(tmp_path / "balanced.tar") as shard:
        assert len(shard.table) == 16 and (shard.table.groupby(["gender", "Smiling"]).size() == 4).all()
        for row in shard.table.itertuples():
            truth = json.loads(row.truth)
            assert truth["gender"] == row.gender
            said = metadata.read(shard.image_bytes(row.member))
            assert said.source_type == metadata.ALGORITHMIC == row.digital_source_type
            assert said.image_id == row.image_id
            assert json.loads(said.provenance)["group"] == f"{row.gender}|{row.Smiling}"
    curve = balance.curve(candidates)
    assert (curve.groupby(["group", "method"])["tried"].max() == candidates.groupby(["group", "method"]).size()).all()
    assert (curve["accepted"] <= curve["tried"]).all()
    assert curve.groupby(["group", "method"])["accepted"].is_monotonic_increasing.all()


def test_the_second_scorer_decides_and_every_refusal_has_its_reason(linear, tmp_path):
    """The guide believes in the plane it was given; the truth lies elsewhere."""
    wrong = LinearLatent(scorers_of())
    wrong.scorers = {**linear.scorers, "Smiling": Scorer("Smiling", ("absent", "present"),
                                                         -linear.scorers["Smiling"].weights, np.zeros(2))}  # fmt: skip
    chosen = {"groups": ["Smiling"], "per_group": 4, "max_candidates": 10, "unguided": 0, **WALK_DEFAULTS}
    candidates, summary = balance.balanced_set(
        directions_of(linear.scorers), wrong, truth_reader(["gender", "Smiling"]), chosen, 3, tmp_path / "b.tar"
    )
    assert (summary["accepted"] == 0).all() and (summary["met"] == 10).all()
    assert (candidates["reason"] == balance.NOT_SEEN).all() and len(candidates) == 20
    with read_shard(tmp_path / "b.tar") as shard:
        assert not len(shard.table)
    candidates, summary = balanced(linear, tmp_path, max_steps=1, target=0.9999, unguided=0)
    assert (candidates["reason"] != "").sum() == len(candidates) - summary["accepted"].sum() > 0


def test_sets_that_collapse_show_it():
    random = np.random.default_rng(0)
    assert balance.spread(random.standard_normal((60, 80))) == pytest.approx(1, abs=0.03)
    assert balance.spread(np.ones((5, 80)) + 1e-3 * random.standard_normal((5, 80))) < 0.01
    assert np.isnan(balance.spread(np.zeros((1, 80))))


# ---- the guided generator


@pytest.fixture(scope="module")
def guided_files(fitted, face_assets, tmp_path_factory):
    path = tmp_path_factory.mktemp("guided") / "directions.npz"
    write_directions(fitted.directions("parametric", 5, SPACE, {}), path)
    return {"directions": str(path), "assets": str(face_assets)}


def guided(files, **settings):
    return GuidedGenerator({"base": {"size": [46, 56], "supersample": 1}, "files": files, "threads": 1} | settings)


def request(number, demographics, attributes=None):
    levels = {"gender": UNKNOWN, "age": UNKNOWN, "ethnicity": UNKNOWN} | demographics
    return Request(f"r{number}", "a face", "", levels, attributes or {}, seed=1000 + number)


def test_requests_are_walked_to_and_recorded(guided_files):
    asked = [
        request(0, {"gender": "male", "ethnicity": "black", "age": "senior"}, {"Blond_Hair": 1}),
        request(1, {"gender": "female", "ethnicity": "asian", "age": "young"}, {"Gray_Hair": 1, "Smiling": 1}),
        request(2, {"ethnicity": "white"}, {"Black_Hair": -1}),
    ]
    generator = guided(guided_files)
    faces = list(generator.generate(asked))
    assert [face.request.request_id for face in faces] == ["r0", "r1", "r2"]
    for face in faces:
        p = face.provenance
        assert p["met"] and min(p["scores"].values()) >= 0.9 and [t["stop"] for t in p["tries"]].count("met") == 1
        json.dumps(p)
        assert face.image.shape == (56, 46, 3)
    assert faces[0].provenance["wanted"] == {"gender": "male", "age": "senior", "ethnicity": "black", "hair": "blond"}
    assert faces[1].provenance["not_guided"] == ["Smiling"] and faces[2].provenance["wanted"] == {"ethnicity": "white"}
    right = [face.truth[f] == level for face in faces for f, level in face.provenance["wanted"].items() if f != "hair"]
    assert sum(right) >= len(right) - 1, "the truth is not what was walked to"
    alone = next(generator.generate(asked[2:]))
    assert np.array_equal(alone.image, faces[2].image) and alone.provenance == faces[2].provenance


def test_a_request_that_cannot_be_met_is_given_and_marked(guided_files):
    generator = guided(guided_files, max_steps=1, tries=2, target=0.9999)
    face = next(generator.generate([request(0, {"gender": "male", "ethnicity": "black", "age": "senior"})]))
    assert face.provenance["met"] is False and len(face.provenance["tries"]) == 2
    assert face.image.std() > 5 and {t["stop"] for t in face.provenance["tries"]} == {"max_steps"}


def test_a_walk_that_met_every_target_is_preferred_to_one_that_is_likelier_altogether():
    start = np.zeros(2)
    met = Walk(start, {"gender": 0.9, "age": 0.9, "hair": 0.9}, 3, 1.0, "met")
    near = Walk(start, {"gender": 0.85, "age": 0.999, "hair": 0.999}, 3, 1.0, "max_steps")
    far = Walk(start, {"gender": 0.1, "age": 0.999, "hair": 0.999}, 3, 1.0, "distance")
    assert nearest([(near, start), (met, start), (far, start)])[0] is met and near.objective > met.objective
    assert nearest([(far, start), (near, start)])[0] is near


def test_what_was_not_fitted_and_wrong_files_are_refused(guided_files, fitted, tmp_path):
    with pytest.raises(UserError, match="'trys' is not known"):
        guided(guided_files, trys=3)
    with pytest.raises(UserError, match="needs a directions file"):
        guided({"assets": guided_files["assets"]})
    directions = fitted.directions("stylegan3", 1, "w", {})
    write_directions(directions, tmp_path / "other.npz")
    with pytest.raises(UserError, match="directions of the generator stylegan3"):
        guided({**guided_files, "directions": str(tmp_path / "other.npz")})
    part = fitted.directions("parametric", 5, SPACE, {})
    scorers = {name: part.scorers[name] for name in ("gender", "age")}
    write_directions(Directions("parametric", 5, SPACE, part.mean, part.scale, scorers), tmp_path / "part.npz")
    generator = guided({**guided_files, "directions": str(tmp_path / "part.npz")})
    with pytest.raises(UserError, match=r"asks for hair, but the directions were not fitted for it"):
        next(generator.generate([request(0, {"gender": "male"}, {"Gray_Hair": 1})]))


def test_wanted_levels_of_a_request():
    assert wanted_levels({"gender": "male", "age": UNKNOWN}, {"Gray_Hair": 1, "Blond_Hair": -1, "Smiling": -1}) == {
        "gender": "male", "hair": "gray", "Smiling": "absent",
    }  # fmt: skip
