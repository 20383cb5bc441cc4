"""Writes the CSV files of the workflow: one format, and the same bytes for the same table."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from evenface.storage.atomic import atomic_path


def write_csv(frame: pd.DataFrame, path: str | os.PathLike, *, sort_by: Sequence[str] = ()) -> None:
    """Write a table atomically: UTF-8, comma, LF, at most 10 significant digits (7 of a float32 column).

    Undefined values are empty fields and booleans are ``true`` and ``false``. ``sort_by`` names the
    columns that order the rows; the sort is stable.
    """
    if sort_by:
        frame = frame.sort_values(list(sort_by), kind="stable")
    text = pd.DataFrame({name: _text(frame[name]) for name in frame.columns})
    with atomic_path(path) as temporary:
        text.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def _text(column: pd.Series) -> pd.Series:
    missing = column.isna().to_numpy()
    if pd.api.types.is_bool_dtype(column):
        words = np.where(column.fillna(False).to_numpy(dtype=bool), "true", "false").astype(object)
    elif pd.api.types.is_float_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        digits = 7 if column.dtype == np.float32 else 10
        words = _numbers(values, digits)
    elif column.dtype == object:
        codes, kinds = pd.factorize(column)
        if all(isinstance(kind, str) for kind in kinds):
            words = np.append(kinds, "")[codes]
        else:  # true and 1 are equal
            words = np.array([_word(value) for value in column], dtype=object)
    else:
        words = column.astype(object).to_numpy(copy=True)
    words[missing] = ""
    return pd.Series(words, dtype=object)


def _numbers(values: np.ndarray, digits: int) -> np.ndarray:
    """The texts of :func:`format_number`, but for NaN."""
    whole = f"%.{digits}g\n" * len(values) % tuple((values + 0.0).tolist())
    return np.array(whole.split("\n")[:-1], dtype=object)


def _word(value) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return format_number(value)
    return str(value)


def format_number(value: float, digits: int = 10) -> str:
    """At most ``digits`` significant digits, no trailing zeros, no negative zero; empty for NaN."""
    return "" if value != value else format(float(value) if value else 0.0, f".{digits}g")
