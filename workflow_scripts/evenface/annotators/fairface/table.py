"""The result table of FairFace's ``predict.py``, written and read.

Nine columns without an index; the scores are NumPy's text of float32 vectors, which breaks lines inside a
quoted cell when it is long.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.networks.fairface import HEADS
from evenface.storage.csv import write_csv

#: Score column of each head, in the order of the file.
SCORE_COLUMNS: dict[str, str] = {
    "race": "race_scores_fair",
    "race4": "race_scores_fair_4",
    "gender": "gender_scores_fair",
    "age": "age_scores_fair",
}
COLUMNS: tuple[str, ...] = ("face_name_align", "race", "race4", "gender", "age", *SCORE_COLUMNS.values())

_CLASSES: dict[str, tuple[str, ...]] = {head: names for heads in HEADS.values() for head, names in heads.items()}

#: NumPy's defaults, which decide the text; a caller may have set others.
_PRINTING = {
    "precision": 8, "threshold": 1000, "edgeitems": 3, "linewidth": 75, "suppress": False, "nanstr": "nan",
    "infstr": "inf", "sign": "-", "formatter": None, "floatmode": "maxprec", "legacy": False,
}  # fmt: skip


def write_predictions_csv(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike) -> None:
    """Write ``rows`` as ``predict.py`` writes them, atomically.

    Each row maps every name of :data:`COLUMNS` to a text, or for scores to a float32 vector. Without the
    four-race network, ``race4`` is the empty text and its scores are None. Their cells are empty, which never
    happens in the original.
    """
    rows = list(rows)
    with np.printoptions(**_PRINTING):
        table = {name: [row[name] for row in rows] for name in COLUMNS}
        for name in SCORE_COLUMNS.values():
            table[name] = ["" if v is None else str(np.asarray(v, np.float32)) for v in table[name]]
    write_csv(pd.DataFrame(table, columns=list(COLUMNS)), path)


class ChipNames:
    """Names of chips as the published script gives them, ``detected_faces/<stem>_face<k>.<ext>``.

    The stem ends at the first dot of the file's name, and the extension begins after the last. In the original,
    pictures of the same name in different folders overwrite each other's chips. Here the later picture's stem
    gets ``-2``, ``-3`` and so on.
    """

    def __init__(self, folder: str = "detected_faces"):
        self._folder = folder
        self._taken: set[tuple[str, str]] = set()

    def prefix(self, image: str) -> tuple[str, str]:
        """Beginning and end of the names of one picture's chips; every call counts as another picture."""
        name = Path(image).name
        stem, extension = name.split(".")[0], name.rpartition(".")[2]
        unique, count = stem, 1
        while (unique, extension) in self._taken:
            count += 1
            unique = f"{stem}-{count}"
        self._taken.add((unique, extension))
        return f"{self._folder}/{unique}_face", f".{extension}"
