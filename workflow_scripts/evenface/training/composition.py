"""Composes the training set of a run: real faces, generated faces, or both in a given ratio."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets.splits import cell_of
from evenface.errors import UserError
from evenface.seeds import seed_from

log = logging.getLogger("evenface")

#: Accepted shortage of generated faces, as a share; screening rejects some of the planned ones.
_TOLERANCE = 0.1

#: Columns that every faces table has besides its attributes.
_COLUMNS = ("image_id", "image", "identity_id", "split", "dataset", "gender", "age", "ethnicity")


def draw_balanced(faces: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """``count`` rows of ``faces``, drawn without replacement; cells get numbers as equal as possible.

    If a cell has too few rows, all of them are drawn, and the other cells give more. The rows of a cell have one
    random order, which depends only on the seed and the cell. A larger draw therefore contains a smaller one, up to
    rounding.
    """
    if count >= len(faces):
        return faces
    groups = {}
    for cell, rows in faces.groupby(cell_of(faces)):
        random = np.random.Generator(np.random.PCG64(seed_from(seed, "draw", cell)))
        groups[str(cell)] = rows.sort_values("image_id").index.to_numpy()[random.permutation(len(rows))]
    # When the count does not divide evenly, the cells that give one more are drawn too.
    cells = np.random.Generator(np.random.PCG64(seed_from(seed, "draw"))).permutation(sorted(groups))
    taken = dict.fromkeys(cells, 0)
    left = count
    while left:
        open_cells = [c for c in cells if taken[c] < len(groups[c])]
        share = max(left // len(open_cells), 1)
        for cell in open_cells:
            step = min(share, len(groups[cell]) - taken[cell], left)
            taken[cell] += step
            left -= step
    chosen = np.concatenate([groups[c][: taken[c]] for c in cells])
    return faces.loc[faces.index.isin(chosen)]


def compose(faces_tables: Mapping[str, pd.DataFrame], run: Mapping[str, Any], seed: int) -> pd.DataFrame:
    """Training frame of one run: rows with split ``train`` and ``val``, and a column ``origin``.

    ``faces_tables`` holds the faces tables ``real`` and ``synthetic``, if the run uses them. ``run`` may
    set ``synthetic_per_real``, the number of generated training faces per real one (None: all of them);
    they are drawn balanced over cells. Validation rows are real if the run has real faces, so that runs
    are compared on the same faces. A label that one table does not have is undefined (0) there. Raises
    UserError for a table without training or validation rows, for repeated image ids, and if more generated
    faces are asked for than exist.
    """
    if not faces_tables:
        raise UserError("a run needs real faces, generated faces, or both; set real or synthetic in its entry of runs")
    for origin, table in faces_tables.items():
        missing = [c for c in _COLUMNS if c not in table]
        if missing:
            raise UserError(f"the {origin} faces table has no column {missing[0]!r}; read the data set again")
        for split in ("train", "val"):
            if not (table["split"] == split).any():
                raise UserError(f"the {origin} faces table has no rows with split {split!r}; the run cannot be trained")
    parts = []
    for origin, table in faces_tables.items():
        rows = table[table["split"] == "train"]
        wanted = run.get("synthetic_per_real")
        if origin == "synthetic" and "real" in faces_tables and wanted is not None:
            count = round(wanted * int((faces_tables["real"]["split"] == "train").sum()))
            if count * (1 - _TOLERANCE) > len(rows):
                raise UserError(
                    f"synthetic_per_real {wanted} asks for {count} generated faces, but only {len(rows)} are there to "
                    f"train on; lower it, or raise generation.images_per_prompt"
                )
            if count > len(rows):
                log.warning("synthetic_per_real %s asks for %d faces; all %d are used", wanted, count, len(rows))
            rows = draw_balanced(rows, count, seed)
        parts.append(rows.assign(origin=origin))
    judge = "real" if "real" in faces_tables else "synthetic"
    validation = faces_tables[judge]
    parts.append(validation[validation["split"] == "val"].assign(origin=judge))

    frame = pd.concat(parts, ignore_index=True)
    repeated = frame["image_id"][frame["image_id"].duplicated()]
    if len(repeated):
        raise UserError(
            f"image_id {repeated.iloc[0]!r} occurs twice among the faces of a run; every image needs its own"
        )
    labels = {c for part in parts for c in part if part[c].dtype == np.int8}
    for name in labels:
        frame[name] = frame[name].fillna(0).astype(np.int8)
    return frame
