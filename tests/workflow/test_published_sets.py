"""A study of each data set whose published files a stand-in writes: planned quickly, and once really run."""

from pathlib import Path

import pandas as pd
import pytest

from evenface.storage.tables import read_table
from evenface.taxonomy import DEEPFACE_EMOTION, VOCABULARIES
from workflow.workflow import copy_tree, planned, run

HERE = Path(__file__).parent
SETS = ("utkface", "fairface", "fer2013")


@pytest.mark.parametrize("name", SETS)
def test_the_study_renders_reads_trains_and_evaluates(root, tmp_path, name):
    tree = copy_tree(root, tmp_path / "tree", HERE / f"{name}.yaml")
    jobs = planned(tree, "results/fairness.csv")
    assert jobs["render_standin"] == 2 and jobs["train"] == 1
    assert {f"assemble_{name}_standin", "read_dataset", "predict", "fairness"} <= set(jobs)
    assert not {"generate", "screen", "annotate"} & set(jobs)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_the_study_from_renderings_to_the_report(root, tmp_path, name):
    tree = copy_tree(root, tmp_path / "tree", HERE / f"{name}.yaml")
    run(tree, "results/fairness.csv", "results/report.html")
    faces = read_table(tree / f"data/faces/{name}.parquet")
    rejected = read_table(tree / f"data/faces/{name}.rejected.parquet")
    assert len(faces) + len(rejected) == 100
    assert rejected["reason"].tolist() == (["malformed_name"] * 3 if name == "utkface" else [])
    assert set(faces["split"]) == {"train", "val", "test"}
    table = pd.read_csv(tree / "results/fairness.csv")
    if name == "fer2013":
        assert set(faces["ethnicity"]) == {"asian", "black", "white"}
        assert {"emotion", *(f"emotion={one}" for one in DEEPFACE_EMOTION)} <= set(table["attribute"])
    else:
        assert set(faces["ethnicity"]) == set(VOCABULARIES[name]["ethnicity"])
        assert {"Male", "ethnicity"} <= set(table["attribute"])
    assert name in (tree / "results/report.html").read_text(encoding="utf-8")
    assert "Nothing to be done" in run(tree, "results/fairness.csv", "results/report.html")
