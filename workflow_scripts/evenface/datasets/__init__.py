"""Readers: every data set, real, stand-in or generated, becomes one faces table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evenface.datasets import celeba, maad_face, synthetic
from evenface.errors import check_names

READERS = {"celeba": celeba, "maad_face": maad_face, "synthetic": synthetic}


def read(reader: str, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces table, rejected table and JSON-ready summary of one data set.

    ``reader`` is celeba, maad_face or synthetic; ``settings`` are that reader's (its DEFAULTS).
    Raises UserError naming the file, row or key that is wrong.
    """
    check_names("data set reader", [reader], READERS)
    return READERS[reader].read(settings)
