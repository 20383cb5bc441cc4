"""The project and its data may lie in folders of any name that Snakemake can take; others are refused before the DAG."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from unit.test_datasets import FILES, NAMES, write_celeba, write_maad

from workflow.workflow import copy_tree, planned, run

HERE = Path(__file__).parent
TARGETS = ("data/faces/mine.parquet", "data/faces/theirs.parquet")
NAME = "-a::b {} x.tar::y ~ '%#é"


def copied(root, folder, datasets):
    config = yaml.safe_load((HERE / "tiny.yaml").read_text())
    config["datasets"] = {**config.get("datasets", {}), **datasets}
    tree = copy_tree(root, folder, HERE / "tiny.yaml")
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return tree


def test_a_project_and_its_data_in_folders_with_odd_names(root, tmp_path):
    data = f"../{NAME}"
    tree = copied(
        root,
        tmp_path / NAME.replace("{}", "").replace("  ", " "),
        {
            "mine": {"reader": "celeba", "root": f"{data}/mine", "demographics": f"{data}/people {{}}.csv"},
            "theirs": {"reader": "maad_face", "root": f"{data}/theirs"},
        },
    )
    write_celeba(tmp_path / NAME / "mine", NAMES)
    write_maad(tmp_path / NAME / "theirs", FILES)
    people = "image_id,gender\n" + "".join(f"{name},male\n" for name in NAMES)
    (tmp_path / NAME / "people {}.csv").write_text(people)
    run(tree, *TARGETS)
    for target, reader in zip(TARGETS, ("mine", "theirs"), strict=True):
        faces = pd.read_parquet(tree / target)
        assert len(faces) and all(name.startswith(f"{data}/{reader}/") for name in faces["image"])
    assert planned(tree, *TARGETS) == {}


@pytest.mark.parametrize(
    ("project", "data", "words"),
    [
        ("a {x} b", "mine", ["a {x} b: Snakemake cannot run in a folder with braces", "rename the folder"]),
        ("a {} b", "mine", ["a {} b: Snakemake cannot run in a folder with braces"]),
        (
            "tree",
            "m {x}",
            ["datasets.mine.root is 'm {x}'; {x} in it is taken by Snakemake for a wildcard", "make a link"],
        ),
    ],
)
def test_braces_that_snakemake_cannot_take_are_one_sentence(root, tmp_path, project, data, words):
    tree = copied(root, tmp_path / project, {"mine": {"reader": "celeba", "root": data}})
    text = run(tree, TARGETS[0], "--dry-run", check=False)
    assert all(word in text for word in words) and "Traceback" not in text and "Building DAG" not in text, text
