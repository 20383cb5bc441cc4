"""A folder of pictures and a table: the image, labels, and where there are any, people, splits and groups."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets import faces as table
from evenface.datasets.presence import below, check_present
from evenface.datasets.splits import SPLIT_WORDS, assign_splits
from evenface.datasets.table import TableSettings
from evenface.errors import UserError, check_names
from evenface.storage.columns import ColumnReader, Rows, check_unique
from evenface.storage.formats import ENDINGS as IMAGE_SUFFIXES
from evenface.taxonomy import UNKNOWN

log = logging.getLogger("evenface")

_ROLES = ("image", "identity", "split")


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces, rejected rows and a summary.

    Settings: those of :class:`TableSettings`. Without a column of splits, 80, 10 and 10 % of the images are drawn for
    training, validation and test, people and groups kept together. Without people every image is its own person. Raises
    UserError naming file, line and column.
    """
    values = table.take_settings("table", settings, TableSettings)
    root, path, dataset, levels = Path(values["root"]), Path(values["table"]), values["name"], values["vocabulary"]
    key = f"datasets.{dataset}"
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set {key}.root to the folder of the pictures")
    check_names(f"{key}.columns", values["columns"], [*_ROLES, *levels])
    named = values["columns"]
    image = named.get("image", "image")
    dimensions = {dimension: named.get(dimension, dimension) for dimension in levels}
    further = {role: named[role] for role in _ROLES[1:] if role in named}
    reader = ColumnReader(
        path,
        [image, *further.values(), *dimensions.values()],
        dict.fromkeys(values["attributes"], table.label_meaning(values["label_coding"], undefined=True)),
        also={image: () if "image" in named else ("image_id", *table.IMAGE_COLUMNS)},
        optional=[column for dimension, column in dimensions.items() if dimension not in named],
    )
    rows = reader.read()
    names = rows.texts[image].to_pylist()
    check_unique(path, names, rows.lines)
    _check_classes(path, rows, key)
    there = [name for name in below(root) if name.lower().endswith(IMAGE_SUFFIXES)]
    present = pd.Index(names).isin(there)
    check_present(
        [name for name, found in zip(names, present, strict=True) if not found], len(names), values["max_unreadable"],
        said=f"images that {path} lists are not in {root}", key=f"{key}.max_unreadable",
        remedy=f"Write their names relative to {root}, or remove their rows", others=lambda: there,
    )  # fmt: skip
    rejected = [
        table.rejected_row(dataset, name, "", "missing", f"listed in {path.name}, not on disk")
        for name, found in zip(names, present, strict=True) if not found
    ]  # fmt: skip
    if unlisted := len(set(there).difference(names)):
        log.warning("%s: %d pictures in %s have no row, and are not used", path, unlisted, root)

    kept = rows.taken(np.asarray(present))
    names = kept.texts[image].to_pylist()
    people = table.identities_of(path, kept, further["identity"]) if "identity" in further else names
    if "identity" not in further:
        log.warning("%s: no column names the people, so every image counts as a separate person", path)
    groups = {d: kept.texts[column].to_pylist() for d, column in dimensions.items() if column in kept.texts}
    columns = {
        "image_id": [f"{dataset}/{name}" for name in names],
        "image": [str(root / name) for name in names],
        "identity_id": [f"{dataset}/{person}" for person in people],
        "split": "train",
        "dataset": dataset,
        **{dimension: [text or UNKNOWN for text in texts] for dimension, texts in groups.items()},
        "demographics_source": f"{path.name} ({', '.join(groups) or 'no groups'})",
        "labels_source": f"{path.name} ({values['label_coding']})",
    }
    faces = table.build_faces(columns, kept.numbers, values)
    if "split" in further:
        faces["split"] = _splits(path, kept, further["split"])
        spread = int((faces.groupby("identity_id")["split"].nunique() > 1).sum())
        if spread:
            log.warning("%s: %d people have images in several splits", path, spread)
    else:
        faces["split"] = assign_splits(faces, seed=0).astype("str")
    facts = {
        "rows": len(rows.lines),
        "identities_known": "identity" in further,
        "splits_from": further.get("split", "drawn"),
        "pictures_without_row": unlisted,
        **table.note_unused(path, reader.unused),
    }
    return table.complete("table", values, faces, rejected, facts)


def _check_classes(path: Path, rows: Rows, key: str) -> None:
    for name, labels in rows.numbers.items():
        found = np.unique(labels[labels != 0])
        if len(found) < 2:
            said = f"only one class ({'present' if found[0] > 0 else 'absent'})" if len(found) else "no defined label"
            raise UserError(
                f"{path}: column {name!r} has {said}, so nothing can be learned or measured; leave it out of {key}.attributes, or "
                f"correct {key}.label_coding"
            )


def _splits(path: Path, rows: Rows, column: str) -> list[str]:
    texts = rows.texts[column].to_pylist()
    for text, line in zip(texts, rows.lines.tolist(), strict=True):
        if text.lower() not in SPLIT_WORDS:
            raise UserError(f"{path} line {line}: {column} is {text!r}; write train, val or test")
    return [SPLIT_WORDS[text.lower()] for text in texts]
