"""Train, validation and test shares of a data set without its own split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evenface.seeds import seed_from
from evenface.taxonomy import dimensions_of

#: The share of images of each split.
SHARES: dict[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
#: Words of tables and folders for a split, in small letters.
SPLIT_WORDS: dict[str, str] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test",
    "testing": "test", "publictest": "val", "privatetest": "test",
}  # fmt: skip


def joined(levels: pd.DataFrame, separator: str) -> pd.Series:
    """The texts of each row, joined. It works column by column; a call per row takes minutes for a large data set."""
    texts = levels.astype(str)
    first, *others = (texts[column] for column in texts)
    return first.str.cat(others, sep=separator) if others else first


def cell_of(faces: pd.DataFrame) -> pd.Series:
    """The cell of each row: the column ``cell`` if it exists, else the demographic levels joined by ``-``."""
    if "cell" in faces:
        return faces["cell"].astype(str)
    return joined(faces[dimensions_of(faces.columns)], "-")


def assign_splits(
    faces: pd.DataFrame, *, seed: int, shares: Mapping[str, float] = SHARES, by: Sequence[str] | None = None
) -> pd.Series:
    """Split name of each row of ``faces`` (columns image_id, identity_id and the cell's), by index.

    All images of an identity are in one split. Every cell meets the shares to within one identity. The next
    cell compensates a cell's rounding, so that the whole set meets the shares too. The result depends neither on
    the order of rows nor on the machine; a set that grows is split anew. ``by`` names the columns that make a
    cell (default: :func:`cell_of`).
    """
    cells = cell_of(faces) if by is None else joined(faces[list(by)], "-")
    # An identity that appears in several cells belongs to the one it has most images in.
    counts = (
        pd.DataFrame({"identity": faces["identity_id"].astype(str), "cell": cells})
        .value_counts()
        .rename("images")
        .reset_index()
        .sort_values(["images", "cell", "identity"], ascending=[False, True, True])
    )
    home = counts.drop_duplicates("identity").set_index("identity")["cell"]
    images = counts.groupby("identity")["images"].sum()

    names = list(shares)
    owed = dict.fromkeys(names, 0.0)
    assigned: dict[str, str] = {}
    order = np.random.Generator(np.random.PCG64(seed_from(seed, "split order")))
    by_cell = {cell: sorted(group.index) for cell, group in home.groupby(home)}
    for cell in order.permutation(sorted(by_cell)):
        identities = by_cell[cell]
        total = sum(int(images[i]) for i in identities)
        for name in names:
            owed[name] += shares[name] * total
        draw = np.random.Generator(np.random.PCG64(seed_from(seed, "split", cell)))
        for identity in draw.permutation(identities):
            name = max(names, key=lambda n: owed[n])
            assigned[identity] = name
            owed[name] -= int(images[identity])
    return faces["identity_id"].astype(str).map(assigned).rename("split")


def draw_missing(images: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """``images`` with all three splits, and in words which were drawn. Columns: name, identity_id, split, emotion.

    The published test images stay the test set; without any, the published validation images are. 10 % of the training images,
    of every emotion, become the validation set. If all are for training, all are split by :data:`SHARES`.
    """
    images, given = images.copy(), set(images["split"])
    keys = images.rename(columns={"name": "image_id"})
    if given == {"train"}:
        images["split"] = assign_splits(keys, seed=0, by=["emotion"])
        return images, "drawn"
    if "test" not in given:
        images["split"] = images["split"].replace("val", "test")
    if "test" in given and "val" in given:
        return images, "published"
    train = images["split"].eq("train")
    images.loc[train, "split"] = assign_splits(keys[train], seed=0, by=["emotion"], shares={"train": 0.9, "val": 0.1})
    return images, "published; val drawn from train"
