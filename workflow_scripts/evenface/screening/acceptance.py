"""How many images of each group pass screening. A filter can be unfair too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evenface.datasets.splits import joined
from evenface.intervals import wilson
from evenface.screening import REASONS
from evenface.taxonomy import GROUP_SEPARATOR, UNKNOWN, parse_grouping, study


def groupings_of_study() -> tuple[str, ...]:
    """The groupings of the tables: every dimension of the study, and products of the first three."""
    return (*study(), "gender*ethnicity", "gender*age*ethnicity")


def _groups(frame: pd.DataFrame, grouping: str) -> pd.Series:
    """Group of every row (:func:`evenface.taxonomy.group_name`); "unknown" if one of its levels is unknown."""
    if grouping == "all":
        return pd.Series("all", index=frame.index, name="group")
    levels = frame[list(parse_grouping(grouping, "groupings of acceptance", study()))].fillna(UNKNOWN).astype("str")
    return joined(levels, GROUP_SEPARATOR).where(~levels.eq(UNKNOWN).any(axis=1), UNKNOWN).rename("group")


def acceptance(
    screening: pd.DataFrame, demographics: pd.DataFrame, groupings: Sequence[str] | None = None
) -> pd.DataFrame:
    """Acceptance by group.

    ``screening``: image_id, accepted, reason. ``demographics``: image_id and the study's dimensions
    (for a generated set, those in use). Returns one row per grouping and group, and one for
    "all": grouping, group, total, accepted, rate, low, high (95 % Wilson),
    and one count per reason. Rows whose level is unknown count in "all" and in group "unknown" of
    the groupings concerned. Raises KeyError for missing columns.
    """
    frame = screening[["image_id", "accepted", "reason"]].merge(
        demographics[["image_id", *study()]], on="image_id", how="left", validate="one_to_one"
    )
    for reason in REASONS:
        frame[reason] = frame["reason"].eq(reason)
    parts = []
    for grouping in ("all", *(groupings or groupings_of_study())):
        counts = frame.groupby(_groups(frame, grouping), sort=True).agg(
            total=("accepted", "size"), accepted=("accepted", "sum"), **{r: (r, "sum") for r in REASONS}
        )
        counts.insert(0, "grouping", grouping)
        parts.append(counts.reset_index())
    table = pd.concat(parts, ignore_index=True)
    table["rate"] = table["accepted"] / table["total"]
    table["low"], table["high"] = wilson(table["rate"], table["total"])
    counts = ["total", "accepted", *REASONS]
    table[counts] = table[counts].astype("int64")
    return table[["grouping", "group", "total", "accepted", "rate", "low", "high", *REASONS]]


def quality(
    screening: pd.DataFrame, demographics: pd.DataFrame, groupings: Sequence[str] | None = None
) -> pd.DataFrame:
    """Quality scores by group: grouping, group, images (with a score), mean, minimum, q25, median, q75, maximum.

    ``screening``: image_id, quality (NaN without a score); ``demographics`` as for :func:`acceptance`.
    Without any score the table is empty.
    """
    frame = screening[["image_id", "quality"]].merge(
        demographics[["image_id", *study()]], on="image_id", how="left", validate="one_to_one"
    )
    frame = frame[frame["quality"].notna()].astype({"quality": "float64"})
    parts = []
    for grouping in ("all", *(groupings or groupings_of_study())):
        scores = frame.groupby(_groups(frame, grouping), sort=True)["quality"]
        table = pd.DataFrame({"images": scores.size(), "mean": scores.mean()})
        for name, share in (("minimum", 0), ("q25", 0.25), ("median", 0.5), ("q75", 0.75), ("maximum", 1)):
            table[name] = scores.quantile(share)
        table.insert(0, "grouping", grouping)
        parts.append(table.reset_index(names="group"))
    table = pd.concat(parts, ignore_index=True)
    return table[["grouping", "group", "images", "mean", "minimum", "q25", "median", "q75", "maximum"]]


def differences(
    screening: pd.DataFrame,
    demographics: pd.DataFrame,
    groupings: Sequence[str] | None = None,
    *,
    seed: int = 0,
    permutations: int = 2000,
) -> pd.DataFrame:
    """Whether groups are accepted at different rates, one row per grouping.

    Columns: grouping, groups, images, lowest and highest (group and rate), difference of the two rates, and p from a
    permutation test of Pearson's chi-squared statistic: the share of ``permutations`` shuffles of the verdicts that
    reach it, counting the observed one. Unknown levels are left out; p is NaN for fewer than two groups.
    Each generated image shows another person, so images may be shuffled.
    """
    frame = screening[["image_id", "accepted"]].merge(
        demographics[["image_id", *study()]], on="image_id", how="left", validate="one_to_one"
    )
    random = np.random.Generator(np.random.PCG64(seed))
    rows = []
    for grouping in groupings or groupings_of_study():
        group = _groups(frame, grouping)
        known = group.ne(UNKNOWN).to_numpy()
        codes, names = pd.factorize(group[known], sort=True)
        verdicts = frame["accepted"].to_numpy(bool)[known]
        row = {"grouping": grouping, "groups": len(names), "images": len(codes)}
        if len(names):
            totals = np.bincount(codes, minlength=len(names))
            rates = np.bincount(codes, verdicts, len(names)) / totals
            low, high = int(rates.argmin()), int(rates.argmax())
            row |= {
                "lowest": names[low],
                "lowest_rate": rates[low],
                "highest": names[high],
                "highest_rate": rates[high],
            }
            row |= {"difference": rates[high] - rates[low], "p": np.nan}
        if len(names) > 1:
            # Shuffling the verdicts is the same as drawing each group's accepted images without replacement.
            drawn = random.multivariate_hypergeometric(totals, int(verdicts.sum()), permutations, method="marginals")
            counts = np.vstack([np.bincount(codes, verdicts, len(names)), drawn])
            statistic = ((counts - totals * verdicts.mean()) ** 2 / totals).sum(1)
            # A tiny tolerance: equal tables must count as equal in any order of summation.
            row["p"] = (statistic >= statistic[0] - 1e-9).mean()
        rows.append(row)
    columns = ["grouping", "groups", "images", "lowest", "lowest_rate", "highest", "highest_rate", "difference", "p"]
    return pd.DataFrame(rows, columns=columns)
