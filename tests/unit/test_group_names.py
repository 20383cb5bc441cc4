"""A group has one name: tables of different stages can be joined on it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate
from evenface.report.build import read_csv
from evenface.screening import acceptance
from evenface.storage.csv import write_csv
from evenface.taxonomy import DIMENSIONS, group_name, parse_grouping
from evenface.training.method import Problem


@pytest.fixture
def faces():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({d: rng.choice(levels, 600) for d, levels in DIMENSIONS.items()})
    frame.loc[::50, "ethnicity"] = "unknown"
    return frame.assign(image_id=[f"{i}" for i in range(600)], accepted=rng.random(600) < 0.8, reason="", quality=1.0)


@pytest.mark.parametrize("grouping", ["ethnicity", "gender*ethnicity", "gender*age*ethnicity"])
def test_acceptance_and_group_metrics_join_on_the_group(faces, tmp_path, grouping):
    predictions = faces[["image_id"]].assign(identity_id=faces["image_id"], score_Smiling=0.7)
    labels = faces[["image_id"]].assign(Smiling=1)
    settings = FairnessSettings(groupings=(grouping,), min_denominator=1, min_identities=1, n_boot=0, n_perm=0)
    write_csv(evaluate(predictions, labels, faces, settings)["group_metrics"], tmp_path / "group_metrics.csv")
    write_csv(acceptance.acceptance(faces, faces), tmp_path / "acceptance.csv")
    write_csv(acceptance.quality(faces, faces), tmp_path / "quality.csv")
    metrics = pd.read_csv(tmp_path / "group_metrics.csv").query("metric == 'accuracy'")
    expected = faces[faces["ethnicity"] != "unknown"].groupby(grouping.split("*")).size()
    for name, count in (("acceptance", "total"), ("quality", "images")):
        joined = metrics.merge(pd.read_csv(tmp_path / f"{name}.csv"), on=["grouping", "group"])
        joined = joined[joined["group"].map(lambda group: "unknown" not in group)]
        assert len(joined) == len(expected) and (joined["n_images"] == joined[count]).all()


def test_groupings_are_read_in_the_order_written():
    assert parse_grouping("ethnicity*gender", "k") == ("ethnicity", "gender")
    assert group_name(["black", "female"]) == "black|female"
    with pytest.raises(UserError, match=r"k: 'sex' is not known .*written gender\*ethnicity"):
        parse_grouping("age*sex", "k")
    with pytest.raises(UserError, match="k: 'age\\*age' names a dimension twice"):
        parse_grouping("age*age", "k")


def test_tables_with_the_older_spelling_still_open(faces, tmp_path):
    table = acceptance.acceptance(faces, faces)
    write_csv(table.assign(group=table["group"].str.replace("|", "*")), tmp_path / "old.csv")
    assert read_csv(tmp_path / "old.csv", "acceptance")["group"].tolist() == table["group"].tolist()
    differences = acceptance.differences(faces, faces)
    old = {column: differences[column].str.replace("|", "*") for column in ("lowest", "highest")}
    write_csv(differences.assign(**old), tmp_path / "old.csv")
    read = read_csv(tmp_path / "old.csv", "acceptance differences")
    assert read[["lowest", "highest"]].equals(differences[["lowest", "highest"]])


def test_a_method_s_groups_bear_the_names_of_the_tables(faces):
    problem = SimpleNamespace(faces=faces)
    numbers, names = Problem.groups(problem, ["ethnicity", "gender"])
    rows = zip(faces["ethnicity"], faces["gender"], numbers, strict=True)
    assert all(names[number] == group_name(levels) for *levels, number in rows)
    assert "black|female" in names and "unknown|male" in names
