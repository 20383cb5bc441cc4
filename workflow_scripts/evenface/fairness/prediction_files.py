"""Prediction tables on disk: the test set they carry, and whether several carry the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.fairness.settings import FairnessSettings
from evenface.storage.tables import read_table, table_meta


@dataclass(frozen=True)
class PredictionsFile:
    """A prediction table with what its header says."""

    path: Path
    frame: pd.DataFrame
    dataset: str
    split: str
    meta: dict


def read_file(path, settings: FairnessSettings) -> PredictionsFile:
    """Read a table of predictions; UserError where a column is missing."""
    frame = read_table(path, required=("image_id", *settings.dimensions))
    frame.attrs["path"] = str(path)
    meta = table_meta(path)
    dataset = meta.get("dataset") or _only(frame, "dataset", Path(path).stem)
    return PredictionsFile(Path(path), frame, str(dataset), str(meta.get("split") or _only(frame, "split", "")), meta)


def _only(frame: pd.DataFrame, column: str, default: str) -> str:
    values = sorted(map(str, pd.unique(frame[column].dropna()))) if column in frame.columns else []
    return "+".join(values) or default


def labels_and_groups(file: PredictionsFile, settings: FairnessSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables ``labels`` and ``groups`` of :func:`evenface.fairness.evaluate` that a table of predictions carries."""
    frame = file.frame
    label_columns = [c for c in frame.columns if c.startswith("label_") and c != "label_source"]
    source = file.meta.get("label_source") or _only(frame, "labels_source", "")
    labels = frame[["image_id", *label_columns]].assign(dataset=file.dataset, split=file.split, label_source=source)
    source = file.meta.get("group_source") or _only(frame, "demographics_source", "")
    groups = frame[["image_id", *settings.dimensions]].assign(source=source)
    labels.attrs["path"] = groups.attrs["path"] = str(file.path)
    return labels, groups


def check_same_test_set(a: PredictionsFile, b: PredictionsFile, settings: FairnessSettings) -> None:
    """Raise UserError where two tables differ in images, labels or groups."""
    columns = [c for c in a.frame.columns if c.startswith("label_")] + list(settings.dimensions)
    left = a.frame.set_index("image_id").sort_index()
    right = b.frame.set_index("image_id").sort_index()
    absent = [c for c in columns if c not in right.columns]
    if absent:
        raise UserError(f"{b.path}: column {absent[0]!r} is missing, which {a.path} has; predict both again")
    if not left.index.equals(right.index):
        if settings.allow_missing_images:
            shared = left.index.intersection(right.index)
            left, right = left.loc[shared], right.loc[shared]
        else:
            name = left.index.symmetric_difference(right.index)[0]
            raise UserError(f"image {name!r} is in only one of {a.path} and {b.path}; predict both again")
    for column in columns:
        same = left[column].astype(str).to_numpy() == right[column].astype(str).to_numpy()
        if not same.all():
            name = left.index[int(np.flatnonzero(~same)[0])]
            raise UserError(f"image {name!r}: {column} differs between {a.path} and {b.path}; predict both again")
