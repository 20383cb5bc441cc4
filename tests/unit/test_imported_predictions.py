"""Predictions of another classifier as a run of the workflow."""

import numpy as np
import pandas as pd
import pytest

from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.fairness.imported import import_predictions
from evenface.storage.tables import read_table, table_meta
from evenface.training.settings import run_files
from faces import make_faces

NAMES = ("Black_Hair", "Blond_Hair")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), 48)


def given(faces, **columns):
    n = len(faces)
    return pd.DataFrame({"image": faces["image_id"], "Black_Hair": np.linspace(0, 1, n), "Blond_Hair": np.arange(n) % 2, **columns})  # fmt: skip


def imported(folder, table, faces, attributes=NAMES):
    table.to_csv(folder / "p.csv", index=False)
    return import_predictions(folder / "p.csv", faces, folder / "out.parquet", attributes=attributes, key="runs.a.predictions")  # fmt: skip


def test_they_become_a_table_of_predictions(tmp_path, faces):
    table = imported(tmp_path, given(faces).sample(frac=1, random_state=2), faces)
    test = (faces["split"] == "test").to_numpy()
    assert table["image_id"].tolist() == faces["image_id"][test].tolist()
    assert np.allclose(table["score_Black_Hair"], np.linspace(0, 1, len(faces))[test])
    assert table["pred_Blond_Hair"].tolist() == (np.arange(len(faces)) % 2)[test].tolist()
    assert table["label_Black_Hair"].tolist() == faces["Black_Hair"][test].tolist()
    pd.testing.assert_frame_equal(read_table(tmp_path / "out.parquet"), table)
    meta = table_meta(tmp_path / "out.parquet")
    assert meta["thresholds"] == {"Black_Hair": 0.5} and len(meta["imported"]["sha256"]) == 64


@pytest.mark.parametrize("change", [lambda n: n.partition("/")[2], lambda n: f"img/align/{n.partition('/')[2]}"])
def test_images_may_be_named_in_other_ways(tmp_path, faces, change):
    expected = imported(tmp_path, given(faces), faces)
    table = given(faces)
    found = imported(tmp_path, table.assign(image=table["image"].map(change)), faces)
    pd.testing.assert_frame_equal(found, expected)


def test_nothing_is_dropped_in_silence(tmp_path, faces):
    table, test = given(faces), np.flatnonzero(faces["split"] == "test")
    with pytest.raises(UserError, match=r"image 'drawn/00015.jpg' of the test set has no prediction \(1 of 6\).*runs\.a\.predictions"):  # fmt: skip
        imported(tmp_path, table.drop(index=test[1]), faces)
    with pytest.raises(UserError, match=r"row 4: the data set has no image 'x.jpg' \(1 such rows\)"):
        imported(tmp_path, table.assign(image=[*table["image"][:3], "x.jpg", *table["image"][4:]]), faces)
    with pytest.raises(UserError, match="has an image a second time"):
        imported(tmp_path, pd.concat([table, table[-1:]]), faces)
    with pytest.raises(UserError, match=r"no column predicts 'Gray_Hair', which evaluation\.attributes asks for"):
        imported(tmp_path, table, faces, ("Gray_Hair",))
    assert len(imported(tmp_path, table.iloc[test], faces)) == len(test)


def test_a_run_brings_predictions_or_is_trained(shipped_config):
    config = {**shipped_config, "runs": {**shipped_config["runs"], "other": {"predictions": "p.csv"}}}
    checked = check_config(config)
    assert run_files(checked, "other", 1) == {"p.csv": "runs.other.predictions"}
    for change, said in (
        ({"real": "celeba"}, "runs.other has predictions, so it is not trained; leave real out"),
        ({"epochs": 3}, "leave epochs out"),
    ):
        with pytest.raises(UserError, match=said):
            check_config({**config, "runs": {**config["runs"], "other": {"predictions": "p.csv", **change}}})
    several = {**config, "training": {**config["training"], "seeds": [1, 2]}}
    with pytest.raises(UserError, match=r"give a file per seed with \{seed\} in its name"):
        check_config(several)
    several["runs"] = {**several["runs"], "other": {"predictions": "p-{seed}.csv"}}
    assert run_files(check_config(several), "other", 2) == {"p-2.csv": "runs.other.predictions"}
