"""The result table of FairFace's ``predict.py``, written and read.

Nine columns without an index; the scores are NumPy's text of float32 vectors, which breaks lines inside a
quoted cell when it is long.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.errors import UserError, raise_if_machine
from evenface.networks.fairface import HEADS
from evenface.storage.atomic import atomic_path

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

    Each row maps every name of :data:`COLUMNS` to a text, or for scores to a float32 vector. Where the
    four-race network was left out, ``race4`` is the empty text and its scores are None: empty cells, which the
    original never has.
    """
    rows = list(rows)
    with np.printoptions(**_PRINTING):
        table = {name: [row[name] for row in rows] for name in COLUMNS}
        for name in SCORE_COLUMNS.values():
            table[name] = ["" if v is None else str(np.asarray(v, np.float32)) for v in table[name]]
    with atomic_path(path) as temporary:
        pd.DataFrame(table, columns=list(COLUMNS)).to_csv(temporary, index=False, lineterminator="\n")


def read_predictions_csv(path: str | os.PathLike) -> pd.DataFrame:
    """The table ``predict.py`` or :func:`write_predictions_csv` wrote, scores as float32 vectors (None where empty).

    A last column ``bbox``, which another script of FairFace adds, is left as text: its boxes may belong to
    other rows. Raises UserError naming the row that cannot be read.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    header = tuple(lines[0]) if lines else ()
    if header[: len(COLUMNS)] != COLUMNS or header[len(COLUMNS) :] not in ((), ("bbox",)):
        raise UserError(f"{path}: the columns are {', '.join(header) or 'none'}, not those of FairFace's predict.py")
    for number, row in enumerate(lines[1:], 1):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} cells instead of {len(header)}")
    table = pd.DataFrame(lines[1:], columns=list(header), dtype=object)
    for head, column in SCORE_COLUMNS.items():
        table[column] = [
            _vector(cell, len(_CLASSES[head]), f"{path}: row {number}, {column}")
            for number, cell in enumerate(table[column], 1)
        ]
    return table


def _vector(cell: str, length: int, where: str) -> np.ndarray | None:
    if not cell:
        return None
    try:
        values = np.array([float(word) for word in cell.removeprefix("[").removesuffix("]").split()], np.float32)
    except ValueError as error:
        raise UserError(f"{where}: {cell!r} is no vector of numbers") from error
    if len(values) != length:
        raise UserError(f"{where}: {len(values)} numbers instead of {length}")
    return values


class ChipNames:
    """Names of chips as the published script gives them, ``detected_faces/<stem>_face<k>.<ext>``.

    The stem ends at the first dot of the file's name, the extension begins after the last. Two pictures of
    one name in different folders share their chips' names there, and the later overwrite the earlier; here
    the later picture's stem gets ``-2``, ``-3`` and so on.
    """

    def __init__(self, folder: str = "detected_faces"):
        self._folder = folder
        self._taken: set[tuple[str, str]] = set()

    def prefix(self, image: str) -> tuple[str, str]:
        """What the names of the chips of one picture begin and end with; every call is another picture."""
        name = Path(image).name
        stem, extension = name.split(".")[0], name.rpartition(".")[2]
        unique, count = stem, 1
        while (unique, extension) in self._taken:
            count += 1
            unique = f"{stem}-{count}"
        self._taken.add((unique, extension))
        return f"{self._folder}/{unique}_face", f".{extension}"
