"""VGGFace2 images with MAAD-Face annotations (Terhörst et al., IEEE TIFS 2021).

The folder holds identity folders (below ``test/`` or ``val/``, or directly) and ``MAAD_Face.csv``
(also ``MAAD-Face.csv``) with ``Filename``, ``Identity`` and 47 attribute columns in any order.
The file has 3.3 million rows. It is streamed, and only rows of images on disk are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evenface.datasets import faces as table
from evenface.datasets.maad_face.settings import MAADFaceSettings
from evenface.errors import UserError
from evenface.taxonomy import MAAD_ATTRIBUTES, MAAD_LEVELS, UNKNOWN

CSV_NAMES = ("MAAD_Face.csv", "MAAD-Face.csv")


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces (all of split test), rejected rows and a summary.

    Settings: ``root`` folder; ``name`` of the data set in ids; ``label_coding``; ``verify_images`` true, false or
    sample; ``demographics`` table, which replaces the file's own columns; ``allow_missing_images``: if false, rows
    without an image are refused (the file lists all of VGGFace2, and most copies hold only a part); ``threads`` for
    decoding. Ethnicity and age follow from the one of their three columns that is set; with none or several they are
    unknown. The identity is the image's folder. Images on disk without a row are rejected. Raises UserError naming
    file and row.
    """
    values = table.take_settings("maad_face", settings, MAADFaceSettings)
    root, dataset = Path(values["root"]), values["name"]
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set the data set's root to the folder with the identity folders")
    folder, images = _images(root)
    path = next((root / n for n in CSV_NAMES if (root / n).is_file()), None)
    if path is None:
        raise UserError(
            f"{root}: neither {' nor '.join(CSV_NAMES)} is there; put the annotations, or a link to them, into that folder"
        )
    rows, names, identities, raw, lines = _match(path, list(images))
    if not names:
        raise UserError(
            f"{path}: none of its {rows} rows belongs to one of the {len(images)} images in {folder}; "
            f"Filename has the form n000001/0001_01.jpg, the first image is {next(iter(images))!r}"
        )
    if len(names) < rows and not values["allow_missing_images"]:
        raise UserError(
            f"{path}: {rows - len(names)} of its {rows} rows have no image in {folder}; complete the folder or "
            "set allow_missing_images: true"
        )
    labels, wrong = table.recode(raw, values["label_coding"], undefined=True)
    if wrong is not None:
        row, column = wrong
        value = int(raw[row, column])
        raise UserError(
            f"{path} line {lines[row]}: {names[row]} has {MAAD_ATTRIBUTES[column]} = {value}; "
            f"{table.coding_hint(values['label_coding'], True, value)}"
        )
    if values["label_coding"] == "minus_one_one" and not (raw == -1).any():
        raise UserError(f"{path}: no label is -1, so this file is not coded -1/0/1; declare label_coding: zero_one")
    _refuse_duplicates(path, names, lines)

    columns = dict(zip(MAAD_ATTRIBUTES, labels.T, strict=True))
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
    ).sort_values("image_id", kind="stable", ignore_index=True)
    matched = set(names)
    rejected = [
        {"image_id": f"{dataset}/{n}", "image": p, "stage": "read", "reason": "no_row",
         "detail": f"on disk, not listed in {path.name}"}
        for n, p in images.items() if n not in matched
    ]  # fmt: skip
    faces, bad, decoded = table.split_verified(faces, values["verify_images"], threads=values["threads"])
    faces, counts = table.apply_demographics(faces, values["demographics"])
    dropped = table.rejected_frame([*rejected, *bad])
    digits = [_digits(a) == _digits(b) for a, b in zip(people, identities, strict=True)]
    summary = {
        "reader": "maad_face",
        "annotation_file": str(path),
        "rows": rows,
        "images_on_disk": len(images),
        "rows_matched": len(names),
        "identity_folders": len({n.split("/", 1)[0] for n in images}),
        "identity_column_disagrees": digits.count(False),
        "images_decoded": decoded,
        **counts,
        **table.summarise(faces, dropped),
    }
    return faces, dropped, summary


def _digits(text: str) -> int | str:
    digits = "".join(c for c in text if c.isdigit())
    return int(digits) if digits else text


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
    raise UserError(f"{root}: no identity folder with images below test/, val/ or the folder itself")


def _match(path: Path, wanted: list[str]) -> tuple[int, list[str], list[str], np.ndarray, list[int]]:
    """Rows of the CSV whose Filename is wanted.

    Returns the file's number of rows; names, identities and int8 labels (n, 47) of the matched
    rows; and their line numbers.
    """
    types = {"Filename": pa.string(), "Identity": pa.string()} | {a: pa.int8() for a in MAAD_ATTRIBUTES}
    values = pa.array(wanted, pa.string())
    names: list[str] = []
    identities: list[str] = []
    parts: list[np.ndarray] = []
    lines: list[int] = []
    rows = 0
    try:
        for batch in table.read_csv_typed(path, types, list(types)):
            hit = pc.is_in(batch["Filename"], value_set=values)
            kept = batch.filter(hit)
            if kept.num_rows:
                names += kept["Filename"].to_pylist()
                identities += kept["Identity"].to_pylist()
                parts.append(np.column_stack([kept[a].to_numpy() for a in MAAD_ATTRIBUTES]))
                lines += (np.flatnonzero(hit.to_numpy(zero_copy_only=False)) + rows + 2).tolist()
            rows += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise table.csv_error(path, error) from error
    labels = np.concatenate(parts) if parts else np.zeros((0, len(MAAD_ATTRIBUTES)), np.int8)
    return rows, names, identities, labels, lines


def _refuse_duplicates(path: Path, names: list[str], lines: list[int]) -> None:
    first: dict[str, int] = {}
    for name, line in zip(names, lines, strict=True):
        if name in first:
            raise UserError(f"{path} line {line}: image {name!r} is already listed in line {first[name]}")
        first[name] = line
