"""Readers: every data set, real, stand-in or generated, becomes one faces table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evenface.datasets import synthetic
from evenface.datasets.celeba import reader as celeba
from evenface.datasets.maad_face import reader as maad_face
from evenface.errors import UserError

READERS = {"celeba": celeba, "maad_face": maad_face, "synthetic": synthetic}


def read(reader: str, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces table, rejected table and JSON-ready summary of one data set.

    ``reader`` is celeba, maad_face or synthetic; ``settings`` are that reader's (its DEFAULTS).
    Raises UserError naming the file, row or key that is wrong.
    """
    if reader not in READERS:
        raise UserError(f"data set reader {reader!r} is not one of {', '.join(READERS)}")
    return READERS[reader].read(settings)
