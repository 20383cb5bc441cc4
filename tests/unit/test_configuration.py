"""Mistakes in config.yaml are answered with a sentence that names the key."""

import json
import re
import subprocess
import sys

import pytest

from evenface import parts
from evenface.configuration import check_config, config_digest, read_yaml
from evenface.configuration.reference import reference
from evenface.configuration.schema import configuration_schema, written_schema
from evenface.errors import UserError
from evenface.parts import Generator
from evenface.plan.generators import source_of
from evenface.plan.shards import build_plans


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
            "'gan' is not known .choose from diffusion, folder, guided",
        ),
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
        (
            "runs.real.initial_weights",
            "results/models/real/{seed}/model.safetensors",
            r"runs\.real\.initial_weights: real from real starts from itself",
        ),
        (
            "training.initial_weights",
            "results/models/synthetic/1/model.safetensors",
            r"runs\.real\.initial_weights: real from synthetic from synthetic starts from itself",
        ),
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
    shipped_config["annotation"]["accept_domain_shift"] = ["trained_here", "magface"]
    for generator in parts.parts(Generator):
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
        ("stylegan3", "demographics_from", ["requested"], "add an annotator after it, e.g. .requested, trained_here"),
        (
            "diffusion",
            "labels_from",
            ["ground_truth", "facer"],
            "labels_from has 'facer', but annotation.annotators has",
        ),
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
    with pytest.raises(UserError, match=f"evaluation.{key}: 'age' is not known"):
        check_config(shipped_config)


def test_every_key_is_described(schema):
    def walk(node, path):
        for key, sub in node.get("properties", {}).items():
            yield f"{path}.{key}", sub
            yield from walk(sub, f"{path}.{key}")
        for one in [node.get("additionalProperties"), *node.get("oneOf", ())]:
            yield from walk(one, f"{path}.*") if isinstance(one, dict) else ()

    keys = dict(walk(schema, ""))
    assert len(keys) > 330 and [key for key, sub in keys.items() if not sub.get("description")] == []


def test_the_schema_and_the_reference_page_are_in_step_with_the_settings(schema, root):
    """Renew them with: python -m evenface config schema > schemas/config.schema.yaml, and likewise the page."""
    assert (root / "schemas/config.schema.yaml").read_text() == written_schema()
    assert read_yaml(written_schema()) == schema
    assert (root / "docs/reference.md").read_text() == reference(schema)


def test_filling_in_defaults_keeps_values_and_types(shipped_config):
    """Names of shards and parameters of rules depend on them, and there 1 and 1.0 differ."""
    filled = check_config(shipped_config)
    assert json.loads(json.dumps(filled)) == filled
    assert repr(filled["generation"]["settings"]["stylegan3"]["truncation_psi"]) == "1"
    assert repr(filled["generation"]["settings"]["parametric"]) == "{'domain': 'studio', 'size': [178, 218]}"
    assert filled["screening"]["magface"]["trained_here"].keys() == {
        "batch_size", "dataset", "degraded", "epochs", "learning_rate", "margin", "min_verification_auc", "network",
    }  # fmt: skip


def test_the_names_of_the_shipped_shards_are_what_they_were(shipped_config):
    """A default that changes, or a new key without ``left_out``, draws every face again: raise no alarm by accident."""
    plans = build_plans(check_config(shipped_config))
    names = {name: [*plan.recipes, *plan.shards] for name, plan in plans.items()}
    assert names["parametric"][0] == "asian-female-young-black-50879bea0a"
    assert names["diffusion"][0] == "asian-female-middle_aged-brown-06c6947f07"
    assert config_digest(names) == "d174b1ecaa7fbff95cd48160bcb0c01b5868d362e7e7725ed6e0abe35f080361"


EXTENSION = """
from pydantic import Field, field_validator
from evenface.parts import Annotator, Generator, Reader, Settings

class Own(Settings):
    \"\"\"Faces of my own.\"\"\"

    strength: float = Field(0.5, ge=0, le=1, description="How much.")
    colours: list[str] = Field(["red"], description="Which.")

    @field_validator("colours")
    @classmethod
    def known(cls, colours):
        if "mauve" in colours:
            raise ValueError("mauve cannot be drawn; leave it out")
        return colours

class Files(Settings):
    table: str = Field(description="The table.")

PARTS = [
    Generator(name="mine", summary="Draws circles.", code=print, settings=Own),
    Reader(name="utk", summary="Reads file names.", code=print, settings=Files),
    Annotator(name="dice", summary="Guesses.", code=print, labels_attributes=True),
]
"""


@pytest.fixture
def extended(shipped_config, tmp_path):
    (tmp_path / "mine.py").write_text(EXTENSION)
    shipped_config["extensions"] = [str(tmp_path)]
    shipped_config["generation"] |= {"generator": "mine", "also": {}}
    shipped_config["datasets"]["more"] = {"reader": "utk", "root": "data/utk", "table": "t.csv"}
    shipped_config["annotation"] |= {"annotators": ["dice", "trained_here"], "labels_from": "dice"}
    shipped_config["annotation"]["accept_domain_shift"] = ["dice", "trained_here", "magface"]
    yield shipped_config
    parts.activate([])


def test_the_keys_of_extensions_are_accepted_with_their_defaults(extended):
    filled = check_config(extended)
    assert filled["generation"]["settings"]["mine"] == {"colours": ["red"], "strength": 0.5}
    assert filled["datasets"]["more"]["table"] == "t.csv"
    assert "generation.settings.mine.strength" in reference(configuration_schema())


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "generation.settings.mine",
            {"strenght": 1},
            "settings.mine: 'strenght' is not known; did you mean 'strength'",
        ),
        ("generation.settings.mine", {"strength": 2}, "generation.settings.mine.strength is 2; it must be at most 1"),
        ("generation.settings.mine", {"colours": ["mauve"]}, "mine.colours: mauve cannot be drawn; leave it out"),
        ("datasets.more", {"reader": "utk", "root": "x"}, "datasets.more: key 'table' is missing"),
        ("datasets.more", {"reader": "celeba", "root": "x", "table": "t"}, "datasets.more: 'table' is not known"),
        (
            "datasets.more",
            {"reader": "utkk", "root": "x", "table": "t"},
            "more.reader: 'utkk' is not known; did you mean 'utk'",
        ),
        ("datasets.more", {"redaer": "utk", "root": "x"}, "datasets.more: key 'reader' is missing"),
        ("annotation.dice", {}, "annotation: 'dice' is not known"),
        ("extensions", ["nowhere"], "extensions: the folder .*nowhere does not exist"),
        ("extensions", "nowhere", "extensions is 'nowhere'; it must be of type array"),
    ],
)
def test_the_keys_of_extensions_are_checked(extended, path, value, message):
    *parents, last = path.split(".")
    place = extended
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(UserError, match=message):
        check_config(extended)


def test_the_configuration_is_read_without_the_libraries_of_the_jobs(root):
    code = (
        "import sys; sys.path.insert(0, 'workflow_scripts')\n"
        "from evenface.configuration import check_config, read_yaml\n"
        "check_config(read_yaml(open('config.yaml').read()))\n"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'scipy', 'cv2', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
        ({"reference": None}, "screening.magface.reference: null is not known"),
        (
            {"weights": "m.pth", "threshold": "calibrated", "reference": "x"},
            "screening.magface.reference: 'x' is not known",
        ),
        ({"trained_here": {"dataset": "faces"}}, "screening.magface.trained_here.dataset: 'faces' is not known"),
        ({"threshold": "automatic"}, "screening.magface.threshold"),
        ({"backbone": "iresnet101"}, "choose from iresnet18, iresnet34, iresnet50, iresnet100"),
        ({"trained_here": {"margin": {"kind": "sphere"}}}, "choose from arc, cos"),
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
