"""Unreadable images are few in all and few in every group, or the job stops and names the group."""

import itertools

import numpy as np
import pandas as pd
import pytest

from evenface.datasets.unreadable import check_unreadable
from evenface.errors import UserError
from evenface.taxonomy import DIMENSIONS, UNKNOWN

WORDS = {"key": "training.max_unreadable", "label": "run-1"}


def table(per_cell, origins=("real", "synthetic")):
    """``per_cell`` images of every cell of every origin."""
    cells = list(itertools.product(origins, *DIMENSIONS.values()))
    rows = [cell for cell in cells for _ in range(per_cell)]
    faces = pd.DataFrame(rows, columns=["origin", *DIMENSIONS])
    faces["image_id"] = [f"i{k}" for k in range(len(faces))]
    return faces.assign(image=faces["image_id"] + ".jpg")


def lost(faces, rows):
    return faces.loc[rows, ["image_id", "image"]].assign(reason="corrupt", detail="torn")


def cell_rows(faces, **levels):
    keep = np.ones(len(faces), bool)
    for name, level in levels.items():
        keep &= (faces[name] == level).to_numpy()
    return np.flatnonzero(keep)


WHITE_MEN = {"origin": "synthetic", "gender": "male", "age": "young", "ethnicity": "white"}


def test_nothing_lost_is_nothing_to_say():
    assert check_unreadable(table(2), lost(table(2), []), 0.0, **WORDS) == []


def test_a_group_is_not_lost_within_the_limit_for_all():
    """All of one cell's faces, well under the limit for all and for the generated ones: the shards of the issue."""
    faces = table(1000)
    rows = cell_rows(faces, **WHITE_MEN)[:100]  # 0.3 % of all, 0.6 % of the generated ones, 10 % of their cell
    with pytest.raises(UserError) as caught:
        check_unreadable(faces, lost(faces, rows), 0.01, **WORDS)
    first = faces["image"][rows[0]]
    assert str(caught.value).startswith(
        f"run-1: 100 of 1000 images of synthetic male young white cannot be read, more than training.max_unreadable 0.01 "
        f"allows. The first: {first} (torn); "
    )
    assert str(caught.value).endswith(". Repair the data set, or raise training.max_unreadable")


def test_every_origin_holds_the_limit():
    faces = pd.concat([table(1000, ["real"]), table(50, ["synthetic"])], ignore_index=True)
    faces["image_id"] = [f"i{k}" for k in range(len(faces))]
    generated = cell_rows(faces, origin="synthetic")
    one_each = [rows[0] for rows in np.array_split(generated, len(generated) // 50)]  # 18 of 900, one of every cell
    with pytest.raises(UserError, match="18 of 900 images of synthetic cannot be read"):
        check_unreadable(faces, lost(faces, one_each), 0.01, **WORDS)


def test_one_bad_image_of_a_tiny_cell_is_tolerated_and_recorded():
    faces = table(20)
    assert check_unreadable(faces, lost(faces, cell_rows(faces, **WHITE_MEN)[:1]), 0.01, **WORDS) == [
        {**WHITE_MEN, "images": 20, "unreadable": 1}
    ]
    with pytest.raises(UserError, match="2 of 20 images of synthetic male young white"):
        check_unreadable(faces, lost(faces, cell_rows(faces, **WHITE_MEN)[:2]), 0.01, **WORDS)
    with pytest.raises(UserError, match="1 of 720 images cannot be read"):
        check_unreadable(faces, lost(faces, [0]), 0.0, **WORDS)


def test_tiny_cells_that_lose_one_each_fail_in_their_level():
    faces = table(20)
    asian = cell_rows(faces, origin="real", ethnicity="asian")
    one_each = asian[::20][:3]  # of 120 images: 2.5 %, but 0.8 % of the real ones
    with pytest.raises(UserError, match="3 of 120 images of real asian cannot be read"):
        check_unreadable(faces, lost(faces, one_each), 0.01, **WORDS)


def test_images_without_known_levels_are_a_group_too():
    faces = table(1000).drop(columns="origin").assign(dataset="celeba", age=UNKNOWN)
    faces.loc[:99, "gender"] = UNKNOWN
    with pytest.raises(UserError, match="50 of 100 images of celeba unknown unknown asian"):
        check_unreadable(faces, lost(faces, range(50)), 0.01, **WORDS)
