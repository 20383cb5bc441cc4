"""Levels of a study: of the configuration, published ones, and those of data sets in words of their own."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from evenface import taxonomy
from evenface.configuration import check_config
from evenface.datasets import read
from evenface.datasets.faces import apply_demographics
from evenface.datasets.write import write_dataset
from evenface.errors import UserError
from evenface.recipes.flow import open_flow
from evenface.storage.tables import read_table
from evenface.taxonomy import DIMENSIONS, VOCABULARIES, dimensions_of, level_of, study_levels

ROOT = Path(__file__).parents[2]
MINE = yaml.safe_load(
    re.search(r"```yaml\n(demographics:\n  skin: \[light, tan.*?)```", (ROOT / "docs/own_data.md").read_text(), re.S)[1]
)


@pytest.mark.parametrize(
    ("classes", "dimension", "levels"),
    [
        (taxonomy.FAIRFACE_RACE_7, "ethnicity", "white black unknown asian asian unknown unknown"),
        (taxonomy.FACEXFORMER_RACE, "ethnicity", "white black unknown asian unknown"),
        (taxonomy.DEEPFACE_RACE, "ethnicity", "asian unknown black white unknown unknown"),
        (taxonomy.FAIRFACE_AGE, "age", "young young young young middle_aged middle_aged senior senior senior"),
        (taxonomy.FACEXFORMER_AGE, "age", "young young young middle_aged middle_aged senior senior senior"),
        (taxonomy.FAIRFACE_GENDER, "gender", "male female"), (taxonomy.FACEXFORMER_GENDER, "gender", "male female"),
        (taxonomy.DEEPFACE_GENDER, "gender", "female male"),
    ],
)  # fmt: skip
def test_classes_of_published_annotators_count_as_levels_of_the_study(classes, dimension, levels):
    assert taxonomy.levels_of_classes(classes, dimension) == dict(zip(classes, levels.split(), strict=True))


def test_classes_without_a_level_of_their_own_are_said_once(caplog):
    caplog.set_level("INFO")
    taxonomy.use_study({"ethnicity": ["white", "asian", "black", "others"]})
    for _ in range(3):
        assert taxonomy.levels_of_classes(taxonomy.FAIRFACE_RACE_7, "ethnicity")["East Asian"] == "asian"
    (said,) = [record.message for record in caplog.records]
    assert "East Asian counts as asian" in said and "Indian counts as unknown" in said and "White" not in said


def test_a_study_has_one_vocabulary():
    taxonomy.use_study({"ethnicity": "fairface", "skin": ["light", "dark"]})
    assert taxonomy.study()["skin"] == ("light", "dark") and taxonomy.study()["gender"] == DIMENSIONS["gender"]
    seven = taxonomy.levels_of_classes(taxonomy.FAIRFACE_RACE_7, "ethnicity")
    assert set(seven.values()) == set(taxonomy.study()["ethnicity"])
    with pytest.raises(UserError, match=r"demographics\.ethnicity"):
        taxonomy.use_study({"ethnicity": "fairfaces"})
    assert taxonomy.study()["skin"] == ("light", "dark")


@pytest.mark.parametrize(
    ("word", "dimension", "vocabulary", "level"),
    [
        ("East Asian", "ethnicity", "fairface", "east_asian"), ("East Asian", "ethnicity", "utkface", "asian"),
        ("Latino_Hispanic", "ethnicity", "utkface", "others"), ("Latino_Hispanic", "ethnicity", "fairface_4", "unknown"),
        ("Indian", "ethnicity", "evenface", "unknown"), ("middle eastern", "ethnicity", "fairface", "middle_eastern"),
        ("Asian", "ethnicity", "fairface", "unknown"), ("", "ethnicity", "fairface", "unknown"), ("Klingon", "ethnicity", "fairface", None),
        ("34", "age", "fairface", "30-39"), ("116", "age", "fairface", "70+"), ("20-29", "age", "facexformer", "20-29"),
        ("0-2", "age", "facexformer", "0-9"), ("15-25", "age", "fairface", "unknown"), ("140", "age", "fairface", None),
        ("70+", "age", "evenface", "senior"), ("25-35", "age", "evenface", "unknown"), ("29.5", "age", "evenface", "young"),
    ],
)  # fmt: skip
def test_a_word_means_the_level_that_contains_it(word, dimension, vocabulary, level):
    assert level_of(word, dimension, VOCABULARIES[vocabulary][dimension]) == level


def test_bands_of_age():
    assert taxonomy.years_of("20-29") == (20, 30) and taxonomy.years_of("70+") == (70, math.inf)
    assert taxonomy.years_of("9-3") is None and taxonomy.years_of("old") is None
    assert [taxonomy.level_of_years(y, ("0-19", "20-39")) for y in (0, 19.9, 20, 40)] == [
        "0-19",
        "0-19",
        "20-39",
        "unknown",
    ]


@pytest.fixture
def folder(tmp_path):
    """Pictures and a table in a form of docs/own_data.md."""
    (tmp_path / "pictures/sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        name = f"{'sub/' * (i % 2)}{i:03d}.png"
        Image.fromarray(rng.integers(0, 255, (20, 16, 3), dtype=np.uint8)).save(tmp_path / "pictures" / name)
        rows.append(
            [name, f"p{i // 3}", ["light", "Dark", "TAN", "brown"][i // 3 % 4], i % 2, int(i % 3 == 0), int(i % 5 == 0)]
        )
    table = pd.DataFrame(rows, columns=["image", "person", "skin", "smiling", "glasses", "hat"])
    table.to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path


def settings(folder, **more):
    own = {key: value for key, value in MINE["datasets"]["mine"].items() if key != "reader"}
    places = {"name": "mine", "root": str(folder / "pictures"), "table": str(folder / "labels.csv")}
    return own | places | {"vocabulary": MINE["demographics"]} | more


def spoiled(folder, change):
    change(pd.read_csv(folder / "labels.csv")).to_csv(folder / "labels.csv", index=False)
    return folder


def test_a_folder_of_pictures_with_a_table(folder):
    faces, rejected, summary = read("table", settings(folder))
    assert dimensions_of(faces.columns) == ["gender", "age", "ethnicity", "skin"]
    assert set(faces["skin"]) == {"light", "tan", "brown", "dark"} and set(faces["gender"]) == {"unknown"}
    assert faces["smiling"].dtype == np.int8 and set(faces["smiling"]) == {-1, 1}
    assert not len(rejected) and summary["identities"] == 20 and summary["groups"]["skin"]["dark"] == 15
    assert faces.groupby("identity_id")["split"].nunique().max() == 1
    assert summary["splits"] == {"train": 48, "val": 6, "test": 6}
    again = read("table", settings(spoiled(folder, lambda t: t.sample(frac=1, random_state=1))))[0]
    both = faces.set_index("image_id")["split"], again.set_index("image_id")["split"]
    pd.testing.assert_series_equal(both[0], both[1].reindex(both[0].index))


def test_official_splits_are_kept(folder):
    words = ["Training", "val", "TEST"]
    spoiled(folder, lambda t: t.assign(fold=[words[i % 3] for i in range(len(t))]))
    faces, _, summary = read("table", settings(folder, columns={"identity": "person", "split": "fold"}))
    assert faces["split"].tolist() == ["train", "val", "test"] * 20 and summary["splits_from"] == "fold"


def test_words_of_a_data_set_and_what_became_of_them(folder):
    race = ["East Asian", "Southeast Asian", "Indian", "Caucasian", "White"]
    spoiled(folder, lambda t: t.assign(race=[race[i % 5] for i in range(len(t))], years=range(len(t))))
    given = settings(
        folder, columns={"identity": "person", "ethnicity": "race", "age": "years"}, levels={"ethnicity": {"Caucasian": "white"}},
        vocabulary={"ethnicity": "utkface", "age": ["0-19", "20-39", "40+"], **MINE["demographics"]},
    )  # fmt: skip
    faces, _, summary = read("table", given)
    assert faces["ethnicity"].tolist() == ["asian", "asian", "indian", "white", "white"] * 12
    assert summary["groups"]["age"] == {"0-19": 20, "20-39": 20, "40+": 20, "unknown": 0}
    assert summary["levels_from_words"]["ethnicity"] == {
        "Caucasian": {"level": "white", "images": 12}, "East Asian": {"level": "asian", "images": 12},
        "Southeast Asian": {"level": "asian", "images": 12},
    }  # fmt: skip


BAD = {
    "an unknown level": (lambda t: t.assign(skin=["green", *t["skin"][1:]]), {}, ["row 1", "'green'", "levels: {skin: {green: light}}", "demographics.skin"]),
    "one class": (lambda t: t.assign(hat=0), {}, ["labels.csv", "'hat'", "only one class (absent)", "datasets.mine.attributes"]),
    "an image twice": (lambda t: pd.concat([t, t[:1]]), {}, ["line 62", "000.png", "already listed in line 2"]),
    "a picture that is not there": (lambda t: t.replace("000.png", "none.png"), {}, ["1 of the 60 images", "none.png", "datasets.mine.max_unreadable"]),
    "another coding": (lambda t: t.assign(hat=t["hat"] + 1), {}, ["labels.csv line", "hat", "zero_one allows 1, 0"]),
    "a split of another name": (lambda t: t.assign(fold="holdout"), {"columns": {"split": "fold"}}, ["line 2", "holdout", "train, val or test"]),
    "a missing column": (lambda t: t, {"columns": {"identity": "who"}}, ["labels.csv", "who"]),
    "a role that does not exist": (lambda t: t, {"columns": {"person": "person"}}, ["datasets.mine.columns", "identity"]),
    "no person": (lambda t: t.assign(person=["", *t["person"][1:]]), {}, ["line 2", "names no person"]),
    "a folder that is not there": (lambda t: t, {"root": "nowhere"}, ["nowhere: no such folder", "datasets.mine.root"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused(folder, case):
    change, more, sentences = BAD[case]
    spoiled(folder, change)
    with pytest.raises(UserError) as caught:
        read("table", settings(folder, **more))
    assert all(sentence in str(caught.value) for sentence in sentences), caught.value


def test_the_remedies_for_an_unknown_level_are_accepted(folder):
    spoiled(folder, lambda t: t.assign(skin=["green", *t["skin"][1:]]))
    faces = read("table", settings(folder, levels={"skin": {"green": "light"}}))[0]
    assert faces["skin"][0] == "light"
    more = {"skin": [*MINE["demographics"]["skin"], "green"]}
    assert read("table", settings(folder, vocabulary=more))[0]["skin"][0] == "green"


def test_a_table_of_demographics_may_have_dimensions_of_the_study(folder):
    faces = read("table", settings(folder))[0]
    pd.DataFrame(
        {"image_id": faces["image_id"], "ethnicity": ["East Asian", "white"] * 30, "skin": ["Light", "pale"] * 30}
    ).to_csv(folder / "d.csv", index=False)
    vocabulary = study_levels(MINE["demographics"])
    found, _ = apply_demographics(faces, folder / "d.csv", vocabulary, {"skin": {"pale": "light"}})
    assert set(found["skin"]) == {"light"} and found["ethnicity"].tolist()[:2] == ["asian", "white"]
    with pytest.raises(UserError, match=r"skin of image .* 'pale' is not known.*levels: \{skin: \{pale: light\}\}"):
        apply_demographics(faces, folder / "d.csv", vocabulary)


def test_the_written_table_is_checked_against_the_study(folder):
    paths = {key: folder / f"{key}.x" for key in ("faces", "rejected", "summary")}
    write_dataset("table", settings(folder), **paths)
    assert dimensions_of(read_table(paths["faces"]).columns)[-1] == "skin"
    assert json.loads(paths["summary"].read_text())["groups"]["skin"]["tan"] == 15


def config(**changes):
    """The shipped configuration under that of docs/own_data.md."""
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    for key, value in {**MINE, **changes}.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) else value
    return base


def test_the_configuration_of_the_docs_is_short_and_accepted():
    text = re.search(
        r"```yaml\n(demographics:\n  skin: \[light, tan.*?)```", (ROOT / "docs/own_data.md").read_text(), re.S
    )[1]
    assert len(text.splitlines()) < 25
    checked = check_config(config())
    assert set(checked["runs"]) == {"real"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"demographics": {"ethnicity": "utkfaces"}}, "demographics.ethnicity: 'utkfaces' is not known; did you mean 'utkface'"),
        ({"demographics": {"skin": "utkface"}}, "list its levels: no published vocabulary has this dimension"),
        ({"demographics": {"age": ["old", "new"]}}, "bands of age say their years, such as 20-39"),
        ({"demographics": {"skin": ["a|b", "c"]}}, "a level cannot have a |"),
        ({"demographics": {"skin": ["a", "unknown"]}}, "nor be unknown"),
        ({"demographics": {"skin": ["a", "a"]}}, "lists a level twice"),
        ({"evaluation": {"groupings": ["skn"], "dataset": "mine", "attributes": ["hat"]}}, "'skn' is not known; did you mean 'skin'"),
        ({"evaluation": {"perm_within": ["age"], **MINE["evaluation"]}}, "evaluation.perm_within"),
        ({"training": {"attributes": ["smilling"]}, "evaluation": {**MINE["evaluation"], "attributes": ["smilling"]}}, "training.attributes: 'smilling' is not known; did you mean 'smiling'"),
        ({"datasets": {"mine": {**MINE["datasets"]["mine"], "levels": {"skin": {"pale": "lihgt"}}}}}, "datasets.mine.levels.skin.pale: 'lihgt' is not known"),
        ({"datasets": {"mine": {**MINE["datasets"]["mine"], "levels": {"tone": {"pale": "light"}}}}}, "datasets.mine.levels: 'tone' is not known"),
        ({"runs": {"real": {"synthetic": True}, "real+synthetic": None, "synthetic": None}}, "generation.generator is empty"),
    ],
)  # fmt: skip
def test_slips_in_levels_are_named(changes, sentence):
    with pytest.raises(UserError) as caught:
        check_config(config(**changes))
    assert sentence in str(caught.value)


def test_only_stand_ins_that_results_rest_on_are_said():
    assert open_flow(config(), ROOT).evaluation.report_recipe()["standins"] == {}
    shipped = open_flow(yaml.safe_load((ROOT / "config.yaml").read_text()), ROOT).evaluation.report_recipe()["standins"]
    assert set(shipped) == {"celeba", "maad_face", "annotated"}
