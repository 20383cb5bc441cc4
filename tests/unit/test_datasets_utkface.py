"""UTKFace: names as published, its known defects, and other folders."""

import numpy as np
import pytest
from PIL import Image

from evenface.datasets import read
from evenface.errors import UserError

INCOMPLETE = ("39_1_20170116174525125", "61_1_20170109150557335", "61_1_20170109142408075")
ODD = (
    "24_0_1_20170116220224657 .jpg.chip.jpg",
    "44_1_4_20170116235150272.pg.chip.jpg",
    "55_0_0_20170116232725357jpg.chip.jpg",
)


def names(count=60, ending=".jpg.chip.jpg"):
    return [f"{i % 100}_{i % 2}_{i % 5}_2017011617{i:07d}{ending}" for i in range(count)]


def write(folder, given):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(given):
        Image.fromarray(np.full((20, 16, 3), i % 256, np.uint8)).save(folder / name, "JPEG")
    return folder


def test_names_say_age_gender_and_race(tmp_path):
    write(tmp_path, names(100))
    faces, rejected, summary = read(
        "utkface", {"root": tmp_path, "vocabulary": {"ethnicity": "utkface", "age": "fairface"}}
    )
    assert rejected.empty and len(faces) == 100 and summary["splits"] == {"train": 80, "val": 10, "test": 10}
    races = ("white", "black", "asian", "indian", "others")
    for row in faces.itertuples():
        age, gender, race, _ = row.image_id.removeprefix("utkface/").split("_")
        assert row.gender == ("male", "female")[int(gender)] and row.Male == (1 if gender == "0" else -1)
        assert row.ethnicity == races[int(race)]
        assert row.age == next(b for b in ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
                               if int(age) < int(b.split("-")[-1].strip("+")) + 1 or b == "70+")  # fmt: skip
    assert (faces["identity_id"] == faces["image_id"]).all() and not summary["identities_known"]


def test_what_the_study_has_no_level_for_is_unknown_and_said(tmp_path):
    summary = read("utkface", {"root": write(tmp_path, names())})[2]
    assert summary["levels_from_words"]["ethnicity"]["Indian"] == {"level": "unknown", "images": 12}
    assert summary["groups"]["ethnicity"] == {"asian": 12, "black": 12, "white": 12, "unknown": 24}


def test_incomplete_names_are_dropped_with_a_reason(tmp_path):
    write(tmp_path / "UTKFace", [*names(20), *(f"{stem}.jpg.chip.jpg" for stem in INCOMPLETE)])
    faces, rejected, _ = read("utkface", {"root": tmp_path})
    assert len(faces) == 20 and set(rejected["reason"]) == {"malformed_name"}
    assert {name.split("/")[1].split(".")[0] for name in rejected["image_id"]} == set(INCOMPLETE)


def test_odd_names_are_kept_if_the_picture_can_be_read(tmp_path):
    write(tmp_path, [*names(400), *ODD])
    extra = "55_0_0_20170116232725357jpg"
    (tmp_path / extra).write_bytes(b"not a picture")
    faces, rejected, summary = read("utkface", {"root": tmp_path})
    assert set(ODD) <= {name.removeprefix("utkface/") for name in faces["image_id"]}
    assert rejected["image_id"].tolist() == [f"utkface/{extra}"] and rejected["reason"].tolist() == ["corrupt"]
    assert set(summary["names_of_odd_form"]) == {*ODD, extra}


def test_in_the_wild_parts(tmp_path):
    every = names(30, ".jpg")
    for part in (1, 2, 3):
        write(tmp_path / f"part{part}", every[10 * part - 10 : 10 * part])
    faces, _, summary = read("utkface", {"root": tmp_path})
    assert len(faces) == 30 and len(summary["folders"]) == 3
    write(tmp_path / "part2", every[:1])
    with pytest.raises(UserError, match=r"part2.*part1.* has the same name; remove one"):
        read("utkface", {"root": tmp_path})


def test_splits_depend_neither_on_other_folders_nor_on_the_order(tmp_path):
    a = read("utkface", {"root": write(tmp_path / "a", names())})[0]
    b = read("utkface", {"root": write(tmp_path / "b" / "UTKFace", names()[::-1])})[0].drop(columns="image")
    assert a.drop(columns="image").equals(b)


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read("utkface", {"root": tmp_path / "none"})
    with pytest.raises(UserError, match=r"no pictures there, in UTKFace/ or in part1, part2, part3"):
        read("utkface", {"root": tmp_path})
    write(tmp_path, [*names(10), "portrait.jpg", "30_2_1_20170116174525125.jpg", "130_1_1_20170116174525125.jpg"])
    with pytest.raises(UserError) as caught:
        read("utkface", {"root": tmp_path})
    assert "3 of the 13 pictures" in str(caught.value) and "'130_1_1_" in str(caught.value)
    said = float(str(caught.value).rsplit(": ", 1)[1])
    rejected = read("utkface", {"root": tmp_path, "max_unreadable": said})[1]
    assert len(rejected) == 3 and set(rejected["reason"]) == {"malformed_name"}
