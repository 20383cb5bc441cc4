"""Every file that a reader opens is an input of its rule, so an edit of it rereads the data set."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from unit import test_datasets_expressions as expressions
from unit import test_datasets_fairface as fairface
from unit import test_datasets_fer2013 as fer2013
from unit import test_datasets_utkface as utkface
from unit.test_datasets import FILES, NAMES, write_celeba, write_maad

from evenface import parts
from evenface.datasets import read
from evenface.recipes.datasets import Datasets

OPENED: set[str] = set()
sys.addaudithook(lambda event, arguments: OPENED.add(str(arguments[0])) if event == "open" else None)


def made(write):
    """Of a function that writes into a folder: one that makes the folder first and returns it."""

    def within(root):
        root.mkdir()
        write(root)
        return root

    return within


def write_table(root):
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(root / name)
    rows = (f"{name},{1 - 2 * (i % 2)}\n" for i, name in enumerate(NAMES))
    (root.parent / "labels.csv").write_text("image,smiling\n" + "".join(rows))


#: case -> reader, what writes its files, a picture for the table of demographics
CASES = {
    "celeba, txt": ("celeba", lambda root: write_celeba(root, NAMES), NAMES[0]),
    "celeba, csv": ("celeba", lambda root: write_celeba(root, NAMES, variant="csv"), NAMES[0]),
    "celeba, no identities": ("celeba", lambda root: write_celeba(root, NAMES, identity=False), NAMES[0]),
    "maad_face": ("maad_face", lambda root: write_maad(root, FILES), FILES[0]),
    "maad_face, val": ("maad_face", lambda root: write_maad(root, FILES, file="MAAD-Face.csv", below="val"), FILES[0]),
    "utkface": ("utkface", lambda root: utkface.write(root, utkface.names()), utkface.names()[0]),
    "utkface, in the wild": (
        "utkface",
        made(lambda root: utkface.write(root / "part1", utkface.names(ending=".jpg"))),
        utkface.names(ending=".jpg")[0],
    ),
    "fairface": ("fairface", made(fairface.write), "train/1.jpg"),
    "fer2013": ("fer2013", made(lambda root: fer2013.write(root, fer2013.lines())), "00002"),
    "raf_db": ("raf_db", made(expressions.write_raf), "train_00001.jpg"),
    "affectnet": ("affectnet", made(expressions.write_affect), "1/001.jpg"),
    "table": ("table", made(write_table), NAMES[0]),
}


def settings_of(reader, root):
    return {"table": str(root.parent / "labels.csv"), "attributes": ["smiling"]} if reader == "table" else {}


def inputs(reader, root, **more):
    settings = {
        **settings_of(reader, root),
        "reader": reader,
        "root": str(root),
        "standin": None,
        "demographics": None,
        **more,
    }
    flow = SimpleNamespace(settings={"datasets": {"mine": settings}})
    return Datasets(flow).files(SimpleNamespace(dataset="mine"))


def test_every_reader_has_a_case():
    assert {reader for reader, *_ in CASES.values()} == {*parts.parts(parts.Reader)}


@pytest.mark.parametrize("case", CASES)
def test_every_file_that_a_reader_opens_is_an_input(tmp_path, case):
    reader, write, image = CASES[case]
    root = write(tmp_path / "data")
    demographics = tmp_path / "people.csv"
    demographics.write_text(f"image_id,gender\n{image},male\n")
    OPENED.clear()
    given = {"root": str(root), "name": "mine", "demographics": str(demographics)}
    read(reader, {**settings_of(reader, root), **given})
    opened = {p for p in OPENED if p.startswith(str(tmp_path)) and not p.endswith(".jpg")}
    listed = inputs(reader, root, demographics=str(demographics))
    below = {path for path in opened if any(Path(path).is_relative_to(p) for p in listed)}
    assert opened and opened <= {*listed} | below, opened
    files = {str(p) for p in tmp_path.rglob("*") if p.is_file() and p.suffix in (".txt", ".csv")}
    assert files <= {*listed} | below
    folders = [path for path in listed if Path(path).is_dir()]
    pictures = {str(Path(p).parent) for p in OPENED if p.endswith(".jpg")}
    seen = {*folders, *(f"{f}/{n}" for f in folders for n in os.listdir(f))}
    assert not pictures or pictures & seen, "new and removed pictures are seen"


def test_a_file_that_appears_becomes_an_input(tmp_path):
    root = write_celeba(tmp_path, NAMES, identity=False)
    before = inputs("celeba", root)
    (root / "identity_CelebA.csv").write_text("image_id,identity\n")
    assert [*{*inputs("celeba", root)} - {*before}] == [str(root / "identity_CelebA.csv")]


def test_a_required_file_that_is_missing_is_named_by_its_usual_name(tmp_path):
    assert inputs("celeba", tmp_path) == [
        str(tmp_path / "list_attr_celeba.txt"), str(tmp_path / "list_eval_partition.txt"),
    ]  # fmt: skip
