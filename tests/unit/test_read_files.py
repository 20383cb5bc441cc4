"""Every file that a reader opens is an input of its rule, so an edit of it rereads the data set."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from unit.test_datasets import FILES, NAMES, write_celeba, write_maad

from evenface import parts
from evenface.datasets import read
from evenface.recipes.datasets import Datasets

OPENED: set[str] = set()
sys.addaudithook(lambda event, arguments: OPENED.add(str(arguments[0])) if event == "open" else None)

CASES = {
    "celeba, txt": ("celeba", lambda root: write_celeba(root, NAMES)),
    "celeba, csv": ("celeba", lambda root: write_celeba(root, NAMES, variant="csv")),
    "celeba, no identities": ("celeba", lambda root: write_celeba(root, NAMES, identity=False)),
    "maad_face": ("maad_face", lambda root: write_maad(root, FILES)),
    "maad_face, val": ("maad_face", lambda root: write_maad(root, FILES, file="MAAD-Face.csv", below="val")),
}


def inputs(reader, root, **more):
    settings = {"reader": reader, "root": str(root), "standin": None, "demographics": None, **more}
    flow = SimpleNamespace(settings={"datasets": {"mine": settings}})
    return Datasets(flow).files(SimpleNamespace(dataset="mine"))


def test_every_reader_has_a_case():
    assert {reader for reader, _ in CASES.values()} == {*parts.parts(parts.Reader)}


@pytest.mark.parametrize("case", CASES)
def test_every_file_that_a_reader_opens_is_an_input(tmp_path, case):
    reader, write = CASES[case]
    root = write(tmp_path / "data")
    demographics = tmp_path / "people.csv"
    image = (NAMES if reader == "celeba" else FILES)[0]
    demographics.write_text(f"image_id,gender\n{image},male\n")
    OPENED.clear()
    read(reader, {"root": str(root), "name": "mine", "demographics": str(demographics)})
    opened = {p for p in OPENED if p.startswith(str(tmp_path)) and not p.endswith(".jpg")}
    listed = inputs(reader, root, demographics=str(demographics))
    assert opened and opened <= {*listed}, opened
    files = {str(p) for p in tmp_path.rglob("*") if p.is_file() and p.suffix in (".txt", ".csv")}
    assert files <= {*listed}
    folders = [path for path in listed if Path(path).is_dir()]
    assert {str(Path(p).parent) for p in OPENED if p.endswith(".jpg")} & {
        *folders,
        *(f"{f}/{n}" for f in folders for n in os.listdir(f)),
    }, "new and removed pictures are seen"


def test_a_file_that_appears_becomes_an_input(tmp_path):
    root = write_celeba(tmp_path, NAMES, identity=False)
    before = inputs("celeba", root)
    (root / "identity_CelebA.csv").write_text("image_id,identity\n")
    assert [*{*inputs("celeba", root)} - {*before}] == [str(root / "identity_CelebA.csv")]


def test_a_required_file_that_is_missing_is_named_by_its_usual_name(tmp_path):
    assert inputs("celeba", tmp_path) == [
        str(tmp_path / "list_attr_celeba.txt"), str(tmp_path / "list_eval_partition.txt"),
    ]  # fmt: skip
