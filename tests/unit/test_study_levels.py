"""Levels that are not the default's, from the prompt to the annotation: planned, asked for, rendered, known."""

import pytest
import yaml

from evenface import annotators
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.generators.parametric.asked import years_drawn
from evenface.generators.parametric.sampling import sample_identity
from evenface.plan.overview import overview
from evenface.plan.shards import build_plans, requests_of
from evenface.prompts.instructions import instruction
from evenface.taxonomy import use_study

AGES = ["20-29", "30-39", "40-49", "50-59", "60-69", "70+"]


@pytest.fixture
def config(root):
    """Seven ethnicities, the bands of age that the renderer has faces of, and a dimension of the user's own."""
    found = yaml.safe_load((root / "config.yaml").read_text())
    found["demographics"] = {"ethnicity": "fairface", "age": "fairface", "skin_tone": ["light", "dark"]}
    found["generation"] |= {"also": None, "images_per_prompt": 1}
    factorial = found["generation"]["prompts"]["factorial"]
    factorial |= {"age": AGES, "hair_colour": ["black"], "traits": [], "traits_per_prompt": 0}
    factorial["ethnicity"] = [
        "white", "black", "latino_hispanic", "east_asian", "southeast_asian", "indian", "middle_eastern",
    ]  # fmt: skip
    found["evaluation"]["groupings"] = ["gender", "ethnicity", "age"]
    return found


def test_prompts_say_the_levels_of_the_study(config):
    checked = check_config(config)
    plan = build_plans(checked)["parametric"]
    assert len(plan) == 7 * 6 * 2
    recipes = {recipe["prompt"]: recipe for recipe in plan.recipes.values()}
    text = "portrait photo of a 20 to 29 year old Southeast Asian woman with black hair"
    assert recipes[text]["ethnicity"] == "southeast_asian" and recipes[text]["age"] == "20-29"
    assert recipes[text]["skin_tone"] == "unknown" and recipes[text]["cell"] == "southeast_asian-female-20_29-black"
    assert "over 70 year old Latino man" in " ".join(recipes)
    asked = [request for shard in plan.shards.values() for request in requests_of(shard)]
    assert {request.demographics["age"] for request in asked} == {*AGES}
    said = overview([plan], checked["generation"]["prompts"])
    assert "middle_eastern 12" in said and "20-29 14" in said


def test_own_dimensions_and_words(config):
    factorial = config["generation"]["prompts"]["factorial"]
    factorial |= {
        "ethnicity": ["white"],
        "age": ["20-29"],
        "gender": ["female"],
        "further": {"skin_tone": ["light", "dark"]},
    }
    factorial["words"] = {"skin_tone": {"dark": "deep"}, "age": {"20-29": "young"}}
    factorial["template"] = "photo of a {age} {ethnicity} {gender} with {skin_tone} skin and {hair}"
    config["generation"]["generator"] = "diffusion"
    config["generation"]["settings"]["diffusion"]["model"] = "elsewhere"
    config["annotation"] |= {
        "labels_from": "facexformer",
        "demographics_from": "requested",
        "annotators": ["facexformer"],
    }
    config["screening"]["magface"]["weights"] = None
    recipes = build_plans(check_config(config))["diffusion"].recipes.values()
    assert [(r["prompt"], r["skin_tone"], r["cell"]) for r in recipes] == [
        ("photo of a young white woman with light skin and black hair", "light", "white-female-20_29-black-light"),
        ("photo of a young white woman with deep skin and black hair", "dark", "white-female-20_29-black-dark"),
    ]
    assert instruction("make {skin_tone}", "", {"skin_tone": "dark"}, {}) == "make dark"


def test_columns_of_a_file_state_levels_and_words_only_what_the_study_has(config, tmp_path):
    table = tmp_path / "p.csv"
    rows = ["a Black woman aged 24,,", "an Asian man,east_asian,dark", "a tall person,,light"]
    table.write_text("prompt,ethnicity,skin_tone\n" + "".join(f"{row}\n" for row in rows))
    config["generation"]["prompts"] = {"file": str(table), "factorial": None}
    config["generation"]["generator"] = "stylegan3"
    use_study(config["demographics"])
    from evenface.prompts.catalogue import build_catalogue

    first, second, third = build_catalogue({"file": str(table)}, seed=0)
    assert first.demographics["ethnicity"] == "black" and first.demographics["skin_tone"] == "unknown"
    assert second.demographics["ethnicity"] == "east_asian" and second.demographics["skin_tone"] == "dark"
    assert third.demographics["ethnicity"] == "unknown" and third.demographics["skin_tone"] == "light"
    table.write_text("prompt,ethnicity\na tall man,asian\n")
    with pytest.raises(UserError, match="row 2, ethnicity: 'asian' is not known"):
        build_catalogue({"file": str(table)}, seed=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ethnicity": ["asian"]}, "factorial.ethnicity: 'asian' is not known"),
        ({"age": ["young"]}, "or declare it in demographics.age"),
        ({"further": {"height": ["tall"]}}, "factorial.further: 'height' is not known"),
        ({"further": {"gender": ["male"]}}, "has gender, which has a key of its own"),
        ({"words": {"age": {"young": "x"}}}, "factorial.words.age: 'young' is not known"),
    ],
)
def test_levels_that_the_study_has_not_are_refused(config, change, sentence):
    config["generation"]["prompts"]["factorial"] |= change
    with pytest.raises(UserError) as caught:
        check_config(config)
    assert sentence in str(caught.value), caught.value


def test_prompts_that_nobody_draws_may_have_other_levels(config):
    config["generation"]["prompts"]["factorial"] |= {"ethnicity": ["asian"], "age": ["young"]}
    config["generation"] |= {"generator": []}
    config["runs"] = {"real": {"real": "celeba"}}
    check_config(config)
    config["generation"] |= {"generator": "folder"}
    config["annotation"] |= {"annotators": ["facexformer"], "labels_from": "requested"}
    config["screening"]["magface"]["weights"] = None
    check_config(config)


def test_dimensions_of_methods_and_validation_are_checked(config):
    config["runs"]["real"]["method"] = {"name": "reweight", "by": "group", "groups": ["gender", "height"]}
    with pytest.raises(UserError, match=r"runs\.real\.method\.reweight\.groups: 'height' is not known"):
        check_config(config)
    config["runs"]["real"]["method"]["groups"] = ["gender", "skin_tone"]
    config["annotation"]["validate"] = {"by": "trained_here", "dimensions": ["height"]}
    with pytest.raises(UserError, match=r"annotation\.validate\.dimensions: 'height' is not known"):
        check_config(config)


@pytest.mark.parametrize(
    ("dimension", "levels", "level", "sentence"),
    [
        ("age", "fairface", "0-2", "has no faces of age '0-2'; it draws 17 to 79 years"),
        ("ethnicity", ["white", "martian"], "martian", "cannot draw the ethnicity 'martian'"),
        ("gender", ["female", "male", "nonbinary"], "nonbinary", "cannot draw the gender 'nonbinary'"),
    ],
)
def test_what_the_renderer_cannot_draw_is_said_while_the_plan_is_made(config, dimension, levels, level, sentence):
    config["demographics"][dimension] = levels
    factorial = config["generation"]["prompts"]["factorial"]
    factorial |= {"ethnicity": ["white"], "age": ["20-29"], "gender": ["female"], dimension: [level]}
    with pytest.raises(UserError, match=sentence):
        build_plans(check_config(config))


@pytest.mark.parametrize("band", AGES)
def test_rendered_people_are_of_the_band_that_was_asked_for(band):
    use_study({"age": AGES, "ethnicity": "fairface"})
    low, high = years_drawn(band)
    for seed in range(20):
        identity = sample_identity({"age": band, "ethnicity": "indian"}, {}, seed)
        assert low <= identity.age <= high


def test_the_truth_is_a_level_of_the_study(config, tmp_path):
    import json

    import pandas as pd

    use_study({"age": AGES, "ethnicity": "fairface", "skin_tone": ["light", "dark"]})
    truths = [
        {"attributes": {}, "gender": "male", "age": "young", "years": 24.2, "ethnicity": "indian"},
        {"attributes": {}, "gender": "female", "age": "senior", "years": 71, "ethnicity": "asian", "skin_tone": "dark"},
    ]
    rows = pd.DataFrame({"image_id": ["a", "b"], "truth": [json.dumps(one) for one in truths]})
    found = annotators.create("ground_truth").annotate([], rows)
    assert found["age"].tolist() == ["20-29", "70+"] and found["ethnicity"].tolist() == ["indian", "unknown"]
    assert found["skin_tone"].tolist() == ["unknown", "dark"] and found["gender"].tolist() == ["male", "female"]
