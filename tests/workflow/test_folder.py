"""Pictures made elsewhere, in a folder with a table, go through screening, annotation and training to the report."""

import json

import pandas as pd
import pytest
import yaml
from PIL import Image

from evenface.storage.shards import read_shard
from evenface.storage.tables import read_table
from workflow.workflow import run

COLUMNS = ["file", "prompt", "gender", "age", "race", "Black_Hair", "Blond_Hair", "Smiling"]


@pytest.mark.slow
def test_a_folder_of_pictures_replaces_a_generator(tree):
    pictures = tree / "made"
    pictures.mkdir()
    rows = []
    for path in sorted((tree / "data/synthetic/parametric").glob("*.tar")):
        if path.name.endswith(".aligned.tar"):
            continue
        with read_shard(path) as shard:
            for row in shard.rows():
                name = f"{len(rows):02d}.png"
                Image.fromarray(shard.image(row["member"])).save(pictures / name)
                truth = json.loads(row["truth"])
                labels = [truth["attributes"][one] or "" for one in COLUMNS[5:]]
                rows.append([name, row["prompt"], truth["gender"], int(truth["years"]), truth["ethnicity"], *labels])
    pd.DataFrame(rows, columns=COLUMNS).to_csv(tree / "made.csv", index=False)
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    columns = {"image": "file", "ethnicity": "race"}
    folder = {"root": "made", "table": "made.csv", "columns": columns, "pictures": "renderings"}
    config["generation"] |= {"generator": "folder", "settings": {"folder": folder}}
    config["annotation"] |= {
        "annotators": ["trained_here"],
        "labels_from": "requested",
        "demographics_from": "requested",
    }
    config["runs"] |= {"real": None, "synthetic": None}
    config["evaluation"]["baseline"] = "real+synthetic"
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))

    run(tree)
    faces = read_table(tree / "data/faces/folder.parquet")
    rejected = read_table(tree / "data/faces/folder.rejected.parquet")
    assert len(faces) + len(rejected) == len(rows) and len(faces) > 8
    assert set(faces["demographics_source"]) == {"requested"} and set(faces["ethnicity"]) == {"black", "white"}
    assert set(faces["Black_Hair"]) == {-1, 1}
    manifest = json.loads((tree / "results/models/real+synthetic/1/model.json").read_text())
    assert manifest["data"]["by_dataset"]["folder"] == 8
    assert (tree / "results/figures/contact_sheet_folder.jpg").is_file()
    assert "folder" in set(pd.read_csv(tree / "results/representation.csv")["dataset"])
    assert (tree / "results/report.html").is_file()
    assert "Nothing to be done" in run(tree)
