"""Pictures made elsewhere: a folder and a table become the faces of a generator."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from evenface.configuration import check_config
from evenface.datasets.synthetic import shard_demographics
from evenface.errors import UserError
from evenface.generators.shards import generate_shard
from evenface.plan.shards import build_plans, requests_of
from evenface.storage.shards import read_shard

HEADER = "image,prompt,gender,age,ethnicity,Smiling"
ROWS = (
    "a/1.png,a smiling woman,female,27,Caucasian,1",
    "a/2.jpg,,Man,,East Asian,",
    "b/3.png,a tall person,,70+,,-1",
)


@pytest.fixture
def config(root, tmp_path):
    for i, row in enumerate(ROWS):
        path = tmp_path / "made" / row.partition(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((30 + i, 20, 3), 40 * i, np.uint8)).save(path)
    (tmp_path / "made.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    found = yaml.safe_load((root / "config.yaml").read_text())
    found["generation"] |= {"generator": "folder", "also": None}
    found["generation"]["settings"]["folder"] = {"root": str(tmp_path / "made"), "table": str(tmp_path / "made.csv")}
    found["annotation"] |= {"annotators": ["facexformer"], "labels_from": "requested", "demographics_from": "requested"}
    found["screening"]["magface"]["weights"] = None
    return found


def plan_of(config):
    return build_plans(check_config(config))["folder"]


def test_a_row_is_a_picture_with_what_is_said_of_it(config, tmp_path):
    plan = plan_of(config)
    assert len(plan) == 3 and len(plan.shards) == 1
    first, second, third = plan.recipes.values()
    assert (first["gender"], first["age"], first["ethnicity"]) == ("female", "young", "white")
    assert first["attributes"] == {"Smiling": 1} and first["prompt"] == "a smiling woman"
    assert (second["gender"], second["age"], second["ethnicity"], second["prompt"]) == ("male", "unknown", "asian", "")
    assert (third["age"], third["gender"], third["attributes"]) == ("senior", "unknown", {"Smiling": -1})
    assert all(recipe["negative_prompt"] == "" for recipe in plan.recipes.values())
    (recipe,) = plan.shards.values()
    assert {request.initial_image for request in requests_of(recipe)} == {
        str(tmp_path / "made" / row.partition(",")[0]) for row in ROWS
    }


def made(config, folder):
    plan = plan_of(config)
    for name, recipe in plan.shards.items():
        generate_shard(recipe, folder / f"{name}.tar", {"files": {}})
    return [folder / f"{name}.tar" for name in plan.shards]


def test_the_shard_holds_the_pictures_unchanged_and_says_where_they_come_from(config, tmp_path):
    (path,) = made(config, tmp_path)
    with read_shard(path) as shard:
        rows = {json.loads(row["provenance"])["file"]: row for row in shard.rows()}
        one = rows[str(tmp_path / "made/b/3.png")]
        assert (shard.image(one["member"]) == np.full((32, 20, 3), 80, np.uint8)).all()
        assert one["digital_source_type"].endswith("trainedAlgorithmicMedia") and one["truth"] == ""
    people = shard_demographics([str(path)]).set_index("image_id")
    assert sorted(people["ethnicity"]) == ["asian", "unknown", "white"]


def test_people_of_several_pictures_are_one_identity(config, tmp_path):
    table = tmp_path / "made.csv"
    rows = [f"{row},{who}" for row, who in zip(ROWS, ("ann", "ann", ""), strict=True)]
    table.write_text("\n".join([f"{HEADER},person", *rows]) + "\n")
    config["generation"]["settings"]["folder"]["columns"] = {"identity": "person"}
    (path,) = made(config, tmp_path)
    with read_shard(path) as shard:
        identities = [row["identity_id"] for row in shard.rows()]
    assert identities.count("folder/ann") == 2 and len(set(identities)) == 2


def test_an_edited_row_touches_its_own_picture_and_a_new_one_adds_itself(config, tmp_path):
    before = plan_of(config)
    table = tmp_path / "made.csv"
    table.write_text(table.read_text().replace("a tall person", "a short person"))
    after = plan_of(config)
    assert len({*before.recipes} & {*after.recipes}) == 2
    Image.new("RGB", (9, 9)).save(tmp_path / "made/4.png")
    table.write_text(table.read_text() + "4.png,,,,,\n")
    assert {*after.recipes} < {*plan_of(config).recipes}


def test_a_picture_that_changed_is_read_again_and_others_are_copied(config, tmp_path, caplog):
    caplog.set_level("INFO")
    made(config, tmp_path)
    Image.new("RGB", (7, 7), "red").save(tmp_path / "made/a/1.png")
    table = tmp_path / "made.csv"
    table.write_text(table.read_text().replace("a tall person", "a short person"))
    (path,) = made(config, tmp_path)
    assert "1 of 3 pictures are in earlier files" in caplog.text
    with read_shard(path) as shard:
        shapes = {shard.image(row["member"]).shape[:2] for row in shard.rows()}
    assert shapes == {(7, 7), (31, 20), (32, 20)}


def test_another_generator_draws_the_catalogue_beside_it(config):
    config["generation"] |= {"generator": ["parametric", "folder"]}
    plans = build_plans(check_config(config))
    assert len(plans["folder"]) == 3 and len(plans["parametric"]) == 720
    config["generation"] |= {"generator": "parametric", "also": {"folder": 2}}
    assert len(build_plans(check_config(config))["folder"]) == 2


def test_prompts_of_the_catalogue_are_not_read_for_it_alone(config):
    config["generation"]["prompts"] = {"file": "not/there.csv", "factorial": None}
    assert len(plan_of(config)) == 3


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("a/1.png", "a/9.png", r"row 2: the picture .*a/9\.png does not exist; correct its name, or remove the row"),
        ("a/2.jpg", "./a/1.png", r"row 3: the picture 'a/1\.png' is already in row 2"),
        ("a/1.png", "../1.png", r"row 2: image is '\.\./1\.png'; write the name of a picture, relative to"),
        ("a/1.png,", ",", "row 2: image is ''"),
        ("Caucasian", "martian", r"row 2, ethnicity: 'martian' is not known .*leave it empty"),
        (",27,", ",270,", "row 2, age: '270' is not known"),
        (",1\n", ",2\n", "row 2: Smiling is '2'; write 1, -1, or leave it empty"),
        (
            "image,",
            "picture,",
            r"column 'image' is missing; the header has picture.*generation\.settings\.folder\.columns\.image",
        ),
        (
            "gender,",
            "Gender,",
            "the column 'Gender' is not read; name it gender, or set generation.settings.folder.columns.gender",
        ),
    ],
)
def test_bad_tables_are_refused_with_row_and_remedy(config, tmp_path, old, new, sentence):
    table = tmp_path / "made.csv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=sentence):
        plan_of(config)


def test_the_remedy_for_other_names_is_accepted(config, tmp_path):
    table = tmp_path / "made.csv"
    table.write_text(
        table.read_text().replace("image,", "picture,").replace("gender,", "Gender,").replace("Smiling", "smiles")
    )
    config["generation"]["settings"]["folder"]["columns"] = {
        "image": "picture",
        "gender": "Gender",
        "Smiling": "smiles",
    }
    assert [recipe["gender"] for recipe in plan_of(config).recipes.values()] == ["female", "male", "unknown"]
    config["generation"]["settings"]["folder"]["columns"]["height"] = "h"
    with pytest.raises(UserError, match="'height' is not known"):
        plan_of(config)


def test_a_table_without_rows_and_a_folder_that_is_not_there(config, tmp_path):
    (tmp_path / "made.csv").write_text(HEADER + "\n")
    with pytest.raises(UserError, match="lists no picture"):
        plan_of(config)
    config["generation"]["settings"]["folder"]["root"] = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no such folder; set generation\.settings\.folder\.root"):
        plan_of(config)


def test_a_picture_that_cannot_be_read_is_named(config, tmp_path):
    (tmp_path / "made/a/2.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a/2\.jpg.*replace the picture, or remove its row from .*made\.csv"):
        made(config, tmp_path)
    assert not list(tmp_path.glob("*.tar"))


def test_networks_of_renderings_do_not_label_pictures_that_are_not_said_to_be_renderings(config):
    config["annotation"]["annotators"] = ["trained_here"]
    with pytest.raises(UserError, match="faces of the generator folder"):
        check_config(config)
    config["generation"]["settings"]["folder"]["pictures"] = "renderings"
    check_config(config)
