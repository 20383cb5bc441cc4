"""Levels of the user's choice, from the prompt to the report, and a test set whose groups an annotator gives."""

from pathlib import Path

import pandas as pd

from evenface.storage.tables import read_table
from evenface.taxonomy import VOCABULARIES
from workflow.workflow import copy_tree, run

LEVELS = {*VOCABULARIES["fairface"]["ethnicity"]}


def test_seven_ethnicities_and_own_bands_of_age_are_drawn_annotated_trained_and_evaluated(root, tmp_path):
    tree = copy_tree(root, tmp_path / "tree", Path(__file__).parent / "levels.yaml")
    run(tree)
    drawn = read_table(tree / "data/faces/parametric.parquet")
    assert set(drawn["ethnicity"]) == LEVELS and set(drawn["age"]) == {"0-29"}
    real = read_table(tree / "data/faces/fairface.parquet")
    assert set(real["age"]) == {"0-29", "30-49", "50+"} and set(real["ethnicity"]) == LEVELS
    confusion = pd.read_csv(tree / "results/annotation/parametric/confusion.csv")
    mine = confusion[(confusion["head"] == "ethnicity") & (confusion["annotator"] == "trained_here")]
    assert set(mine["truth"]) == LEVELS and set(mine["predicted"]) == {*LEVELS, "undefined"}
    truth = confusion[(confusion["annotator"] == "ground_truth") & (confusion["grouping"] == "all")]
    right = truth[(truth["truth"] == truth["predicted"]) & (truth["head"] == "ethnicity")]
    assert right["n"].sum() == 28 and (right["rate"] == 1).all()
    accepted = pd.read_csv(tree / "data/synthetic/parametric/acceptance.csv")
    assert LEVELS <= set(accepted["group"])
    before, after, answers = (
        read_table(tree / f"data/faces/seen{ending}.parquet") for ending in (".as_read", "", ".trained_here")
    )
    assert set(after["demographics_source"]) == {"annotated by trained_here"}
    assert (after["ethnicity"] == answers.set_index("image_id")["ethnicity"].loc[after["image_id"]].to_numpy()).all()
    labels = pd.read_csv(tree / "results/annotation/seen/trained_here.csv")
    every = labels[(labels["grouping"] == "all") & (labels["head"] == "ethnicity")]
    assert every["n"].sum() == len(before) and set(before["ethnicity"]) == LEVELS
    table = pd.read_csv(tree / "results/fairness.csv")
    assert set(table["grouping"]) == {"ethnicity", "age"}
    report = (tree / "results/report.html").read_text(encoding="utf-8")
    assert "southeast asian" in report.lower() and "30-49" in report
    assert "errs on the data set seen" in report
    assert "Nothing to be done" in run(tree)
