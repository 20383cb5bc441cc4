"""The text-to-face model through its real rules."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workflow.workflow import copy_tree, planned, run

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def grown(root, tmp_path_factory):
    """A tree whose configuration also has the smallest text-to-face model; nothing in it was run."""
    tree = copy_tree(root, tmp_path_factory.mktemp("text-to-face") / "tree", HERE / "tiny.yaml")
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    config |= yaml.safe_load((HERE / "text_to_face.yaml").read_text())
    config["annotation"]["trained_here"]["attributes"] = ["Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"]
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
    return tree


def test_no_default_target_asks_for_it(grown):
    assert not [rule for rule in planned(grown) if "text_to_face" in rule]


def test_its_own_front_door_renders_trains_exports_and_judges(grown):
    run(grown, "--snakefile", "rules/text_to_face/Snakefile")
    table = pd.read_csv(grown / "results/text_to_face/evaluation.csv")
    assert set(table["dimension"]) == {"gender", "age", "ethnicity", "hair"} and table["n"].max() == 72
    assert (grown / "results/text_to_face/contact_sheet.jpg").stat().st_size > 10_000
    assert (grown / "results/text_to_face/model/model_index.json").is_file()
    assert "Nothing to be done" in run(grown, "results/text_to_face/evaluation.csv")


def test_more_steps_repeat_one_stage_and_go_on_from_its_state(grown, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(grown, tree, symlinks=True)
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    config["text_to_face"]["denoiser"]["steps"] = 4
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
    target = "results/text_to_face/model"
    jobs = planned(tree, target)
    assert set(jobs) == {"train_text_to_face_denoiser", "export_text_to_face"}, jobs
    run(tree, target)
    assert "going on after step 2 of 4" in (tree / "results/logs/train_text_to_face_denoiser.log").read_text()
