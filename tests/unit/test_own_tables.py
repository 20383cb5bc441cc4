"""Tables of one's own: what is recognised, what is refused, and that the result is that of the library."""

import numpy as np
import pandas as pd
import pytest

from evenface.errors import UserError
from evenface.fairness import evaluate
from evenface.fairness.own_tables import read_own_tables

N = 120


@pytest.fixture
def tables():
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(30), 4)
    image = [f"p{p}/{k}.jpg" for k, p in enumerate(person)]
    label = rng.integers(0, 2, (N, 2))
    scores = np.clip(rng.normal(0.3 + 0.4 * label, 0.25), 0, 1).round(4)
    predictions = pd.DataFrame({"image": image, "glasses": scores[:, 0], "hat": scores[:, 1]})
    labels = pd.DataFrame({"image": image, "glasses": label[:, 0], "hat": label[:, 1]})
    skin = np.array(["light", "medium", "dark"])[person % 3]
    groups = pd.DataFrame({"image": image, "person": person, "skin": skin, "sex": np.array(["f", "m"])[person % 2]})
    return predictions, labels, groups


def written(folder, **tables):
    paths = {}
    for name, table in tables.items():
        paths[name] = folder / f"{name}.csv"
        table.to_csv(paths[name], index=False)
    return paths


QUICK = {"n_boot": 50, "n_perm": 50, "min_denominator": 1, "min_identities": 1}


def read(folder, predictions, labels, groups=None, **options):
    paths = written(folder, predictions=predictions, labels=labels, **({} if groups is None else {"groups": groups}))
    return read_own_tables({"mine": paths["predictions"]}, paths["labels"], paths.get("groups"), **options)


def test_the_tables_are_those_of_the_library(tmp_path, tables):
    predictions, labels, groups = tables
    own = read(tmp_path, *tables, **QUICK)
    assert own.settings.levels == {"skin": ("dark", "light", "medium"), "sex": ("f", "m")}
    assert own.settings.groupings == ("skin", "sex", "skin*sex")
    assert [note.split(":")[0] for note in own.notes][:1] == ["people are those of the column 'person' of groups.csv"]
    assert "labels.csv: label 1 is present, 0 is absent" in own.notes
    found = evaluate(own.predictions, own.labels, own.groups, own.settings)["group_metrics"]
    both = predictions.merge(groups, on="image").assign(label=labels["glasses"])
    inside = both[(both["skin"] == "dark") & (both["label"] == 1)]
    row = found.query("attribute == 'glasses' and group == 'dark' and metric == 'tpr'").iloc[0]
    assert row["value"] == (inside["glasses"] >= 0.5).mean() and row["n_identities"] == inside["person"].nunique()


def test_the_person_may_be_in_any_table(tmp_path, tables):
    predictions, labels, groups = tables
    expected = read(tmp_path, *tables).predictions["mine"]
    person = groups.pop("person")
    for place in range(3):
        moved = [t.assign(who=person) if k == place else t for k, t in enumerate((predictions, labels, groups))]
        found = read(tmp_path, *moved, identity="who").predictions["mine"]
        pd.testing.assert_frame_equal(found, expected)
    assert "identity_id" not in read(tmp_path, predictions, labels, groups).predictions["mine"]


def test_groups_may_be_columns_of_other_tables(tmp_path, tables):
    predictions, labels, groups = tables
    joined = labels.merge(groups, on="image")
    own = read(tmp_path, predictions.sample(frac=1, random_state=1), joined, by=["skin"])
    assert own.settings.groupings == ("skin",) and list(own.groups.columns) == ["image_id", "skin"]
    assert set(own.labels.columns) == {"image_id", "glasses", "hat"}


@pytest.mark.parametrize("form", [{0: 0, 1: 1}, {0: -1, 1: 1}, {0: False, 1: True}, {0: "False", 1: "TRUE"}])
def test_labels_are_recognised(tmp_path, tables, form):
    predictions, labels, groups = tables
    changed = labels.assign(**{a: labels[a].map(form).astype(object) for a in ("glasses", "hat")})
    changed.loc[3, "hat"] = None
    own = read(tmp_path, predictions, changed, groups)
    expected = np.where(labels["hat"] == 1, 1, -1)
    expected[3] = 0
    assert own.labels["hat"].tolist() == expected.tolist()


@pytest.mark.parametrize("values", [[-1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 2]])
def test_labels_that_could_mean_two_things_need_a_word(tmp_path, tables, values):
    predictions, labels, groups = tables
    changed = labels.assign(**{a: np.resize(values, N) for a in ("glasses", "hat")})
    with pytest.raises(UserError, match=r"labels\.csv: the labels are .*--label-coding: zero_one"):
        read(tmp_path, predictions, changed, groups)
    if values != [0, 1, 2]:
        assert len(read(tmp_path, predictions, changed, groups, label_coding="minus_one_one").labels) == N
    else:
        with pytest.raises(UserError, match=r"row 3, column 'glasses': label 2 is not one of"):
            read(tmp_path, predictions, changed, groups, label_coding="zero_one")


@pytest.mark.parametrize("form", [{0: 0, 1: 1}, {0: -1, 1: 1}, {0: False, 1: True}])
def test_decisions_are_recognised(tmp_path, tables, form):
    predictions, labels, groups = tables
    decided = predictions.assign(**{a: (predictions[a] >= 0.5).astype(int).map(form) for a in ("glasses", "hat")})
    frame = read(tmp_path, decided, labels, groups).predictions["mine"]
    assert frame["pred_hat"].tolist() == (predictions["hat"] >= 0.5).astype(int).tolist()


@pytest.mark.parametrize(
    ("factor", "shift", "said"),
    [(100, 0, "divide them by 100"), (6, -3, "apply the sigmoid"), (1000, 0, "apply the sigmoid")],
)
def test_values_that_are_no_scores_are_refused(tmp_path, tables, factor, shift, said):
    predictions, labels, groups = tables
    with pytest.raises(UserError, match=rf"predictions\.csv, row \d+, column 'glasses': .* is no score.*{said}"):
        read(tmp_path, predictions.assign(glasses=predictions["glasses"] * factor + shift), labels, groups)


def test_what_cannot_be_read_is_named(tmp_path, tables):
    predictions, labels, groups = tables

    def refused(pattern, *tables, **options):
        with pytest.raises(UserError, match=pattern):
            read(tmp_path, *tables, **options)

    refused(
        "no column 'image' names the image; .*--image NAME", predictions.rename(columns={"image": "x"}), labels, groups
    )
    refused("no table has the column 'who'", *tables, identity="who")
    refused("no groups: give --groups, or name columns", predictions, labels)
    refused("'skn' is not known; did you mean 'skin'", *tables, by=["skn"])
    refused("row 5, column 'hat': the prediction is missing", predictions.assign(hat=predictions["hat"].mask(labels.index == 4)), labels, groups)  # fmt: skip
    refused("row 2, column 'hat': 'maybe' is no number", predictions, labels.assign(hat=["1", "maybe", *["0"] * (N - 2)]), groups)  # fmt: skip
    refused("no column has the name of a predicted attribute", predictions, labels.rename(columns=str.upper), groups)
    refused("120 different values, such as '0'; write bands", predictions, labels, groups.assign(age=range(N)))
    refused("the level 'a|b' has a", predictions, labels, groups.assign(skin="a|b"))
    other = groups[["image", "person"]].assign(person=groups["person"].where(groups.index != 7, 99))
    refused("person of image 'p1/7.jpg' is '99'.*another table says '1'", predictions.merge(other, on="image"), labels, groups)  # fmt: skip


def test_texts_after_many_numbers_are_still_people(tmp_path, tables):
    predictions, labels, groups = tables
    groups = groups.rename(columns={"person": "who"}).assign(who=[*range(N - 1), "Ann"])
    assert (
        read(tmp_path, predictions, labels, groups, identity="who").predictions["mine"]["identity_id"].iloc[-1] == "Ann"
    )


def test_levels_are_in_natural_order(tmp_path, tables):
    predictions, labels, groups = tables
    ages = np.array(["20-29", "3-9", "0-2", "10-19", "70+"])[np.arange(N) % 5]
    own = read(tmp_path, predictions, labels, groups.assign(age=ages), by=["age"])
    assert own.settings.levels["age"] == ("0-2", "3-9", "10-19", "20-29", "70+")


def test_parquet_and_semicolons(tmp_path, tables):
    predictions, labels, groups = tables
    predictions.to_parquet(tmp_path / "p.parquet")
    labels.to_csv(tmp_path / "l.csv", sep=";", index=False)
    groups.to_csv(tmp_path / "g.tsv", sep="\t", index=False)
    own = read_own_tables({"a": tmp_path / "p.parquet"}, tmp_path / "l.csv", tmp_path / "g.tsv")
    expected = read(tmp_path, *tables)
    pd.testing.assert_frame_equal(own.labels, expected.labels)
    pd.testing.assert_frame_equal(own.predictions["a"], expected.predictions["mine"])
