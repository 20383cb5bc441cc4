"""A study of each data set whose published files a stand-in writes: planned quickly, and once really run."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from unit.test_datasets_expressions import write_affect, write_raf

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


@pytest.mark.slow
@pytest.mark.parametrize(("name", "write"), [("raf_db", write_raf), ("affectnet", write_affect)])
def test_the_study_of_published_files_to_the_report(root, tmp_path, name, write):
    """Files as published, with small pictures; AffectNet's groups come from a table."""
    data = tmp_path / "data"
    data.mkdir()
    write(data)
    dataset = {"reader": name, "root": str(data)}
    if name == "affectnet":
        names = sorted(str(p.relative_to(data / "Manually_Annotated_Images")) for p in data.rglob("*.jpg"))
        people = pd.DataFrame({"image": names, "gender": ["female", "male"] * (len(names) // 2)})
        people.to_csv(tmp_path / "people.csv", index=False)
        dataset["demographics"] = str(tmp_path / "people.csv")
    config = {
        "generation": {"generator": [], "also": None},
        "datasets": {name: dataset},
        "training": {"attributes": ["emotion"], "image_size": [131, 131], "epochs": 1, "batch_size": 16},
        "runs": {"real": {"real": name}, "real+synthetic": None, "synthetic": None},
        "evaluation": {
            "dataset": name, "attributes": ["emotion"], "groupings": ["gender"], "min_denominator": 1, "min_identities": 1,
            "n_boot": 200, "n_perm": 200,
        },
    }  # fmt: skip
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    tree = copy_tree(root, tmp_path / "tree", tmp_path / "own.yaml")
    run(tree, "results/fairness.csv", "results/report.html")
    table = pd.read_csv(tree / "results/fairness.csv")
    assert {"emotion", "emotion=happy"} <= set(table["attribute"])
    assert f"tested on {name}" in (tree / "results/report.html").read_text(encoding="utf-8")
