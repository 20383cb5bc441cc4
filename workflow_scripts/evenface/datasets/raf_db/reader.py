"""RAF-DB, single-label part (Li, Deng and Du, CVPR 2017): 15,339 faces with one of seven expressions.

The published folder, ``basic``, holds ``EmoLabel/list_patition_label.txt`` (lines such as ``train_00001.jpg 5``),
``Image/aligned/train_00001_aligned.jpg`` or ``Image/original/train_00001.jpg``, and ``Annotation/manual`` with a file per
picture, whose last three lines are gender, race and age.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets import faces as table
from evenface.datasets.emotions import EMOTIONS
from evenface.datasets.raf_db import PART
from evenface.datasets.settings import DatasetSettings
from evenface.datasets.splits import draw_missing
from evenface.errors import UserError
from evenface.storage.columns import ColumnReader, check_unique
from evenface.storage.text_tables import read_utf8, whole_number
from evenface.targets import columns_of
from evenface.taxonomy import UNKNOWN

log = logging.getLogger("evenface")

#: What the numbers of the list mean, from 1.
_ORDER = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
#: What the last three lines of a file of attributes mean, from 0.
_CODES = {
    "gender": ("male", "female", UNKNOWN),
    "ethnicity": ("Caucasian", "African-American", "Asian"),
    "age": ("0-3", "4-19", "20-39", "40-69", "70+"),
}


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces, rejected images and a summary.

    Settings: those of :class:`DatasetSettings`; ``root`` is the folder ``basic``. The target ``emotion`` has seven classes, and
    Male is the only attribute. The test images are the published ones; 10 % of the training images, of every expression, become
    the validation set. Every image is its own person. Without ``Annotation/manual`` demographics are unknown. Raises UserError
    naming file and line.
    """
    values = table.take_settings("raf_db", settings, DatasetSettings)
    root, dataset = Path(values["root"]), values["name"]
    path = next((root / name for name in PART.tables[0] if (root / name).is_file()), None)
    if path is None:
        raise UserError(f"{root}: {PART.tables[0][0]} is not there; set the data set's root to RAF-DB's folder basic")

    def code(text: str) -> int:
        if (value := whole_number(text)) not in range(1, 8):
            raise ValueError("it must be from 1 (Surprise) to 7 (Neutral)")
        return int(value)

    def published(given: list[str]) -> list[str] | None:
        return ["image", "label"] if len(given) == 2 and given[0].lower().endswith(table.IMAGE_SUFFIXES) else None

    rows = ColumnReader(path, ["image"], {"label": code}, headerless=published).read()
    names = rows.texts["image"].to_pylist()
    check_unique(path, names, rows.lines)
    for name, line in zip(names, rows.lines.tolist(), strict=True):
        if not name.startswith(("train_", "test_")):
            raise UserError(
                f"{path} line {line}: {name!r} begins neither with train_ nor with test_; get the list again"
            )
    folder = root / "Image" / "aligned"
    folder = folder if folder.is_dir() else root / "Image" / "original"
    files = table.list_images(folder, depth=0)
    images = {name.replace("_aligned.", "."): file for name, file in files.items()}
    present, rejected = table.matched(values, path, names, images, folder)
    found = pd.DataFrame({"name": np.array(names, object)[present], "code": rows.numbers["label"][present]})
    found["identity_id"], found["split"] = found["name"], found["name"].str.partition("_")[0]
    found["emotion"] = [_ORDER[one - 1] for one in found["code"]]
    found, drawn = draw_missing(found)
    attributes = root / "Annotation" / "manual"
    people = pd.DataFrame([_person(attributes, name) for name in found["name"]])
    lacking = int(people.eq(UNKNOWN).all(axis=1).sum())
    if lacking:
        log.warning("%s: %d images have no attributes in %s; their groups are unknown", path, lacking, attributes)
    faces = table.build_faces(
        {
            "image_id": dataset + "/" + found["name"],
            "image": [images[name] for name in found["name"]],
            "identity_id": dataset + "/" + found["name"],
            "split": found["split"],
            "dataset": dataset,
            **{dimension: people[dimension] for dimension in _CODES},
            "demographics_source": "Annotation/manual" if lacking < len(found) else "none",
            "labels_source": path.name,
        },
        {
            "Male": people["gender"].map({"male": 1, "female": -1}).fillna(0).to_numpy(),
            **columns_of("emotion", EMOTIONS, found["emotion"].tolist()),
        },
        values,
    )
    facts = {"rows": len(names), "pictures_in": str(folder), "splits_from": drawn, "identities_known": False}
    return table.complete("raf_db", values, faces, rejected, {**facts, "images_without_attributes": lacking})


def _person(folder: Path, name: str) -> dict[str, str]:
    """Dimension -> word, unknown if the picture has no file of attributes."""
    path = folder / f"{name.rpartition('.')[0]}_manu_attri.txt"
    if not path.is_file():
        return dict.fromkeys(_CODES, UNKNOWN)
    last = read_utf8(path).split()[-len(_CODES) :]
    codes = [whole_number(text) for text in last]
    if len(last) < len(_CODES) or any(c not in range(len(w)) for c, w in zip(codes, _CODES.values(), strict=True)):
        raise UserError(
            f"{path}: the last three lines must be the codes of gender, race and age, not {', '.join(last)}; get the file again"
        )
    return {dimension: words[int(code)] for code, (dimension, words) in zip(codes, _CODES.items(), strict=True)}
