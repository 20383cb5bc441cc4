"""The report's section on who is in the sets of faces, and which attributes go with which group."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from evenface.report import figures, svg


def representation_section(diversity: pd.DataFrame, shares: pd.DataFrame) -> dict:
    """The template's values from ``results/representation.csv`` and ``results/attribute_by_group.csv``, of whole sets.

    A figure per set shows the attributes in the groups of the dimension whose groups differ most, on average.
    """
    diversity, shares = (table[table["split"] == "all"] for table in (diversity, shares))
    return {
        "rows": diversity.to_dict("records"),
        "figures": [_figure(name, table) for name, table in shares.groupby("dataset", sort=False)],
    }


def _figure(name: str, shares: pd.DataFrame) -> dict:
    single = shares[~shares["grouping"].str.contains("*", regex=False) & shares["share"].notna()]
    if single.empty:
        return {"name": name, "grouping": "", "plot": "", "legend": ""}
    ends = single.groupby(["grouping", "attribute"], sort=False)["share"].agg(["min", "max"])
    grouping = (ends["max"] - ends["min"]).groupby("grouping", sort=False).mean().idxmax()
    drawn = single[single["grouping"] == grouping]
    styles = {item.name: item for item in svg.series(list(dict.fromkeys(drawn["group"])))}
    dots = [
        svg.Dot(r.attribute, styles[r.group], float(r.share), float(r.low), float(r.high),
                note=f"{svg.words(r.attribute)}, {svg.words(r.group)}: {svg.number(r.share)} of {r.labelled}")
        for r in drawn.itertuples()
    ]  # fmt: skip
    rows = list(dict.fromkeys(drawn["attribute"]))
    left = 14 + round(6.6 * max(len(svg.words(row)) for row in rows))
    title = f"Share of faces in {svg.words(name)} with each attribute, by {grouping}: {figures.read_out(dots)}"
    label = "share with the attribute, 95 % interval"
    plot = svg.dot_plot(title, rows, dots, span=(0.0, 1.0), label=label, left=left, width=left + 300)
    return {
        "name": name,
        "grouping": grouping,
        "plot": Markup(plot),
        "legend": Markup(svg.legend(list(styles.values()))),
    }
