"""Predictions of a classifier that was not trained here, as a table of predictions like any other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.fairness.own_tables import read_predictions
from evenface.storage.hashes import sha256_of
from evenface.storage.tables import write_table
from evenface.targets import SEPARATOR, add_accuracy, has, labels_of
from evenface.taxonomy import dimensions_of

log = logging.getLogger("evenface")


def import_predictions(
    path: str | Path,
    faces: pd.DataFrame,
    out: str | Path,
    *,
    attributes: Sequence[str],
    key: str,
    split: str = "test",
    threshold: float = 0.5,
) -> pd.DataFrame:
    """Write the predictions in ``path`` for the test images of ``faces`` as a table of predictions; returns it too.

    path        CSV or Parquet: the image (its name, or its id in the faces table), and a score in [0, 1] or a decision
                (0 and 1, -1 and 1, true and false) per attribute
    faces       the faces table of the test set
    key         the configuration key that names the file, for messages
    threshold   scores at least as large are decisions for yes

    Rows for images of other splits are left out, and counted in the log. Raises UserError for a test image without a
    prediction, for an image that is not in the data set, and for an attribute without a column.
    """
    path = Path(path)
    given, notes = read_predictions(path)
    for note in notes:
        log.info("%s", note)
    columns = {name.partition("_")[2]: name for name in given.columns if name != "image_id"}
    if absent := [name for name in attributes if name not in columns]:
        raise UserError(
            f"{path}: no column predicts {absent[0]!r}, which evaluation.attributes asks for; it has {', '.join(columns)}; see "
            f"{key}"
        )
    place = _places(path, given["image_id"], faces, key)
    wanted = np.flatnonzero((faces["split"] == split).to_numpy())
    row = np.full(len(faces), -1)
    row[place] = np.arange(len(place))
    missing = wanted[row[wanted] < 0]
    if len(missing):
        raise UserError(
            f"{path}: image {faces['image_id'].iloc[missing[0]]!r} of the test set has no prediction ({len(missing)} of "
            f"{len(wanted)}); predict all of them; see {key}"
        )
    if len(place) > len(wanted):
        log.info("%s: %d rows are of images of other splits, and left out", path, len(place) - len(wanted))
    table = faces.iloc[wanted][["image_id", "identity_id", *dimensions_of(faces.columns)]].reset_index(drop=True)
    for name in attributes:
        if not has(faces, name):
            raise UserError(f"{key}: the test set does not label {name!r}; leave it out of evaluation.attributes")
        values = given[columns[name]].to_numpy()[row[wanted]]
        table[columns[name]] = values if columns[name].startswith("pred_") else values.astype(np.float64)
        table[f"label_{name}"] = labels_of(faces, name).astype(np.int8)[wanted]
    add_accuracy(table, list(attributes))
    meta: dict[str, Any] = {
        "dataset": _only(faces["dataset"]),
        "split": split,
        "label_source": _only(faces["labels_source"]),
        "group_source": _only(faces["demographics_source"]),
        "thresholds": {
            name: threshold for name in attributes if columns[name].startswith("score_") and SEPARATOR not in name
        },
        "imported": {"file": str(path), "sha256": sha256_of(path), "read_as": notes},
    }
    write_table(table, out, kind="predictions", meta=meta)
    return table


def _places(path: Path, names: pd.Series, faces: pd.DataFrame, key: str) -> np.ndarray:
    """Rows (n,) of the faces table for the names of images, which may be ids, or ids without the data set or folders."""
    ids = faces["image_id"].astype(object)
    dataset = f"{faces['dataset'].iloc[0]}/"
    short = ids.str.removeprefix(dataset)
    index = pd.Index(short)
    own = names.str.removeprefix(dataset)
    place = index.get_indexer(pd.Index(own))
    if (place < 0).all():  # other folders above the names
        depth = int(short.iloc[0].count("/")) + 1
        own = own.str.replace("\\", "/").str.split("/").str[-depth:].str.join("/")
        place = index.get_indexer(pd.Index(own))
    if (place < 0).any():
        row = int(np.argmax(place < 0))
        raise UserError(
            f"{path}, row {row + 1}: the data set has no image {names.iloc[row]!r} ({int((place < 0).sum())} such rows); its "
            f"images are called {short.iloc[0]!r} and so on; write these names, and leave other images out; see {key}"
        )
    if len(np.unique(place)) < len(place):
        first = names[pd.Series(place).duplicated().to_numpy()].iloc[0]
        raise UserError(f"{path}: image {first!r} has two rows; each may have one; see {key}")
    return place


def _only(values: pd.Series) -> str:
    return "+".join(sorted(map(str, values.unique())))
