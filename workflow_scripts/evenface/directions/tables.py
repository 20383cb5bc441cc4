"""How the tables of directions are written."""

from __future__ import annotations

import os

import pandas as pd

from evenface.storage.atomic import atomic_path


def write_csv(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a table as CSV, atomically: six significant digits, LF line ends."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
