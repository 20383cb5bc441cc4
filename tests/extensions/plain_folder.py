"""A stand-in format of one's own, and the reader of what it writes: pictures beside a list.csv."""

import csv
import json
from pathlib import Path

from evenface.parts import Needs, Reader, StandinFormat

_LABELS = ("Black_Hair", "Blond_Hair", "Smiling")


def write(name, config, seed, parts, outputs):
    from evenface.standins.assemble import sorted_rows, truth_table, write_images
    from evenface.storage.tables import write_table

    table = sorted_rows(parts)
    table["name"] = [f"{i:05d}.jpg" for i in range(len(table))]
    table["identity_name"] = table["identity"].astype(str)
    truths = [json.loads(text) for text in table["truth"]]
    write_images(table, Path(outputs["list"]).parent / "pictures")
    write_table(truth_table(table, truths), outputs["truth"], kind="standin_truth")
    with open(outputs["list"], "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "person", "split", "gender", "age", "ethnicity", *_LABELS])
        for row, truth in zip(table.itertuples(), truths, strict=True):
            people = [truth[dimension] for dimension in ("gender", "age", "ethnicity")]
            rows.writerow([row.name, row.identity, row.split, *people, *(truth["attributes"][a] for a in _LABELS)])


def read(settings):
    from evenface.datasets import faces
    from evenface.datasets.settings import DatasetSettings
    from evenface.storage.columns import ColumnReader, check_unique

    values = faces.take_settings("plain_folder", settings, DatasetSettings)
    root, name = Path(values["root"]), values["name"]
    meaning = faces.label_meaning(values["label_coding"], undefined=True)
    people = ("gender", "age", "ethnicity")
    rows = ColumnReader(root / "list.csv", ["file", "person", "split", *people], dict.fromkeys(_LABELS, meaning)).read()
    files = rows.texts["file"].to_pylist()
    check_unique(root / "list.csv", files, rows.lines)
    columns = {
        "image_id": [f"{name}/{file}" for file in files],
        "image": [str(root / "pictures" / file) for file in files],
        "identity_id": [f"{name}/{person}" for person in faces.identities_of(root / "list.csv", rows, "person")],
        **{column: rows.texts[column].to_pylist() for column in ("split", *people)},
        "dataset": name,
        "demographics_source": "list.csv",
        "labels_source": "list.csv",
    }
    return faces.complete("plain_folder", values, faces.build_faces(columns, rows.numbers, values), [], {})


PARTS = [
    StandinFormat(
        name="plain_folder",
        summary="Pictures beside a list.csv.",
        code=write,
        outputs={"list": "list.csv"},
        needs=Needs(mem_mb=1000, runtime=30, conda="generate"),
    ),
    Reader(
        name="plain_folder",
        summary="Pictures beside a list.csv.",
        code=read,
        tables=(("list.csv",),),
        needs=Needs(mem_mb=6000),
    ),
]
