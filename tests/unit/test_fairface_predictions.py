"""The CSV of FairFace's predict.py as demographics of a data set."""

import numpy as np
import pandas as pd
import pytest

from evenface.annotators.fairface.table import COLUMNS, write_predictions_csv
from evenface.datasets.faces import apply_demographics, build_faces
from evenface.errors import UserError
from evenface.taxonomy import study_levels


def faces_of(names):
    columns = {
        "image_id": [f"celeba/{name}" for name in names], "image": names, "identity_id": names, "split": "train", "dataset": "celeba",
        "gender": "unknown", "age": "unknown", "ethnicity": "unknown", "demographics_source": "none", "labels_source": "none",
    }  # fmt: skip
    return build_faces(columns, {"Smiling": np.ones(len(names), np.int8)})


def written(path, answers):
    """predict.py's table: name of the chip -> race, gender and age. The scores of seven races break their line."""
    scores = {"race_scores_fair": 7, "race_scores_fair_4": 4, "gender_scores_fair": 2, "age_scores_fair": 9}
    rows = [
        {"face_name_align": f"detected_faces/{chip}.jpg", "race": race, "race4": "White", "gender": gender, "age": age,
         **{name: np.linspace(0.0123456, 0.912345, k).astype(np.float32) for name, k in scores.items()}}
        for chip, (race, gender, age) in answers.items()
    ]  # fmt: skip
    write_predictions_csv(rows, path)
    return path


ANSWERS = {
    "000001_face0": ("East Asian", "Female", "20-29"), "000002_face0": ("Latino_Hispanic", "Male", "70+"),
    "000003_face0": ("White", "Male", "30-39"), "000003_face1": ("Black", "Female", "3-9"), "other_face0": ("White", "Male", "0-2"),
}  # fmt: skip
NAMES = ["000001.jpg", "000002.jpg", "000003.jpg", "000004.jpg"]


def test_a_row_per_face_becomes_the_demographics_of_its_picture(tmp_path, caplog):
    path = written(tmp_path / "test_outputs.csv", ANSWERS)
    assert list(pd.read_csv(path)) == list(COLUMNS) and "\n" in pd.read_csv(path)["age_scores_fair"][0]
    found, counts = apply_demographics(faces_of(NAMES), path)
    assert found["ethnicity"].tolist() == ["asian", "unknown", "unknown", "unknown"]
    assert found["age"].tolist() == ["young", "senior", "unknown", "unknown"]
    assert found["gender"].tolist() == ["female", "male", "unknown", "unknown"]
    assert counts.pop("levels_from_words")["ethnicity"]["East Asian"] == {"level": "asian", "images": 1}
    assert counts == {
        "demographics_rows_matched": 2, "images_without_demographics": 2, "images_with_several_faces": 1, "faces_of_other_images": 1,
    }  # fmt: skip
    assert "1 images with several faces" in caplog.text


def test_its_seven_races_and_nine_bands_are_levels_of_a_study(tmp_path):
    path = written(tmp_path / "p.csv", ANSWERS)
    found, _ = apply_demographics(faces_of(NAMES), path, study_levels({"ethnicity": "fairface", "age": "fairface"}))
    assert found["ethnicity"].tolist()[:2] == ["east_asian", "latino_hispanic"]
    assert found["age"].tolist()[:2] == ["20-29", "70+"]


def test_what_cannot_be_matched_is_named(tmp_path):
    path = written(tmp_path / "p.csv", ANSWERS)
    with pytest.raises(UserError, match=r"'a/000001.jpg' and 'b/000001.jpg' would have chips of the same name"):
        apply_demographics(faces_of(["a/000001.jpg", "b/000001.jpg"]), path)
    with pytest.raises(UserError, match=r"no row belongs to an image of celeba"):
        apply_demographics(faces_of(["x.jpg"]), path)
    strange = written(tmp_path / "q.csv", {"000001_face0": ANSWERS["000001_face0"], "picture": ANSWERS["000003_face0"]})
    with pytest.raises(UserError, match=r"q.csv line \d+: 'detected_faces/picture.jpg' names no chip"):
        apply_demographics(faces_of(NAMES), strange)
    wrong = written(tmp_path / "r.csv", {"000001_face0": ("Martian", "Female", "20-29")})
    with pytest.raises(UserError, match=r"r.csv line 2: ethnicity of image '000001.jpg': 'Martian' is not known"):
        apply_demographics(faces_of(NAMES), wrong)
