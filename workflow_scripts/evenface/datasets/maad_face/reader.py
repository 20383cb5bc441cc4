"""VGGFace2 images with MAAD-Face annotations (Terhörst et al., IEEE TIFS 2021).

The folder holds identity folders (below ``test/`` or ``val/``, or directly) and ``MAAD_Face.csv``
(also ``MAAD-Face.csv``) with ``Filename``, ``Identity`` and 47 attribute columns in any order.
The file has 3.3 million rows. All are checked, and only those of images on disk are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evenface.datasets import faces as table
from evenface.datasets.presence import below, check_present, instead
from evenface.datasets.settings import DatasetSettings
from evenface.errors import UserError
from evenface.storage.columns import ColumnReader, check_unique
from evenface.storage.text_tables import whole_number
from evenface.taxonomy import MAAD_ATTRIBUTES, MAAD_LEVELS, UNKNOWN

log = logging.getLogger("evenface")

CSV_NAMES = ("MAAD_Face.csv", "MAAD-Face.csv")
#: Rows among which every label occurs.
_MANY = 1000


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces (all of split test), rejected rows and a summary.

    Settings: ``root`` folder; ``name`` of the data set in ids; ``label_coding``; ``verify_images`` true, false or
    sample; ``demographics`` table, which replaces the file's own columns; ``max_unreadable`` share of images without a
    row, and of unreadable ones (rows without an image are counted alone: the file lists all of VGGFace2, and most copies
    hold only a part); ``threads`` for decoding. Ethnicity and age follow from the one of their three columns that is set;
    with none or several they are unknown. The identity is the image's folder. Images on disk without a row are rejected.
    Raises UserError naming file and row.
    """
    values = table.take_settings("maad_face", settings, DatasetSettings)
    root, dataset = Path(values["root"]), values["name"]
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set the data set's root to the folder with the identity folders")
    folder, images = _images(root)
    path = next((root / n for n in CSV_NAMES if (root / n).is_file()), None)
    if path is None:
        raise UserError(
            f"{root}: neither {' nor '.join(CSV_NAMES)} is there; put the annotations, or a link to them, into that folder"
        )
    coding = values["label_coding"]
    meaning = table.label_meaning(coding, undefined=True)
    reader = ColumnReader(path, ["Filename", "Identity"], dict.fromkeys(MAAD_ATTRIBUTES, meaning))
    wanted = pa.array(images, pa.string())
    rows = reader.read(lambda names: pc.is_in(names, value_set=wanted).to_numpy(zero_copy_only=False))
    names = rows.texts["Filename"].to_pylist()
    strangers = sorted(set(images).difference(names))
    check_present(
        strangers, len(images), values["max_unreadable"], said=f"images in {folder} have no row in {path}",
        key=f"datasets.{dataset}.max_unreadable", others=lambda: ColumnReader(path, ["Filename"]).read().texts["Filename"].to_pylist(),
        remedy="Filename has the form n000001/0001_01.jpg; give the images these names, or get the whole table",
    )  # fmt: skip
    check_unique(path, names, rows.lines)
    columns = rows.numbers
    if coding == "minus_one_one":
        _refuse_zero_one(path, columns)
    identities = rows.texts["Identity"].to_pylist()
    people = [n.rsplit("/", 1)[0] for n in names]
    faces = table.build_faces(
        {
            "image_id": [f"{dataset}/{n}" for n in names],
            "image": [images[n] for n in names],
            "identity_id": [f"{dataset}/{p}" for p in people],
            "split": "test",
            "dataset": dataset,
            "gender": np.select([columns["Male"] == 1, columns["Male"] == -1], ["male", "female"], UNKNOWN),
            "age": _exclusive(columns, MAAD_LEVELS["age"]),
            "ethnicity": _exclusive(columns, MAAD_LEVELS["ethnicity"]),
            "demographics_source": "MAAD-Face columns",
            "labels_source": f"{path.name} ({values['label_coding']})",
        },
        columns,
        values,
    ).sort_values("image_id", kind="stable", ignore_index=True)
    rejected = [
        table.rejected_row(dataset, n, images[n], "no_row", f"on disk, not listed in {path.name}") for n in strangers
    ]
    digits = [_digits(a) == _digits(b) for a, b in zip(people, identities, strict=True)]
    facts = {
        "annotation_file": str(path),
        "rows": reader.rows,
        "images_on_disk": len(images),
        "rows_matched": len(names),
        "identity_folders": len({n.split("/", 1)[0] for n in images}),
        "identity_column_disagrees": digits.count(False),
        **table.note_unused(path, reader.unused),
    }
    return table.complete("maad_face", values, faces, rejected, facts)


def _digits(text: str) -> int | str:
    digits = "".join(c for c in text if c.isdigit())
    value = whole_number(text)
    return int(digits) if digits and value is None else text if value is None else value


def _refuse_zero_one(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Refuse labels that are never -1, and name columns that are never -1 among many rows: they may be coded 0/1."""
    never = [name for name, labels in columns.items() if (labels == 0).any() and not (labels == -1).any()]
    if not any((labels == -1).any() for labels in columns.values()):
        raise UserError(f"{path}: no label is -1, so this file is not coded -1/0/1; declare label_coding: zero_one")
    if never and len(columns[never[0]]) >= _MANY:
        log.warning(
            "%s: %s are 0 or 1 and never -1; 0 is read as undefined. Write -1 where it means no", path, ", ".join(never)
        )


def _exclusive(columns: Mapping[str, np.ndarray], levels: Mapping[str, str]) -> np.ndarray:
    """The level of the only column that is +1; unknown if none or several are."""
    positive = np.column_stack([columns[c] == 1 for c in levels])
    names = np.array([*levels.values(), UNKNOWN], dtype=object)
    return names[np.where(positive.sum(1) == 1, positive.argmax(1), len(levels))]


def _images(root: Path) -> tuple[Path, dict[str, str]]:
    for name in ("test", "val", "."):
        folder = root / name
        if folder.is_dir():
            images = table.list_images(folder, depth=1)
            if images:
                return folder, images
    there = [name for name in below(root) if name not in CSV_NAMES]
    raise UserError(
        f"{root}: no identity folder with images below test/, val/ or the folder itself; "
        f"{instead([], there)}. Put the identity folders there, with images that end in {', '.join(table.IMAGE_SUFFIXES)}"
    )
