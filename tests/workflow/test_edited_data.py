"""An edit of any file of a real data set rereads it, and nothing else does."""

import os
from pathlib import Path

import pytest
import yaml
from unit.test_datasets import FILES, NAMES, PIXELS, write_celeba, write_maad

from workflow.workflow import copy_tree, planned, run

HERE = Path(__file__).parent
TARGETS = ("data/faces/mine.parquet", "data/faces/theirs.parquet")


@pytest.fixture(scope="module")
def tree(root, tmp_path_factory):
    config = yaml.safe_load((HERE / "tiny.yaml").read_text())
    config["datasets"] = {
        **config.get("datasets", {}),
        "mine": {"reader": "celeba", "root": "mine", "demographics": "people.csv"},
        "theirs": {"reader": "maad_face", "root": "theirs"},
    }
    made = copy_tree(root, tmp_path_factory.mktemp("edited") / "tree", HERE / "tiny.yaml")
    (made / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    write_celeba(made / "mine", NAMES)
    write_maad(made / "theirs", FILES)
    (made / "people.csv").write_text("image_id,gender\n" + "".join(f"{name},male\n" for name in NAMES))
    run(made, *TARGETS)
    return made


def test_a_data_set_that_nobody_edited_is_not_read_again(tree):
    assert planned(tree, *TARGETS) == {}


@pytest.mark.parametrize(
    "file",
    [
        "mine/list_attr_celeba.txt", "mine/list_eval_partition.txt", "mine/identity_CelebA.txt", "people.csv",
        "theirs/MAAD_Face.csv",
    ],
)  # fmt: skip
def test_an_edit_of_a_file_rereads_its_data_set(tree, file):
    path = tree / file
    before, status = path.read_bytes(), path.stat()
    try:
        path.write_bytes(before + b"\n")
        assert planned(tree, *TARGETS) == {"read_dataset": 1}
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_new_picture_rereads_its_data_set(tree):
    (tree / "mine/img_align_celeba/000099.jpg").write_bytes(PIXELS)
    assert planned(tree, *TARGETS) == {"read_dataset": 1}
