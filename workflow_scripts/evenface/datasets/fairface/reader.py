"""FairFace (Kärkkäinen and Joo, WACV 2021): 97,698 pictures with gender, nine bands of age and seven races.

The folder holds ``fairface_label_train.csv`` and ``fairface_label_val.csv`` with the columns file, age, gender, race and
service_test, and the pictures that they name (``train/1.jpg``), directly or in the folder of the published archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from evenface.datasets import faces as table
from evenface.datasets.fairface import FairFaceSettings
from evenface.datasets.presence import below, instead
from evenface.datasets.splits import assign_splits
from evenface.errors import UserError
from evenface.storage.columns import ColumnReader, Rows, check_unique

#: The published lists: of the pictures to train with, and of those that results are published of.
_TABLES = {"train": "fairface_label_train.csv", "val": "fairface_label_val.csv"}
_FOLDERS = ("", "fairface-img-margin025-trainval", "fairface-img-margin125-trainval")
_ALSO = {"image_id": ("file",), "ethnicity": ("race",)}
_DIMENSIONS = ("gender", "age", "ethnicity")


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces, rejected images and a summary.

    Settings: those of :class:`FairFaceSettings`. The published validation list is the test set, as in published results: no
    other list has labels. A ninth of the training list's size, drawn in all groups, is the validation set: 10 % of the list.
    Every image is its own person. The only attribute is Male. Raises UserError naming file and line.
    """
    values = table.take_settings("fairface", settings, FairFaceSettings)
    root, dataset = Path(values["root"]), values["name"]
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set the data set's root to the folder with {_TABLES['train']}")
    folder = _folder(root)
    images = table.list_images(folder, depth=1)
    parts, rejected, facts = [], [], {"pictures_in": str(folder), "identities_known": False}
    for split, name in _TABLES.items():
        rows, unused = _rows(root / name, split, values)
        there = {image: path for image, path in images.items() if image.startswith(f"{split}/")}
        present, others = table.matched(values, root / name, rows.texts["image_id"].to_pylist(), there, folder)
        rejected += others
        kept = rows.taken(np.asarray(present))
        part = pd.DataFrame({key: texts.to_pylist() for key, texts in kept.texts.items()})
        part["service"], part["split"] = kept.numbers["service_test"] > 0, "train" if split == "train" else "test"
        facts |= {f"rows_{split}": len(rows.lines), f"service_test_{split}": int(part["service"].sum())}
        facts |= table.note_unused(root / name, unused)
        parts.append(part)
    listed = pd.concat(parts, ignore_index=True)
    if values["service_test"] == "only":
        leave = listed["split"].eq("test") & ~listed["service"]
        rejected += [
            table.rejected_row(dataset, name, images[name], "not_service_test", "service_test: only")
            for name in listed["image_id"][leave]
        ]
        listed = listed[~leave].reset_index(drop=True)
        if not listed["split"].eq("test").any():
            raise UserError(
                f"{root / _TABLES['val']}: no row has service_test True; set datasets.{dataset}.service_test: all"
            )
    faces = table.build_faces(
        {
            "image_id": dataset + "/" + listed["image_id"],
            "image": [images[name] for name in listed["image_id"]],
            "identity_id": dataset + "/" + listed["image_id"],
            "split": listed["split"],
            "dataset": dataset,
            **{dimension: listed[dimension] for dimension in _DIMENSIONS},
            "demographics_source": "FairFace lists",
            "labels_source": "FairFace lists",
        },
        {"Male": listed["gender"].str.lower().map({"male": 1, "female": -1}).fillna(0)},
        values,
    )
    train = faces["split"].eq("train")
    faces.loc[train, "split"] = assign_splits(faces[train], seed=0, shares={"train": 0.9, "val": 0.1}).astype("str")
    return table.complete("fairface", values, faces, rejected, facts)


def _rows(path: Path, split: str, values: Mapping[str, Any]) -> tuple[Rows, list[str]]:
    """The checked rows of a list, with age bands as ``70+``, and the columns that are not read."""

    def service(text: str) -> int:
        if text.lower() not in ("true", "false"):
            raise ValueError("it must be True or False")
        return 1 if text.lower() == "true" else -1

    reader = ColumnReader(path, ["image_id", *_DIMENSIONS], {"service_test": service}, also=_ALSO)
    rows = reader.read()
    rows.texts["age"] = pc.replace_substring(rows.texts["age"], "more than 70", "70+")
    names = rows.texts["image_id"].to_pylist()
    check_unique(path, names, rows.lines)
    for name, line in zip(names, rows.lines.tolist(), strict=True):
        if not name.startswith(f"{split}/"):
            said = f"file is {name!r}, but this list names pictures of {split}/, such as {split}/1.jpg"
            raise UserError(f"{path} line {line}: {said}; get the list again")
    for dimension in _DIMENSIONS:
        own = values["levels"].get(dimension, {})
        table.levels_of(path, rows, dimension, values["vocabulary"][dimension], own)
    return rows, reader.unused


def _folder(root: Path) -> Path:
    for name in _FOLDERS:
        if (root / name / "val").is_dir():
            return root / name
    raise UserError(
        f"{root}: neither train/ and val/ nor {_FOLDERS[1]} is there; {instead([], below(root))}. Unpack the pictures there"
    )
