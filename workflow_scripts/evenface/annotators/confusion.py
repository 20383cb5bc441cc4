"""Confusion tables: an annotator's answers for every true label, over all images and within each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evenface.intervals import wilson
from evenface.taxonomy import study

COLUMNS = ["head", "grouping", "group", "truth", "predicted", "n", "rate", "low", "high"]

#: Stands for a missing answer.
UNDEFINED = "undefined"

_WORDS = {1: "present", -1: "absent", 0: UNDEFINED}


def confusion(
    truth: pd.DataFrame,
    answers: pd.DataFrame,
    attributes: Sequence[str],
    groups: pd.DataFrame | None = None,
    vocabulary: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """How often each true label got each answer, over all images and within each demographic level.

    ``truth`` has the attributes in {+1, -1, 0} and the dimensions. ``answers`` is an annotation of the same
    rows in the same order. ``groups`` (the truth by default) has the dimensions by which images are
    grouped. ``vocabulary`` has the levels of each dimension (by default the study's); those that
    ``answers`` lacks have no rows. Columns :data:`COLUMNS`: one row per head, grouping, group, true and predicted label, with
    ``n`` images and ``rate``, their share among the images of that true label (NaN if there are none), and
    its 95 % Wilson interval over images. Attributes are present or absent. Undefined and unknown truths
    are left out. A missing answer counts as "undefined".
    """
    groups, vocabulary = truth if groups is None else groups, vocabulary or study()
    heads: dict[str, tuple[np.ndarray, np.ndarray, tuple[str, ...]]] = {}
    for name in attributes:
        heads[name] = (
            truth[name].map(_WORDS).to_numpy(object), answers[f"label_{name}"].map(_WORDS).to_numpy(object),
            ("present", "absent"),
        )  # fmt: skip
    for dimension, levels in vocabulary.items():
        if dimension not in answers:
            continue
        called = answers[dimension].where(answers[dimension].isin(levels), UNDEFINED)
        heads[dimension] = (truth[dimension].to_numpy(object), called.to_numpy(object), levels)
    members = [("all", "all", np.ones(len(truth), bool))]
    members += [(d, level, (groups[d] == level).to_numpy()) for d, levels in vocabulary.items() for level in levels]
    rows = []
    for head, (true, called, labels) in heads.items():
        for grouping, group, inside in members:
            for label in labels:
                member = inside & (true == label)
                total = int(member.sum())
                for answer in (*labels, UNDEFINED):
                    n = int((member & (called == answer)).sum())
                    rows.append((head, grouping, group, label, answer, n, n / total if total else np.nan, total))
    table = pd.DataFrame(rows, columns=[*COLUMNS[:-2], "total"])
    table["low"], table["high"] = wilson(table["rate"], table["total"])
    return table[COLUMNS]
