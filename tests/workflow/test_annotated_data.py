"""A data set is annotated on request, and another takes its demographics from an annotator."""

import pandas as pd
import yaml

from evenface.storage.tables import read_table
from workflow.workflow import planned, run


def test_demographics_of_a_data_set_come_from_an_annotator(tree):
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    config["datasets"] = {"maad_face": {"demographics_from": "trained_here"}}
    config["annotation"]["parts"] = 2
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
    targets = ["results/fairness.csv", "results/report.html", "results/annotation/celeba/trained_here.csv"]
    jobs = planned(tree, *targets)
    assert jobs["annotate_dataset"] == 4 and not {"train", "train_annotator", "generate", "annotate"} & set(jobs)
    run(tree, *targets)
    before, after, answers = (
        read_table(tree / f"data/faces/maad_face{ending}.parquet") for ending in (".as_read", "", ".trained_here")
    )
    assert set(after["demographics_source"]) == {"annotated by trained_here"}
    assert (after["gender"] == answers.set_index("image_id")["gender"].loc[after["image_id"]].to_numpy()).all()
    assert before["ethnicity"].isin(["asian", "black", "white"]).all()
    table = pd.read_csv(tree / "results/annotation/maad_face/trained_here.csv")
    every = table[(table["grouping"] == "all") & (table["head"] == "ethnicity")]
    assert every["n"].sum() == len(before)
    assert {"Black_Hair", "gender"} <= set(pd.read_csv(tree / targets[2])["head"])
    report = (tree / "results/report.html").read_text(encoding="utf-8")
    assert "errs on the data set maad_face" in report and "errs on the data set celeba" not in report
    assert "Nothing to be done" in run(tree, *targets)
