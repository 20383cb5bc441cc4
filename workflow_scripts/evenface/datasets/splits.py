"""Train, validation and test shares of a data set that has no split of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evenface.seeds import seed_from
from evenface.taxonomy import DIMENSIONS

#: The share of images each split gets.
SHARES: dict[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


def joined(levels: pd.DataFrame, separator: str) -> pd.Series:
    """The texts of each row, joined; column by column, since a call per row takes minutes for a large data set."""
    texts = levels.astype(str)
    first, *others = (texts[column] for column in texts)
    return first.str.cat(others, sep=separator) if others else first


def cell_of(faces: pd.DataFrame) -> pd.Series:
    """The cell of each row: column ``cell`` where there is one, else its demographic levels joined by ``-``."""
    if "cell" in faces:
        return faces["cell"].astype(str)
    return joined(faces[list(DIMENSIONS)], "-")


def assign_splits(
    faces: pd.DataFrame, *, seed: int, shares: Mapping[str, float] = SHARES, by: Sequence[str] | None = None
) -> pd.Series:
    """Split name of each row of ``faces`` (columns image_id, identity_id and the cell's), by index.

    All images of an identity fall into one split. Inside every cell the shares are met to within
    one identity, and what a cell's rounding leaves over is made up in the next, so that the whole
    set meets them too. Neither row order nor the machine matters; a set that grows is split anew.
    ``by`` names the columns that make a cell, where it is not the default of :func:`cell_of`.
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
