"""The CSV that FairFace's ``predict.py`` writes, as a table of demographics: a row per face that it found in a picture.

It names chips, ``detected_faces/<stem>_face<k>.jpg``, where the stem is the picture's name up to its first dot.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from evenface.errors import UserError
from evenface.storage.columns import Rows
from evenface.storage.tables import is_parquet
from evenface.storage.text_tables import check_text

log = logging.getLogger("evenface")

_CHIP = re.compile(r"(?:.*[/\\])?(.+)_face\d+\.[^./\\]+", re.DOTALL)
#: column -> what it is here
_COLUMNS = {"face_name_align": "image_id", "gender": "gender", "age": "age", "race": "ethnicity"}


def is_predictions(path: Path) -> bool:
    """Whether a table has the header of ``predict.py``. What cannot be opened has not: its reader says what is wrong."""
    if is_parquet(path) or not path.is_file():
        return False
    with open(path, "rb") as file:
        header = file.readline(1 << 16).decode("utf-8-sig", "replace")
    return {*_COLUMNS} <= {name.strip().strip('"') for name in header.split(",")}


def read_predictions(path: Path, images: Sequence[str]) -> tuple[Rows, dict[str, int]]:
    """The rows of the pictures in which one face was found, as a table that names ``images``, and counts for the summary.

    images  names of a data set's images, relative to its folder

    A picture with several faces is left out, since nobody knows which of them the data set means. Raises UserError naming
    file and line for a table that cannot be read, and for images whose stems are the same.
    """
    check_text(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a CSV table ({error}); write it again with predict.py") from error
    cells = table.apply(lambda column: column.str.count("\n")).sum(axis=1)  # scores break lines inside their quotes
    lines = 2 + np.arange(len(table)) + cells.cumsum().shift(fill_value=0).to_numpy(np.int64)
    by_stem: dict[str, str] = {}
    for name in images:
        stem = name.rpartition("/")[2].partition(".")[0]
        if by_stem.setdefault(stem, name) != name:
            raise UserError(
                f"{path}: {by_stem[stem]!r} and {name!r} would have chips of the same name; predict from pictures of "
                "different names, or write a table of demographics with the images' own names"
            )
    chips = table["face_name_align"].map(_CHIP.fullmatch)
    if chips.isna().any():
        row = int(np.argmax(chips.isna()))
        raise UserError(
            f"{path} line {lines[row]}: {table['face_name_align'][row]!r} names no chip; predict.py writes <name>_face0.jpg"
        )
    stems = chips.map(lambda found: found[1])
    several = stems.duplicated(keep=False)
    strangers = ~stems.isin(by_stem)
    kept = (~several & ~strangers).to_numpy()
    counts = {
        "images_with_several_faces": int(stems[several & ~strangers].nunique()),
        "faces_of_other_images": int(strangers.sum()),
    }
    if any(counts.values()):
        log.warning("%s: %s", path, ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))
    texts = {to: pa.array(table[column][kept].str.strip().tolist(), pa.string()) for column, to in _COLUMNS.items()}
    texts["image_id"] = pa.array([by_stem[stem] for stem in stems[kept]], pa.string())
    return Rows(lines[kept], texts, {}), counts
