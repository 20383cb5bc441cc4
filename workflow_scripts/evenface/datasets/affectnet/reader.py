"""AffectNet (Mollahosseini, Hasani and Mahoor, IEEE TAC 2017): faces with one of eight expressions, manually annotated.

The published lists, ``training.csv`` and ``validation.csv``, have the columns subDirectory_filePath, face_x, face_y, face_width,
face_height, facial_landmarks, expression, valence and arousal. Pictures lie in numbered folders below
``Manually_Annotated_Images``. The later release with ``annotations/*_exp.npy`` is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from evenface.datasets import faces as table
from evenface.datasets.affectnet import FOLDERS, LISTS, PART
from evenface.datasets.settings import DatasetSettings
from evenface.datasets.splits import draw_missing
from evenface.errors import UserError
from evenface.storage.columns import ColumnReader, check_unique
from evenface.storage.text_tables import whole_number
from evenface.targets import columns_of

#: What the numbers of the lists mean, from 0; the last three are no expression.
_ORDER = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
_OTHER = ("none", "uncertain", "no_face")
_NAME = "subDirectory_filePath"
_COLUMNS = (
    _NAME, "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression", "valence", "arousal",
)  # fmt: skip


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces, rejected images and a summary.

    Settings: those of :class:`DatasetSettings`. The target ``emotion`` has eight classes; there are no binary attributes and no
    demographics. The published validation list is the test set, as in published results; 10 % of the training images, of every
    expression, become the validation set. Images whose expression is None, Uncertain or No-Face are rejected. Every image is
    its own person. Raises UserError naming file and line.
    """
    values = table.take_settings("affectnet", settings, DatasetSettings)
    root, dataset = Path(values["root"]), values["name"]
    folder = next((root / name for name in FOLDERS if (root / name).is_dir()), None)
    if folder is None:
        raise UserError(f"{root}: {FOLDERS[0]} is not there; put the folder with the pictures there")

    def code(text: str) -> int:
        if (value := whole_number(text)) not in range(11):
            raise ValueError("it must be from 0 (Neutral) to 10 (No-Face)")
        return int(value)

    def published(given: list[str]) -> tuple[str, ...] | None:
        return _COLUMNS if given[0].lower().endswith(table.IMAGE_SUFFIXES) else None

    images, seen, parts, rejected, facts = table.list_images(folder, depth=1), {}, [], [], {}
    lists = {}
    for split, names in LISTS.items():
        path = next((root / name for name in names if (root / name).is_file()), None)
        if path is None:
            raise UserError(f"{root}: {names[0]} is not there; get the published list")
        reader = ColumnReader(path, [_NAME], {"expression": code}, headerless=published)
        lists[split] = path, reader.read()
        facts |= table.note_unused(path, [name for name in reader.unused if name not in _COLUMNS])
    for split, (path, rows) in lists.items():
        listed = rows.texts[_NAME].to_pylist()
        check_unique(path, listed, rows.lines)
        for name, line in zip(listed, rows.lines.tolist(), strict=True):
            if name in seen:
                raise UserError(f"{path} line {line}: {name!r} is in {seen[name]} too; remove one of the lines")
        seen |= {name: f"{path.name} line {line}" for name, line in zip(listed, rows.lines.tolist(), strict=True)}
        parts.append(pd.DataFrame({"name": listed, "code": rows.numbers["expression"], "split": split}))
        facts[f"rows_{split}"] = len(listed)
    found = pd.concat(parts, ignore_index=True)
    present, rejected = table.matched(values, lists["train"][0].parent, found["name"].tolist(), images, folder)
    found = found[present]
    other = found["code"] >= len(_ORDER)
    rejected += [
        table.rejected_row(dataset, row.name, images[row.name], _OTHER[row.code - len(_ORDER)], "no expression")
        for row in found[other].itertuples(index=False)
    ]
    found = found[~other].reset_index(drop=True)
    found["identity_id"], found["emotion"] = found["name"], [_ORDER[one] for one in found["code"]]
    if found["emotion"].nunique() < 2:
        raise UserError(f"{lists['train'][0]}: fewer than two expressions are there; get the whole data set")
    found, facts["splits_from"] = draw_missing(found)
    faces = table.build_faces(
        {
            "image_id": dataset + "/" + found["name"],
            "image": [images[name] for name in found["name"]],
            "identity_id": dataset + "/" + found["name"],
            "split": found["split"],
            "dataset": dataset,
            "demographics_source": "none",
            "labels_source": "AffectNet lists",
        },
        columns_of("emotion", PART.classes["emotion"], found["emotion"].tolist()),
        values,
    )
    facts["identities_known"] = False
    return table.complete("affectnet", values, faces, rejected, facts)
