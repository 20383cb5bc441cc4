"""FairFace's published files: pictures to train and to test with, and a list of each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evenface.seeds import seed_from
from evenface.standins.assemble import NOTE, shuffled, sorted_rows, truth_table, write_images
from evenface.standins.labels import class_label
from evenface.standins.population import settings_of
from evenface.storage.atomic import write_text
from evenface.storage.csv import write_csv
from evenface.storage.tables import write_table
from evenface.taxonomy import VOCABULARIES, level_of_years

_GENDERS = {"male": "Male", "female": "Female"}
_RACES = {
    "white": "White", "black": "Black", "latino_hispanic": "Latino_Hispanic", "east_asian": "East Asian",
    "southeast_asian": "Southeast Asian", "indian": "Indian", "middle_eastern": "Middle Eastern",
}  # fmt: skip


def assemble_fairface(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Write ``train/1.jpg``, ``val/1.jpg`` and so on, FairFace's two lists and the truth (Parquet) around ``outputs``.

    The lists have the columns file, age (a band of years), gender, race and service_test (about half of the pictures). The
    people of the test split are in FairFace's validation list, which results are published of, and all others in the list
    for training.
    """
    settings = settings_of(name, config)
    table = shuffled(sorted_rows(parts), name, seed)
    table["list"] = table["split"].map({"train": "train", "val": "train", "test": "val"})
    table["name"] = [
        f"{part}/{k}.jpg" for part, k in zip(table["list"], table.groupby("list").cumcount() + 1, strict=True)
    ]
    table["identity_name"] = table["identity"].astype(str)
    truths = [json.loads(t) for t in table["truth"]]
    root = Path(outputs["train"]).parent
    write_images(table, root, "train", "val")

    def noisy(what: str, words: Mapping[str, str]) -> list[str]:
        return [
            words[class_label(t[what], list(words), settings.label_noise, seed, name, image, what)]
            for image, t in zip(table["image_id"], truths, strict=True)
        ]

    bands = [level_of_years(t["years"], VOCABULARIES["fairface"]["age"]) for t in truths]
    labels = pd.DataFrame(
        {
            "file": table["name"],
            "age": ["more than 70" if band == "70+" else band for band in bands],
            "gender": noisy("gender", _GENDERS),
            "race": noisy("ethnicity", _RACES),
            "service_test": [
                "True" if seed_from(seed, name, "service", image) % 2 else "False" for image in table["image_id"]
            ],
        }
    )
    write_text(root / "README.txt", NOTE.format(real="FairFace"))
    write_table(truth_table(table, truths), outputs["truth"], kind="standin_truth", meta={"standin": name})
    for part in ("val", "train"):
        write_csv(labels[table["list"] == part], outputs[part])
