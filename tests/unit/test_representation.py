"""Diversity indices, their intervals, and attributes by group."""

import numpy as np
import pandas as pd
import pytest

from evenface.datasets.faces import support
from evenface.errors import UserError
from evenface.fairness.representation import (
    effective_people,
    index_bounds,
    indices,
    representation,
    write_representation,
)
from evenface.report.representation import representation_section
from evenface.storage.atomic import write_json
from evenface.storage.tables import write_table


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([7027, 968, 953, 724, 584], (1.0529, 0.6542, 2.0193, 0.4039)),
        ([5959, 4297], (0.6800, 0.9810, 1.9488, 0.9744)),
        ([4551, 3120, 1183, 760, 471, 140, 31], (1.3822, 0.7103, 3.2201, 0.4600)),
    ],
)
def test_indices_equal_published_values(counts, expected):
    found = indices(np.array(counts) / sum(counts))
    np.testing.assert_allclose([float(v) for v in found.values()], expected, atol=1e-4)


def test_a_lost_level_never_looks_more_even():
    assert indices([0.5, 0.5, 0.0])["shannon_evenness"] < indices([0.4, 0.4, 0.2])["shannon_evenness"]
    assert indices([0.5, 0.5, 0.0])["simpson_evenness"] == pytest.approx(2 / 3)


def test_effective_people():
    one_each = np.eye(2)[np.arange(60) % 2]
    assert effective_people(one_each) == pytest.approx(59)
    assert effective_people(one_each * 8) == pytest.approx(59)  # more images of the same people say no more
    mixed = np.full((60, 2), 4.0)
    assert effective_people(mixed) == 60  # all people are alike


@pytest.mark.parametrize("shares", [[1 / 3] * 3, [0.76, 0.12, 0.12], [0.5, 0.5, 0.0]])
def test_intervals_hold_the_truth(shares):
    """300 draws of 100 people with 1 to 7 images each; binomial noise of 95 % is 1.3 %."""
    rng, shares, hits = np.random.default_rng(5), np.array(shares), 0
    truth = {name: float(value) for name, value in indices(shares).items()}
    for _ in range(300):
        counts = np.zeros((100, 3))
        counts[np.arange(100), rng.choice(3, 100, p=shares)] = rng.integers(1, 8, 100)
        bounds = index_bounds(counts.sum(0) / counts.sum(), effective_people(counts))
        hits += all(low - 1e-9 <= truth[name] <= high + 1e-9 for name, (low, high) in bounds.items())
    assert hits / 300 > 0.92


def test_a_level_that_was_not_seen_may_exist():
    low, high = index_bounds(np.array([1.0, 0.0]), 20)["shannon_evenness"]
    assert low == 0 and 0.3 < high < 0.8


def faces(n=120):
    rng = np.random.default_rng(2)
    people = np.arange(n) // 2
    gender = np.array(["female", "male"], object)[people % 2]
    age = np.where(people % 10 == 0, "unknown", np.where(people % 3 == 0, "young", "senior"))
    return pd.DataFrame({
        "identity_id": [f"p{i}" for i in people], "dataset": "d", "split": np.where(people < 40, "train", "test"),
        "gender": gender, "age": age, "ethnicity": "asian",
        "Smiling": np.where(gender == "female", 1, -1).astype(np.int8),
        "Bald": rng.integers(-1, 2, n).astype(np.int8),
    })  # fmt: skip


def test_tables_say_what_the_faces_are(tmp_path):
    table = faces()
    write_table(table, tmp_path / "d.parquet", kind="faces")
    write_json(tmp_path / "d.json", {"groups": support(table)})
    files = {"out": tmp_path / "r.csv", "by_group": tmp_path / "g.csv"}
    sets = {"d": tmp_path / "d.parquet"}, {"d": tmp_path / "d.json"}
    write_representation(*sets, ["gender", "age", "gender*age", "ethnicity"], ["Smiling", "Bald", "Young"], **files)
    whole = pd.read_csv(files["out"]).query("split == 'all'").set_index("grouping")
    assert whole.loc["gender", "shannon_evenness"] == 1 and whole.loc["gender", "images"] == 120
    assert (
        whole.loc["age", "unknown"] == 12 and whole.loc["age", "levels"] == 3 and whole.loc["age", "levels_seen"] == 2
    )
    assert whole.loc["age", "smallest_group"] == "middle_aged"
    assert whole.loc["gender*age", "levels"] == 6
    assert whole.loc["ethnicity", ["shannon_evenness", "simpson"]].tolist() == [0, 1]
    by_group = pd.read_csv(files["by_group"]).query("split == 'all'").set_index(["attribute", "grouping", "group"])
    assert by_group.loc[("Smiling", "gender", "female"), "share"] == 1
    assert by_group.loc[("Smiling", "gender", "female"), "difference"] == 0.5
    bald = table[(table["gender"] == "male") & (table["Bald"] != 0)]["Bald"]
    row = by_group.loc[("Bald", "gender", "male")]
    assert row["labelled"] == len(bald) and row["share"] == pytest.approx((bald > 0).mean())
    assert row["low"] < row["share"] < row["high"]
    assert set(pd.read_csv(files["out"])["split"]) == {"all", "train", "test"}
    section = representation_section(pd.read_csv(files["out"]), pd.read_csv(files["by_group"]))
    assert section["figures"][0]["grouping"] == "gender" and "Smiling" in section["figures"][0]["plot"]


def test_an_empty_group_has_no_share():
    diversity, shares = representation(
        faces().assign(age="unknown"), {"age": ["young", "senior"]}, ["age"], ["Smiling"]
    )
    assert diversity["shannon"].isna().all() and shares["share"].isna().all() and (shares["images"] == 0).all()


def test_a_summary_without_levels_is_named(tmp_path):
    write_table(faces(), tmp_path / "d.parquet", kind="faces")
    write_json(tmp_path / "d.json", {})
    with pytest.raises(UserError, match=r"d\.json"):
        write_representation({"d": tmp_path / "d.parquet"}, {"d": tmp_path / "d.json"}, ["gender"], [],
                             out=tmp_path / "r.csv", by_group=tmp_path / "g.csv")  # fmt: skip
