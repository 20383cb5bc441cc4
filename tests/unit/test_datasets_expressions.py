"""RAF-DB and AffectNet: the published lists and folders, and what is wrong with copies."""

import numpy as np
import pytest
from PIL import Image

from evenface.datasets import read
from evenface.datasets.emotions import EMOTIONS, emotion_of
from evenface.errors import UserError

RAF = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
AFFECT = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt", "none", "uncertain", "no_face")
HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def picture(path, i):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 16, 3), i, np.uint8)).save(path)


def write_raf(tmp_path):
    lines = []
    (tmp_path / "Annotation/manual").mkdir(parents=True)
    for i in range(98):
        name = f"train_{i:05d}" if i < 70 else f"test_{i:04d}"
        picture(tmp_path / f"Image/aligned/{name}_aligned.jpg", i)
        lines.append(f"{name}.jpg {i % 7 + 1}\n")
        text = "74.5\t80.1\n" * 5 + f"{i % 3}\n{i // 3 % 3}\n{i % 5}\n"
        (tmp_path / f"Annotation/manual/{name}_manu_attri.txt").write_text(text)
    (tmp_path / "EmoLabel").mkdir()
    (tmp_path / "EmoLabel/list_patition_label.txt").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def raf(tmp_path):
    return write_raf(tmp_path)


def test_raf_db(raf):
    faces, rejected, summary = read(
        "raf_db", {"root": raf, "vocabulary": {"age": ["0-3", "4-19", "20-39", "40-69", "70+"]}}
    )
    assert rejected.empty and summary["splits"] == {"train": 63, "val": 7, "test": 28}
    for row in faces.to_dict("records"):
        name = row["image_id"].removeprefix("raf_db/")
        i = int(name.split("_")[1].removesuffix(".jpg"))
        assert row["image"].endswith(name.replace(".jpg", "_aligned.jpg"))
        assert row[f"emotion={RAF[i % 7]}"] == 1 and (row["split"] == "test") == name.startswith("test")
        assert row["gender"] == ("male", "female", "unknown")[i % 3] and row["Male"] == (1, -1, 0)[i % 3]
        assert row["ethnicity"] == ("white", "black", "asian")[i // 3 % 3]
        assert row["age"] == ("0-3", "4-19", "20-39", "40-69", "70+")[i % 5]
    assert summary["levels_from_words"]["ethnicity"]["Caucasian"]["level"] == "white"


def test_raf_db_without_attributes(raf):
    for path in (raf / "Annotation/manual").iterdir():
        path.unlink()
    faces, _, summary = read("raf_db", {"root": raf})
    assert set(faces["gender"]) == {"unknown"} and summary["images_without_attributes"] == 98


@pytest.mark.parametrize(
    ("file", "old", "new", "sentences"),
    [
        ("EmoLabel/list_patition_label.txt", "train_00001.jpg 2", "train_00001.jpg 8", ["line 2", "from 1 (Surprise) to 7"]),
        ("EmoLabel/list_patition_label.txt", "train_00001.jpg", "train_00000.jpg", ["line 2", "already listed in line 1"]),
        ("EmoLabel/list_patition_label.txt", "train_00001.jpg", "other_00001.jpg", ["line 2", "neither with train_ nor with test_"]),
        ("EmoLabel/list_patition_label.txt", "train_00001.jpg", "train_99999.jpg", ["1 of the 98", "train_99999.jpg"]),
        ("Annotation/manual/train_00001_manu_attri.txt", "\n1\n0\n1\n", "\n1\n9\n1\n", ["train_00001_manu_attri.txt", "1, 9, 1"]),
    ],
)  # fmt: skip
def test_bad_files_of_raf_db(raf, file, old, new, sentences):
    text = (raf / file).read_text()
    assert old in text
    (raf / file).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read("raf_db", {"root": raf})
    assert all(sentence in str(caught.value) for sentence in sentences), caught.value


def test_a_folder_without_the_list(tmp_path):
    with pytest.raises(UserError, match=r"EmoLabel/list_patition_label.txt is not there.*folder basic"):
        read("raf_db", {"root": tmp_path})


def write_affect(tmp_path):
    for table, first, count in (("training", 0, 110), ("validation", 110, 44)):
        rows = []
        for i in range(first, first + count):
            picture(tmp_path / f"Manually_Annotated_Images/{i % 3}/{i:03d}.jpg", i)
            rows.append(f"{i % 3}/{i:03d}.jpg,1,2,90,90,10.1;20.2,{i % 11},0.25,-0.5")
        path = tmp_path / f"Manually_Annotated_file_lists/{table}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([*([HEADER] if first == 0 else []), *rows]) + "\n")  # the second has no header
    return tmp_path


@pytest.fixture
def affect(tmp_path):
    return write_affect(tmp_path)


def test_affectnet(affect):
    faces, rejected, summary = read("affectnet", {"root": affect})
    assert rejected["reason"].value_counts().to_dict() == {"none": 14, "uncertain": 14, "no_face": 14}
    assert summary["splits"]["test"] == 32 and summary["splits"]["train"] + summary["splits"]["val"] == 80
    assert summary["splits"]["val"] == 8 and "columns_not_read" not in summary
    for row in faces.to_dict("records"):
        i = int(row["image_id"].rpartition("/")[2].removesuffix(".jpg"))
        assert row[f"emotion={AFFECT[i % 11]}"] == 1 and (row["split"] == "test") == (i >= 110)


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        ("2/110.jpg", "1/001.jpg", ["validation.csv line 1", "1/001.jpg", "training.csv line 3"]),
        (",0,0.25", ",11,0.25", ["validation.csv line 1", "expression is '11'", "from 0 (Neutral)"]),
        ("2/110.jpg", "2/none.jpg", ["1 of the 154", "2/none.jpg", "datasets.affectnet.max_unreadable"]),
    ],
)
def test_bad_lists_of_affectnet(affect, old, new, sentences):
    path = affect / "Manually_Annotated_file_lists/validation.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read("affectnet", {"root": affect, "max_unreadable": 0})
    assert all(sentence in str(caught.value) for sentence in sentences), caught.value


def test_missing_lists_and_pictures_of_affectnet(affect):
    (affect / "Manually_Annotated_file_lists/validation.csv").unlink()
    with pytest.raises(UserError, match=r"validation.csv is not there"):
        read("affectnet", {"root": affect})
    with pytest.raises(UserError, match="Manually_Annotated_Images is not there"):
        read("affectnet", {"root": affect / "Manually_Annotated_file_lists"})


def test_spellings_of_expressions():
    assert [emotion_of(word) for word in ("Anger", " HAPPINESS", "surprised")] == ["angry", "happy", "surprise"]
    assert all(emotion_of(name) == name for name in EMOTIONS)
    for word in ("3", "contempt", ""):
        with pytest.raises(ValueError, match="is not known"):
            emotion_of(word)
