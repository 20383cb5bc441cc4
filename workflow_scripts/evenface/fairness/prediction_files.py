"""Prediction tables on disk: the test set in a table, and whether several tables have the same test set."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.fairness.inputs import check_table
from evenface.fairness.settings import FairnessSettings
from evenface.storage.tables import read_table, table_columns, table_meta


@dataclass(frozen=True)
class PredictionsFile:
    """A prediction table on disk. It is read when needed, because all models' tables together would fill the memory."""

    path: Path
    columns: list[str]
    dataset: str
    split: str
    meta: dict

    @classmethod
    def of(cls, path: str | os.PathLike, settings: FairnessSettings) -> PredictionsFile:
        """The table with the facts of its header; UserError if a column is missing."""
        columns, meta = table_columns(path), table_meta(path)
        known = [c for c in ("dataset", "split") if not meta.get(c) and c in columns]
        frame = read_table(path, columns=known, required=("image_id", *settings.dimensions))
        dataset = meta.get("dataset") or _only(frame, "dataset", Path(path).stem)
        return cls(Path(path), columns, str(dataset), str(meta.get("split") or _only(frame, "split", "")), meta)

    def thresholds(self, settings: FairnessSettings) -> float | dict[str, float]:
        """The thresholds of its header, checked; UserError naming the file."""
        try:
            return settings.changed(thresholds=self.meta["thresholds"]).thresholds
        except UserError as error:
            raise UserError(
                f"{self.path}: a threshold of its header cannot be used ({error}); train the model and predict again, or write "
                "a number in (0, 1]"
            ) from error

    def frame(self, wanted: Callable[[str], bool]) -> pd.DataFrame:
        """The requested columns."""
        frame = read_table(self.path, columns=[c for c in self.columns if wanted(c)])
        frame.attrs["path"] = str(self.path)
        return frame


def _only(frame: pd.DataFrame, column: str, default: str) -> str:
    values = sorted(map(str, pd.unique(frame[column].dropna()))) if column in frame.columns else []
    return "+".join(values) or default


def labels_and_groups(file: PredictionsFile, settings: FairnessSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables ``labels`` and ``groups`` of :func:`evenface.fairness.evaluate`, from a table of predictions."""
    sources = ("labels_source", "demographics_source")
    frame = file.frame(lambda c: _is_label(c) or c in ("image_id", *sources, *settings.dimensions))
    label_columns = [c for c in frame.columns if _is_label(c)]
    source = file.meta.get("label_source") or _only(frame, "labels_source", "")
    labels = frame[["image_id", *label_columns]].assign(dataset=file.dataset, split=file.split, label_source=source)
    source = file.meta.get("group_source") or _only(frame, "demographics_source", "")
    groups = frame[["image_id", *settings.dimensions]].assign(source=source)
    labels.attrs["path"] = groups.attrs["path"] = str(file.path)
    return labels, groups


def _is_label(column: str) -> bool:
    return column.startswith("label_") and column != "label_source"


def truth_of(file: PredictionsFile, settings: FairnessSettings) -> pd.DataFrame:
    """Labels and groups by image id, in order. UserError for an image that is empty or occurs twice.

    Only the labels of ``settings.attributes``, if these are given.
    """
    origins = {settings.derived_labels.get(a, a).removeprefix("-") for a in settings.attributes}

    def wanted(column: str) -> bool:
        if _is_label(column):
            return not origins or column.removeprefix("label_") in origins
        return column in ("image_id", *settings.dimensions)

    frame = file.frame(wanted)
    check_table(frame, str(file.path))
    return frame.set_index("image_id").sort_index()


def _same(a: pd.Series, b: pd.Series) -> np.ndarray:
    """Whether values (n,) are equal, whatever the types of their columns; a missing one equals a missing one."""
    a, b = a.astype(object), b.astype(object)
    return (a.isna() & b.isna()).to_numpy() | (a == b).to_numpy(dtype=bool, na_value=False)


def check_same_test_set(a: PredictionsFile, left: pd.DataFrame, b: PredictionsFile, settings: FairnessSettings) -> None:
    """Raise UserError unless the table ``b`` has the labels and groups ``left`` of the table ``a``."""
    right = truth_of(b, settings)
    for (one, has), (other, lacks) in (((a, left), (b, right)), ((b, right), (a, left))):
        absent = [c for c in has.columns if c not in lacks.columns]
        if absent:
            raise UserError(
                f"{other.path}: column {absent[0]!r} is missing, which {one.path} has; predict both again, or set "
                "evaluation.attributes to those that both have"
            )
    if not left.index.equals(right.index):
        if settings.allow_missing_images:
            shared = left.index.intersection(right.index)
            left, right = left.loc[shared], right.loc[shared]
        else:
            name = left.index.symmetric_difference(right.index)[0]
            raise UserError(f"image {name!r} is in only one of {a.path} and {b.path}; predict both again")
    for column in left.columns:
        if left[column].equals(right[column]):
            continue
        same = _same(left[column], right[column])
        if not same.all():
            name = left.index[int(np.flatnonzero(~same)[0])]
            raise UserError(f"image {name!r}: {column} differs between {a.path} and {b.path}; predict both again")
