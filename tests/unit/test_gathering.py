"""Gathering steps: many small tables become one, in one pass and whatever the number of parts."""

import numpy as np
import pandas as pd
import pytest
from unit.test_screening import LANDMARK_MODEL, noise, photograph

from evenface.datasets.splits import joined
from evenface.datasets.synthetic import shard_demographics
from evenface.errors import UserError
from evenface.screening.locating import gather_landmarks, landmarks_of, locate_faces
from evenface.screening.settings import locating_recipe
from evenface.storage.images import encode_jpeg, encode_png
from evenface.storage.shards import read_recipe, read_rows, read_shard, write_shard
from evenface.storage.tables import read_table, read_tables, write_table

PIXELS = encode_png(np.zeros((2, 2, 3), np.uint8))


def test_tables_read_together_are_those_read_alone(tmp_path):
    """This includes an empty table, whose columns do not have values that show their types."""
    frames = [
        pd.DataFrame(
            {"image_id": [f"{n}-{i}" for i in range(n)], "x": np.arange(n, dtype=np.float32), "ok": [True] * n}
        )
        for n in (3, 0, 2)
    ]
    frames[1] = frames[1].astype({"image_id": "str", "ok": bool})
    paths = [tmp_path / f"{k}.parquet" for k in range(3)]
    for frame, path in zip(frames, paths, strict=True):
        write_table(frame, path, kind="t")
    pd.testing.assert_frame_equal(read_tables(paths), pd.concat([read_table(p) for p in paths], ignore_index=True))
    assert list(read_tables(paths, columns=["x"])) == ["x"]
    with pytest.raises(UserError, match=r"1\.parquet: column 'y' is missing"):
        read_tables(paths[1:], columns=["y"])


def test_rows_and_recipe_of_a_shard_without_its_images(tmp_path):
    table = pd.DataFrame({"image_id": ["a", "b"], "member": ["0.png", "1.png"], "seed": [1, 2]})
    write_shard(tmp_path / "x.tar", [("0.png", PIXELS), ("1.png", PIXELS)], table, {"cell": "c"})
    rows, recipe = read_rows(tmp_path / "x.tar", columns=["seed"], optional=["cell"])
    pd.testing.assert_frame_equal(rows.to_pandas(), read_shard(tmp_path / "x.tar").table)
    assert recipe == read_recipe(tmp_path / "x.tar") == {"cell": "c"}
    with pytest.raises(UserError, match=r"x\.tar: table\.parquet: column 'cell' is missing"):
        read_rows(tmp_path / "x.tar", columns=["cell"])


def test_what_was_asked_for_comes_from_rows_or_recipe(tmp_path):
    """A table's own columns go before the recipe's; shards of both kinds may stand side by side."""
    rows = pd.DataFrame({"image_id": ["a"], "member": ["0.png"]})
    recipe = {"cell": "x", "gender": "male", "age": "young", "ethnicity": "white"}
    write_shard(tmp_path / "0.tar", [("0.png", PIXELS)], rows, recipe)
    own = rows.assign(image_id="b", cell="y", prompt_id="y-1", gender="female")
    write_shard(tmp_path / "1.tar", [("0.png", PIXELS)], own, recipe)
    write_shard(tmp_path / "2.tar", [("0.png", PIXELS)], rows.assign(image_id="c"), {})
    found = shard_demographics([str(tmp_path / f"{n}.tar") for n in range(3)])
    assert found.columns.tolist() == ["image_id", "cell", "prompt_id", "gender", "age", "ethnicity"]
    assert found.to_numpy().tolist() == [
        ["a", "x", "x", "male", "young", "white"],
        ["b", "y", "y-1", "female", "young", "white"],
        ["c", "", "", "unknown", "unknown", "unknown"],
    ]


def test_joined_texts():
    frame = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})
    assert joined(frame, "*").tolist() == ["x*1", "y*2"] and joined(frame[["a"]], "*").tolist() == ["x", "y"]
    assert joined(frame[:0], "*").tolist() == []


@pytest.mark.skipif(not LANDMARK_MODEL.is_file(), reason="rule fetch_dlib_models has not run here")
def test_parts_of_landmarks_together_are_the_whole(tmp_path):
    (tmp_path / "face.jpg").write_bytes(encode_jpeg(photograph()[::2, ::2], 95))
    (tmp_path / "noise.png").write_bytes(encode_png(noise(80, 80)))
    names = ["face.jpg", "noise.png", "absent.jpg", "face.jpg", "face.jpg"]
    faces = pd.DataFrame({"image_id": list("abcde"), "image": [str(tmp_path / n) for n in names], "dataset": "d",
                          "split": ["train", "train", "val", "test", "train"]})  # fmt: skip
    how = {"settings": {"detector": "hog", "upsample": 0}, "weights": {"dlib5": str(LANDMARK_MODEL)}}
    whole = locate_faces(faces, out=tmp_path / "whole.parquet", **how)
    assert whole["reason"].tolist() == ["", "no_face", "unreadable", "", ""]
    assert (landmarks_of(whole)[0] == landmarks_of(whole)[4]).all()
    for parts in (2, 7):  # of more parts than images some are empty
        paths = [tmp_path / f"{part}.parquet" for part in range(parts)]
        counts = [len(locate_faces(faces, out=p, part=k, parts=parts, **how)) for k, p in enumerate(paths)]
        assert sum(counts) == 5 and max(counts) - min(counts) <= 1
        gather_landmarks(paths, tmp_path / "gathered.parquet")
        assert (tmp_path / "gathered.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    used = locate_faces(faces, out=tmp_path / "used.parquet", train=False, **how)
    assert used["image_id"].tolist() == ["c", "d"]
    seen = faces.assign(split="train")
    assert len(locate_faces(seen, out=tmp_path / "used.parquet", train=False, **how)) == 5  # there are no others


def test_the_split_train_is_searched_for_a_training_only():
    magface = {"weights": "trained_here", "reference": "celeba", "trained_here": {"dataset": "celeba"}, "parts": 3}
    screening = {"detector": "hog", "magface": magface}
    assert locating_recipe(screening, 2, "celeba") == {
        "version": 2, "parts": 3, "train": True, "settings": {"detector": "hog"},
    }  # fmt: skip
    assert not locating_recipe(screening, 2, "maad_face")["train"]
    magface["weights"] = "models/magface.pth"
    assert not locating_recipe(screening, 2, "celeba")["train"]
