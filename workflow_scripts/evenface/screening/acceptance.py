"""How many images of each group survive screening: a filter can be unfair too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evenface.screening.screen import REASONS
from evenface.taxonomy import UNKNOWN, parse_grouping

GROUPINGS = ("gender", "age", "ethnicity", "gender*ethnicity", "gender*age*ethnicity")

#: Standard normal quantile of a two-sided 95 % interval.
_Z = 1.959963984540054


def wilson(successes: np.ndarray, totals: np.ndarray, z: float = _Z) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of binomial proportions, lower and upper bound in [0, 1]; NaN for no trials.

    Wilson, JASA 22, 1927.
    """
    n = np.asarray(totals, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.asarray(successes, np.float64) / n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def acceptance(
    screening: pd.DataFrame, demographics: pd.DataFrame, groupings: Sequence[str] = GROUPINGS
) -> pd.DataFrame:
    """Acceptance by group.

    ``screening``: image_id, accepted, reason. ``demographics``: image_id, gender, age, ethnicity
    (for a generated set, what was asked for). Returns one row per grouping and group, and one for
    "all": grouping, group (levels joined by ``*``), total, accepted, rate, low, high (95 % Wilson),
    and one count per reason. Rows whose level is unknown count in "all" and in group "unknown" of
    the groupings concerned. Raises KeyError for missing columns.
    """
    frame = screening[["image_id", "accepted", "reason"]].merge(
        demographics[["image_id", "gender", "age", "ethnicity"]], on="image_id", how="left", validate="one_to_one"
    )
    for reason in REASONS:
        frame[reason] = frame["reason"].eq(reason)
    parts = []
    for grouping in ("all", *groupings):
        if grouping == "all":
            group = pd.Series("all", index=frame.index)
        else:
            levels = frame[list(parse_grouping(grouping))].fillna(UNKNOWN).astype("str")
            group = levels.agg("*".join, axis=1) if len(levels) else pd.Series(dtype="str")
            group = group.where(~levels.eq(UNKNOWN).any(axis=1), UNKNOWN)
        counts = frame.groupby(group.rename("group"), sort=True).agg(
            total=("accepted", "size"), accepted=("accepted", "sum"), **{r: (r, "sum") for r in REASONS}
        )
        counts.insert(0, "grouping", grouping)
        parts.append(counts.reset_index())
    table = pd.concat(parts, ignore_index=True)
    low, high = wilson(table["accepted"].to_numpy(), table["total"].to_numpy())
    table["rate"] = table["accepted"] / table["total"]
    table["low"], table["high"] = low, high
    counts = ["total", "accepted", *REASONS]
    table[counts] = table[counts].astype("int64")
    return table[["grouping", "group", "total", "accepted", "rate", "low", "high", *REASONS]]
