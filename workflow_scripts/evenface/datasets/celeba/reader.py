"""CelebA (Liu et al., ICCV 2015), in its published text files or the Kaggle CSV variant.

The folder holds ``list_attr_celeba.txt`` (or ``.csv``), ``list_eval_partition.txt`` (or ``.csv``),
``img_align_celeba/`` and, where available, ``identity_CelebA.txt``. Everything is joined by file name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets import faces as table
from evenface.datasets.settings import DatasetSettings
from evenface.errors import UserError
from evenface.storage.columns import ColumnReader, Rows, check_unique
from evenface.storage.text_tables import whole_number
from evenface.taxonomy import CELEBA_ATTRIBUTES, UNKNOWN

log = logging.getLogger("evenface")

_SPLITS = ("train", "val", "test")
_IMAGES = "img_align_celeba"
_KEY = "image_id"


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces, rejected rows and a summary.

    Settings: ``root`` folder; ``name`` of the data set in ids; ``label_coding`` of the attribute file;
    ``verify_images`` true, false or sample; ``max_unreadable`` share of rows without a file, of files without a row, and
    of unreadable files; ``demographics`` table (CelebA does not label ethnicity); ``threads`` for decoding. Gender comes
    from Male. Age is young if Young is set, else unknown. Without an identity file every image is its own
    identity. Raises UserError naming file and row.
    """
    values = table.take_settings("celeba", settings, DatasetSettings)
    root, dataset = Path(values["root"]), values["name"]
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set the data set's root to the folder with list_attr_celeba.txt")
    path = _find(root, "list_attr_celeba")
    if path is None:
        raise UserError(f"{root}: neither list_attr_celeba.txt nor list_attr_celeba.csv is there")
    meaning = table.label_meaning(values["label_coding"], undefined=False)
    attributes = _reader(path, [_KEY], dict.fromkeys(CELEBA_ATTRIBUTES, meaning), counted=True)
    rows = attributes.read()
    names = rows.texts[_KEY].to_pylist()
    check_unique(path, names, rows.lines)
    index = pd.Index(names, dtype="object")
    split = _partition(root, index)
    identity = _identities(root, index)
    images = {**_listed(root / _IMAGES), **_listed(root / _IMAGES / _IMAGES)}

    present, rejected = table.matched(values, path, names, images, root / _IMAGES)
    kept = index[present]
    labels = {name: values[present] for name, values in rows.numbers.items()}
    male, young = labels["Male"], labels["Young"]
    faces = table.build_faces(
        {
            "image_id": [f"{dataset}/{n}" for n in kept],
            "image": [images[n] for n in kept],
            "identity_id": [f"{dataset}/{i}" for i in (identity[present] if identity is not None else kept)],
            "split": split[present],
            "dataset": dataset,
            "gender": np.select([male == 1, male == -1], ["male", "female"], UNKNOWN),
            "age": np.where(young == 1, "young", UNKNOWN),
            "ethnicity": UNKNOWN,
            "demographics_source": "CelebA Male and Young; no ethnicity",
            "labels_source": f"{path.name} ({values['label_coding']})",
        },
        labels,
        values,
    )
    facts = {
        "attribute_file": str(path),
        "rows": len(names),
        "images_on_disk": len(images),
        "identities_known": identity is not None,
        **table.note_unused(path, attributes.unused),
    }
    return table.complete("celeba", values, faces, rejected, facts)


def _find(root: Path, stem: str) -> Path | None:
    return next((path for ending in (".txt", ".csv") if (path := root / f"{stem}{ending}").is_file()), None)


def _reader(path: Path, texts: list[str], meanings: Mapping[str, Any], **options: Any) -> ColumnReader:
    also = {_KEY: table.IMAGE_COLUMNS, "partition": ("split",), "identity": ("identity_id", "person")}
    return ColumnReader(path, texts, meanings, also=also, **options)


def _pairs(path: Path, what: str, names: pd.Index, meanings: Mapping[str, Any]) -> tuple[Rows, np.ndarray]:
    """The rows of a table of image names and ``what``, with a header or without, and the row of each of ``names``."""

    def published(values: list[str]) -> list[str] | None:
        pictures = [value.lower().endswith(table.IMAGE_SUFFIXES) for value in values]
        return {(True, False): [_KEY, what], (False, True): [what, _KEY]}.get(tuple(pictures))

    rows = _reader(path, [_KEY] if meanings else [_KEY, what], meanings, headerless=published).read()
    listed = rows.texts[_KEY].to_pylist()
    check_unique(path, listed, rows.lines)
    place = pd.Index(listed, dtype="object").get_indexer(names)
    if (place < 0).any():
        raise UserError(
            f"{path}: image {names[place < 0][0]!r} of the attribute file has no {what} here; get the whole file"
        )
    return rows, place


def _partition(root: Path, names: pd.Index) -> np.ndarray:
    path = _find(root, "list_eval_partition")
    if path is None:
        raise UserError(f"{root}: neither list_eval_partition.txt nor list_eval_partition.csv is there; "
                        "it holds the official split")  # fmt: skip

    def partition(text: str) -> int:
        if (value := whole_number(text)) not in (0, 1, 2):
            raise ValueError("it must be 0 (train), 1 (val) or 2 (test)")
        return value

    rows, place = _pairs(path, "partition", names, {"partition": partition})
    return np.array(_SPLITS, dtype=object)[rows.numbers["partition"][place]]


def _identities(root: Path, names: pd.Index) -> np.ndarray | None:
    path = _find(root, "identity_CelebA")
    if path is None:
        log.warning("%s: identity_CelebA.txt is not there; every image counts as a separate person", root)
        return None
    rows, place = _pairs(path, "identity", names, {})
    return np.array(table.identities_of(path, rows, "identity"), dtype=object)[place]


def _listed(folder: Path) -> dict[str, str]:
    return table.list_images(folder, depth=0) if folder.is_dir() else {}
