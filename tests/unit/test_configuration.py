"""Mistakes in config.yaml are answered with a sentence that names the key."""

import re

import pytest

from evenface.configuration import check_config, reference
from evenface.errors import UserError
from evenface.parts import Generator, parts
from evenface.plan.generators import source_of


def test_the_shipped_config_is_accepted_and_completed(shipped_config):
    filled = check_config(shipped_config)
    assert filled["training"]["weight_decay"] == 1e-4
    assert filled["runs"]["synthetic"]["real"] is None
    assert filled["datasets"]["celeba"]["label_coding"] == "minus_one_one"


def test_defaults_never_change_the_input(shipped_config):
    before = repr(shipped_config)
    check_config(shipped_config)
    assert repr(shipped_config) == before


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("generation.genrator", "parametric", "generation: 'genrator' is not known; did you mean 'generator'"),
        ("training.attributes", ["Blak_Hair"], "Blak_Hair.*did you mean 'Black_Hair'"),
        ("training.learning_rate", "1e-4", "training.learning_rate is '1e-4'; it must be of type number"),
        ("generation.images_per_prompt", 0, "at least 1"),
        ("generation.generator", "parametrc", "'parametrc' is not known; did you mean 'parametric'"),
        (
            "generation.generator",
            ["parametric", "gan"],
            "'gan' is not known .choose from parametric, diffusion",
        ),
        ("generation.generator", [], "generation.generator: \\[\\] should be non-empty"),
        ("generation.images_per_prompt", {"parametric": 3, "diffusion": 1, "guided": 1}, "'guided' is not in both"),
        (
            "runs.synthetic.synthetic",
            "guided",
            "runs.synthetic.synthetic: 'guided' is not known",
        ),
        ("generation.also", {"difusion": 3}, "'difusion' is not known; did you mean 'diffusion'"),
        ("generation.also", {"diffusion": 0}, "generation.also.diffusion"),
        ("datasets.parametric", {"reader": "celeba", "root": "x"}, "datasets.parametric has the name of a generator"),
        ("evaluation.baseline", "reel", "evaluation.baseline: 'reel' is not known"),
        ("evaluation.dataset", "maad", "evaluation.dataset: 'maad' is not known"),
        ("runs.none", {}, "runs.none trains on nothing"),
        ("runs.real.real", "celebb", "runs.real.real: 'celebb'"),
        ("datasets.celeba.standin", "celebx", "datasets.celeba.standin: 'celebx'"),
        ("evaluation.attributes", ["Goatee"], "training.attributes does not train"),
        ("generation.prompts.file", "p.txt", "exactly one of"),
        ("training.seeds", [1, 1], "non-unique"),
    ],
)
def test_a_mistake_names_its_key(shipped_config, path, value, message):
    *parents, last = path.split(".")
    place = shipped_config
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(UserError, match=message):
        check_config(shipped_config)


def test_labels_come_from_the_first_source_that_can_tell(shipped_config):
    assert source_of(["ground_truth", "trained_here"], "parametric", {}) == "ground_truth"
    assert source_of(["ground_truth", "trained_here"], "diffusion", {}) == "trained_here"
    assert source_of("requested", "diffusion", {}) == "requested"
    assert source_of(["requested", "facer"], "stylegan3", {}) == "facer"
    assert source_of(["requested", "ground_truth"], "stylegan3", {}) is None
    for generator in parts(Generator):
        shipped_config["generation"]["generator"] = generator
        check_config(shipped_config)


@pytest.mark.parametrize(
    ("generator", "key", "sources", "message"),
    [
        (
            "diffusion",
            "labels_from",
            "ground_truth",
            "labels_from is 'ground_truth', which the generator diffusion cannot",
        ),
        ("stylegan3", "demographics_from", ["requested"], "name an annotator behind it, e.g. .requested, trained_here"),
        ("diffusion", "labels_from", ["ground_truth", "facer"], "labels_from has 'facer'; annotation.annotators has"),
        ("parametric", "demographics_from", "me", "demographics_from"),
    ],
)
def test_sources_that_cannot_tell_are_named(shipped_config, generator, key, sources, message):
    shipped_config["generation"]["generator"] = generator
    shipped_config["annotation"][key] = sources
    with pytest.raises(UserError, match=message):
        check_config(shipped_config)


@pytest.mark.parametrize(("key", "value"), [("perm_within", ["age"]), ("confusion", {"age": [[1.0]]})])
def test_statistics_refer_to_groupings(shipped_config, key, value):
    shipped_config["evaluation"] |= {"groupings": ["gender"], key: value}
    with pytest.raises(UserError, match=f"evaluation.{key} has 'age', which is"):
        check_config(shipped_config)


def test_every_key_of_the_schema_is_described(schema):
    def walk(node, path):
        for key, sub in node.get("properties", {}).items():
            if "$ref" not in sub or "description" not in sub:
                yield from walk(sub, f"{path}.{key}")
            if "description" not in sub and path not in (".standins",) and "$defs" not in path:
                yield f"{path}.{key}"
        if isinstance(node.get("additionalProperties"), dict):
            yield from walk(node["additionalProperties"], path + ".*")

    assert [p for p in walk(schema, "") if ".standins" not in p] == []


def test_the_reference_page_is_up_to_date(schema, root):
    """Renew it with: python -m evenface reference > docs/reference.md"""
    assert (root / "docs/reference.md").read_text() == reference(schema)


def test_the_order_of_keys_means_nothing_but_names_keep_theirs(shipped_config):
    def turned(value):
        return {k: turned(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    names = ("runs", "datasets", "standins")
    other = turned(shipped_config) | {n: {k: turned(v) for k, v in shipped_config[n].items()} for n in names}
    first, second = check_config(shipped_config), check_config(other)
    for key in first:
        assert repr(first[key]) == repr(second[key]), key
    assert list(first["runs"]) == list(shipped_config["runs"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": None}, "screening.magface.reference is None, but the threshold is calibrated; datasets has"),
        ({"weights": "m.pth", "threshold": "calibrated", "reference": "x"}, "screening.magface.reference is 'x'"),
        ({"trained_here": {"dataset": "faces"}}, "screening.magface.trained_here.dataset is 'faces'; datasets has"),
        ({"threshold": "automatic"}, "screening.magface.threshold"),
        ({"backbone": "iresnet101"}, "allowed are iresnet18, iresnet34, iresnet50, iresnet100"),
        ({"trained_here": {"margin": {"kind": "sphere"}}}, "allowed are arc, cos"),
    ],
)
def test_magface_settings_are_checked(shipped_config, change, message):
    shipped_config["screening"]["magface"] |= change
    with pytest.raises(UserError, match=re.escape(message)):
        check_config(shipped_config)


def test_magface_needs_landmarks_and_its_data_only_where_it_acts(shipped_config):
    shipped_config["screening"] |= {"detector": "none", "framing": "square512"}
    with pytest.raises(UserError, match=r"screening\.magface needs landmarks"):
        check_config(shipped_config)
    shipped_config["screening"]["magface"] = {"weights": None, "reference": "absent"}
    check_config(shipped_config)
    shipped_config["screening"] |= {"detector": "hog", "magface": {"weights": "m.pth"}}
    assert check_config(shipped_config)["screening"]["magface"]["threshold"] == "auto"


def test_the_defaults_of_the_magface_training_are_the_schemas(config):
    from evenface.training.recognition import DEFAULTS

    trained_here = config["screening"]["magface"]["trained_here"]
    assert {key: DEFAULTS[key] for key in trained_here if key != "margin"} == {
        key: value for key, value in trained_here.items() if key != "margin"
    }
    assert DEFAULTS["margin"] == {k: v for k, v in trained_here["margin"].items() if k != "kind"}
