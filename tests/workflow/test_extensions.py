"""Parts from a user's own folder, one file each, run through the DAG; nothing else is touched."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from evenface.storage.tables import read_table
from workflow.workflow import copy_tree, planned, run

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    """A tree in which every kind of part comes from the folder my_parts."""
    tree = copy_tree(root, tmp_path_factory.mktemp("extensions") / "tree", HERE / "extensions.yaml")
    shutil.copytree(HERE.parent / "extensions", tree / "my_parts")
    run(tree, *(prompts_of(tree)))
    run(tree)
    return tree


def prompts_of(tree):
    """The file of prompts that the run asks for first."""
    text = run(tree, check=False)
    [name] = {word.strip(";:,.") for word in text.split() if word.startswith("data/prompts/")}
    return [name]


def test_a_writer_wrote_the_contexts(made):
    [path] = (made / "data/prompts").glob("*.csv")
    assert "at a desk" in path.read_text() and "# model: echo" in path.read_text()


def test_a_generator_drew_and_a_detector_found(made):
    faces = read_table(made / "data/faces/stripes.parquet")
    assert len(faces) == 4 * 2 * 4 and set(faces["dataset"]) == {"stripes"}
    acceptance = pd.read_csv(made / "data/synthetic/stripes/acceptance.csv")
    assert acceptance["accepted"].sum() > 0


def test_an_annotator_labelled(made):
    faces = read_table(made / "data/faces/stripes.parquet")
    assert set(faces["labels_source"]) == {"brightness"} and {-1, 1} <= set(faces["Blond_Hair"])


def test_a_format_was_written_and_read(made):
    faces = read_table(made / "data/faces/celeba.parquet")
    assert len(faces) == 40 and set(faces["labels_source"]) == {"list.csv"}
    assert json.loads((made / "data/faces/celeba.json").read_text())["reader"] == "plain_folder"


def test_networks_and_methods_trained(made):
    def manifest(name):
        return json.loads((made / f"results/models/{name}/1/model.json").read_text())

    assert manifest("real")["network"]["name"] == "pooled" and manifest("real")["method"]["name"] == "hardest"
    mixed = manifest("real+synthetic")
    assert mixed["network"]["settings"]["width"] == 6 and mixed["method"]["name"] == "erm"
    assert (made / "results/fairness.csv").is_file() and (made / "results/report.html").is_file()


def test_jobs_ask_for_what_their_parts_need(made):
    """The method of one run needs a GPU; the network, alone in the other run and in every prediction, needs none."""
    text = run(made, "--dry-run", "--resources=gpu=1", "--forcerun", "train", "screen", "read_dataset")
    asked = {}
    for job in re.findall(r"^rule (?!all:)(\w+):\n(.*?)(?=^\[|\Z)", text, re.M | re.S):
        output, resources = (re.search(rf"^ +{key}: (.*)", job[1], re.M)[1] for key in ("output", "resources"))
        resources = dict(re.findall(r"(\w+)=(\d+)", resources))
        asked[job[0], output.split(",")[0]] = tuple(resources.get(key) for key in ("gpu", "mem_mb", "runtime"))
    assert asked["train", "results/models/real/1/model.safetensors"] == ("1", "10000", "1440")
    assert asked["train", "results/models/real+synthetic/1/model.safetensors"] == ("0", "9000", "1440")
    assert asked["predict", "results/predictions/real/1/maad_face.parquet"] == ("0", "9000", "240")
    assert asked["read_dataset", "data/faces/celeba.parquet"] == ("0", "6000", "120")
    [screened] = {needed for (rule, _), needed in asked.items() if rule == "screen"}
    assert screened == ("0", "1200", "120")


def test_a_raised_version_makes_the_parts_files_again(made):
    first = {
        "stripes": "generate", "brightness": "annotate", "middle": "screen",
        "plain_folder": "assemble_plain_folder_standin", "pooled": "train", "hardest": "train",
    }  # fmt: skip
    for name, rule in first.items():
        path = made / f"my_parts/{name}.py"
        text = path.read_text()
        path.write_text(re.sub(rf'(    |\()name="{name}",', rf'\1name="{name}", version=2,', text))
        jobs = planned(made)
        assert rule in jobs, (name, jobs)
        path.write_text(text)
    assert not planned(made)


def test_the_documentation_quotes_these_files(root):
    """docs/extensions.md shows what is run here, and settings that are used here."""
    text = (root / "docs/extensions.md").read_text()
    files = {path.read_text(): path.name for path in (HERE.parent / "extensions").glob("*.py")}
    quoted = [files.get(block) for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)]
    assert None not in quoted and {*files.values()} == {*quoted, *re.findall(r"tests/extensions/(\w+\.py)", text)}

    def within(part, whole):
        if not isinstance(part, dict):
            return part == whole
        return all(key in whole and within(value, whole[key]) for key, value in part.items())

    used = yaml.safe_load((HERE / "extensions.yaml").read_text())
    [block] = re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)
    assert within(yaml.safe_load(block), used)


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("broken.py", "import nowhere_to_be_found\n", "broken.py:1: the extension cannot be used: ModuleNotFoundError"),
        ("empty.py", "x = 1\n", "empty.py: does not describe a part; set PART"),
        ("wrong.py", "PART = 3\n", "wrong.py: PART is a int"),
        ("twice.py", "from evenface.parts import Generator\nPART = Generator(name='parametric', summary='', code='x:y')\n",
         "twice.py: the generator 'parametric' is already described in evenface.generators.parametric"),
    ],
)  # fmt: skip
def test_a_broken_extension_is_one_sentence(root, tmp_path, file, text, sentence):
    tree = copy_tree(root, tmp_path / "tree", HERE / "extensions.yaml")
    shutil.copytree(HERE.parent / "extensions", tree / "my_parts")
    (tree / "my_parts" / file).write_text(text)
    said = run(tree, "--dry-run", check=False)
    assert sentence in said and "Traceback" not in said, said
