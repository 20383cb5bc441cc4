"""Limits the unreadable images, in all and in every group, so that no group is lost silently."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.taxonomy import dimensions_of

log = logging.getLogger("evenface")

_NAMED = 3


def check_unreadable(
    faces: pd.DataFrame, rejected: pd.DataFrame, share: float, *, key: str, label: str
) -> list[dict[str, Any]]:
    """Stop if too many images of ``faces`` are unreadable, in all or in one group; else return the losses by cell.

    ``faces``: image_id, gender, age, ethnicity, and ``origin`` or ``dataset``. ``rejected``, the images that
    could not be read: image_id, image, detail. At most ``share`` (0 to 1, the value of the configuration's
    ``key``) of all images, and of the images of each origin, may be missing. The same share holds for each
    demographic level and each cell (gender x age x ethnicity) of an origin. As an exception, one image may be
    missing from a group of fewer than 1 / share images, so that a single bad file does not stop a job. Many small
    groups that lose one image each still fail together, in their level, their origin or in all. With ``share`` 0
    none may be missing.

    Returns the cells that lost images, in order: origin, gender, age, ethnicity, images, unreadable. Raises
    UserError that names the group, its counts and its first files.
    """
    for row in rejected.head(20).itertuples():
        log.warning("%s: left out (%s)", row.image, row.detail)
    if not len(rejected):
        return []
    dimensions = dimensions_of(faces.columns)
    groups = faces[dimensions].astype(str)
    groups.insert(0, "origin", faces["origin" if "origin" in faces else "dataset"].astype(str))
    groups["unreadable"] = faces["image_id"].isin(rejected["image_id"]).to_numpy()
    cell = ["origin", *dimensions]
    for groupings in ([[]], [["origin"]], [cell], [["origin", dimension] for dimension in dimensions]):
        over = [row for names in groupings for row in _over(_counts(groups, names), names, share)]
        if over:
            worst = max(over, key=lambda row: row["unreadable"] / row["images"])
            levels = {name: worst[name] for name in cell if name in worst}
            inside = groups["unreadable"].to_numpy(bool, copy=True)
            for name, level in levels.items():
                inside &= (groups[name] == level).to_numpy()
            files = rejected[rejected["image_id"].isin(faces["image_id"][inside])].head(_NAMED)
            where = f" of {' '.join(levels.values())}" if levels else ""
            first = "; ".join(f"{image} ({detail})" for image, detail in zip(files["image"], files["detail"]))
            raise UserError(
                f"{label}: {worst['unreadable']} of {worst['images']} images{where} cannot be read, more than {key} "
                f"{share:g} allows. The first: {first}. Repair the data set, or raise {key}"
            )
    cells = _counts(groups, cell)
    return cells[cells["unreadable"] > 0].to_dict("records")


def _over(counts: pd.DataFrame, names: list[str], share: float) -> list[dict[str, Any]]:
    """The rows of ``counts`` that lost more than their share; a group of an origin may always lose one image."""
    allowed = share * counts["images"]
    if len(names) > 1 and share:
        allowed = np.maximum(allowed, 1)
    return counts[counts["unreadable"] > allowed].to_dict("records")


def _counts(groups: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Numbers of images and of unreadable ones, for each combination of the columns ``names`` that occurs."""
    if not names:
        return pd.DataFrame({"images": [len(groups)], "unreadable": [int(groups["unreadable"].sum())]})
    counted = groups.groupby(names, sort=True)["unreadable"].agg(images="size", unreadable="sum")
    return counted.astype(int).reset_index()
