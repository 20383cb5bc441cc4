"""FairFace: the published lists and folders, and what is wrong with copies."""

import numpy as np
import pytest
from PIL import Image

from evenface.datasets import read
from evenface.errors import UserError

AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
RACES = ("East Asian", "Indian", "Black", "White", "Middle Eastern", "Latino_Hispanic", "Southeast Asian")
COLUMNS = "file,age,gender,race,service_test"


def row(split, i):
    return f"{split}/{i}.jpg,{AGES[i % 9]},{('Male', 'Female')[i % 2]},{RACES[i % 7]},{i % 3 == 0}"


def write(folder):
    for split, count in (("train", 100), ("val", 42)):
        pictures = folder / "fairface-img-margin025-trainval" / split
        pictures.mkdir(parents=True)
        for i in range(1, count + 1):
            Image.fromarray(np.full((20, 16, 3), i, np.uint8)).save(pictures / f"{i}.jpg")
        lines = [COLUMNS, *(row(split, i) for i in range(1, count + 1))]
        (folder / f"fairface_label_{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def root(tmp_path):
    return write(tmp_path)


def edit(root, old, new, name="fairface_label_val.csv"):
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


def test_published_lists(root):
    faces, rejected, summary = read(
        "fairface", {"root": root, "vocabulary": {"ethnicity": "fairface", "age": "fairface"}}
    )
    assert rejected.empty and summary["splits"] == {"train": 90, "val": 10, "test": 42}
    assert (summary["rows_val"], summary["service_test_val"]) == (42, 14)
    for one in faces.itertuples():
        folder, _, file = one.image_id.removeprefix("fairface/").partition("/")
        i = int(file.removesuffix(".jpg"))
        assert (one.split == "test") == (folder == "val")
        assert one.age == AGES[i % 9].replace("more than 70", "70+")
        assert one.gender == ("male", "female")[i % 2] and one.Male == (1, -1)[i % 2]
        assert one.ethnicity == RACES[i % 7].lower().replace(" ", "_")


def test_coarser_levels_are_said(root):
    summary = read("fairface", {"root": root})[2]
    races = summary["levels_from_words"]["ethnicity"]
    assert races["East Asian"]["level"] == races["Southeast Asian"]["level"] == "asian"
    assert races["Middle Eastern"]["level"] == "unknown" and "White" not in races
    assert summary["levels_from_words"]["age"]["70+"]["level"] == "senior"


def test_service_test_only(root):
    faces, rejected, summary = read("fairface", {"root": root, "service_test": "only"})
    assert summary["splits"]["test"] == 14 and set(rejected["reason"]) == {"not_service_test"} and len(rejected) == 28
    assert summary["splits"]["train"] == 90 and len(faces) == 114


def test_pictures_without_a_folder_between(root):
    for path in (root / "fairface-img-margin025-trainval").iterdir():
        path.rename(root / path.name)
    assert read("fairface", {"root": root})[2]["images"] == 142


BAD = {
    "an age that a spreadsheet made a date": (",3-9,", ",9-Mar,", ["fairface_label_val.csv line", "age", "'9-Mar'", "levels"]),
    "an unknown race": (",Indian,", ",Martian,", ["fairface_label_val.csv line 2:", "ethnicity", "'Martian'", "levels: {ethnicity: {Martian:"]),
    "a picture of the other split": ("val/7.jpg", "train/7.jpg", ["fairface_label_val.csv line 8", "'train/7.jpg'", "val/"]),
    "a picture twice": ("val/7.jpg", "val/8.jpg", ["line 9", "'val/8.jpg'", "already listed in line 8"]),
    "another service_test": (",True", ",maybe", ["fairface_label_val.csv line", "service_test", "True or False"]),
    "a picture that is not there": ("val/7.jpg", "val/99.jpg", ["1 of the 42 images", "val/99.jpg", "datasets.fairface.max_unreadable"]),
    "a short row": (",East Asian,", ",", ["fairface_label_val.csv line", "4 values, but 5 columns"]),
    "a missing column": ("race,", "", ["fairface_label_val.csv line 1", "ethnicity"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_lists_are_refused(root, case):
    old, new, sentences = BAD[case]
    edit(root, old, new)
    with pytest.raises(UserError) as caught:
        read("fairface", {"root": root})
    assert all(sentence in str(caught.value) for sentence in sentences), caught.value


def test_the_remedy_for_an_unknown_word_is_accepted(root):
    edit(root, ",Indian,", ",Martian,")
    faces = read("fairface", {"root": root, "levels": {"ethnicity": {"Martian": "asian"}}})[0]
    assert faces.set_index("image_id").loc["fairface/val/1.jpg", "ethnicity"] == "asian"


def test_missing_files_are_named(root):
    (root / "fairface_label_val.csv").unlink()
    with pytest.raises(UserError, match=r"fairface_label_val.csv: the file does not exist"):
        read("fairface", {"root": root})
    with pytest.raises(UserError, match="no such folder"):
        read("fairface", {"root": root / "none"})
    with pytest.raises(UserError, match="neither train/ and val/ nor fairface-img-margin025-trainval is there"):
        read("fairface", {"root": root / "fairface-img-margin025-trainval/val"})
