"""How far two annotators agree, over all images and within each group."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.taxonomy import CELEBA_ATTRIBUTES, UNKNOWN, study

COLUMNS = ["annotator_a", "annotator_b", "kind", "name", "grouping", "group", "n", "undefined", "agreement", "kappa"]


def cohens_kappa(a: np.ndarray, b: np.ndarray) -> float:
    """Cohen's kappa of two label arrays (n,): (p_o - p_e) / (1 - p_e), chance agreement from the margins.

    NaN without images, and if both always give the same single label, because p_e is then 1. Cohen,
    Educational and Psychological Measurement 20 (1960).
    """
    if not len(a):
        return float("nan")
    observed = float(np.mean(a == b))
    expected = sum(float(np.mean(a == label)) * float(np.mean(b == label)) for label in np.unique([a, b]))
    return float("nan") if 1 - expected < 1e-12 else (observed - expected) / (1 - expected)


def agreement(annotations: Mapping[str, pd.DataFrame], groups: pd.DataFrame) -> pd.DataFrame:
    """Agreement of every pair of annotators, one row per attribute or dimension and group.

    ``annotations`` maps names to annotation tables (image_id, ``label_<Name>``, dimensions), ``groups`` has
    image_id and the dimensions by which images are grouped, such as what the prompt asked for.
    Images in both tables and in ``groups`` are compared. An attribute counts if both labels are defined, a
    dimension if both levels are known; ``undefined`` is the number of images that do not count. Columns:
    ``COLUMNS``; ``kind`` is attribute or dimension; ``grouping`` is all or a dimension; ``agreement`` in [0, 1]
    and ``kappa`` are NaN without images. Raises UserError for repeated ids.
    """
    for name, table in {**annotations, "groups": groups}.items():
        repeated = table["image_id"][table["image_id"].duplicated()]
        if len(repeated):
            raise UserError(f"annotation {name}: image_id {repeated.iloc[0]!r} occurs twice; make its tables again")
    by_id = {name: table.set_index("image_id") for name, table in annotations.items()}
    levels = groups.set_index("image_id")
    rows = []
    for first, second in combinations(annotations, 2):
        shared = levels.index.intersection(by_id[first].index).intersection(by_id[second].index)
        a, b, inside = (table.loc[shared] for table in (by_id[first], by_id[second], levels))
        members = [("all", "all", np.ones(len(shared), bool))]
        members += [(d, v, (inside[d] == v).to_numpy()) for d, values in study().items() for v in values]
        names = [n for n in CELEBA_ATTRIBUTES if f"label_{n}" in a and f"label_{n}" in b]
        subjects = [("attribute", n, f"label_{n}", 0) for n in names]
        subjects += [("dimension", d, d, UNKNOWN) for d in study() if d in a and d in b]
        for kind, name, column, nothing in subjects:
            left, right = a[column].to_numpy(), b[column].to_numpy()
            defined = (left != nothing) & (right != nothing)
            for grouping, group, member in members:
                counted = member & defined
                n = int(counted.sum())
                rows.append(
                    (
                        first, second, kind, name, grouping, group, n, int(member.sum()) - n,
                        float(np.mean(left[counted] == right[counted])) if n else np.nan,
                        cohens_kappa(left[counted], right[counted]),
                    )
                )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)
