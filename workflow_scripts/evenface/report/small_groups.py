"""The report's section on small groups: rates estimated together, and the scan over all subgroups."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup

from evenface.fairness.evaluated import CIRCULAR
from evenface.report import figures, svg
from evenface.report.figures import RATES

#: The rate in the figures: errors on people who have the attribute.
LEAD_RATE = "tpr"

#: Most rows of a list on the page; the tables have them all.
MOST_ROWS = 40

MEASURED, ESTIMATED = (
    svg.Series("measured from the group's own persons", "#5b5f66", "circle"),
    svg.Series("estimated with the help of the other groups", svg.COLOURS[0], "square"),
)


def small_groups_section(intersections: pd.DataFrame, scan: pd.DataFrame, runs: Sequence[str]) -> dict:
    """The template's values from the tables ``intersections`` and ``subgroup_scan``."""
    scan = scan[scan["metric"].isin(RATES)]
    return {
        "rate": RATES[LEAD_RATE],
        "figures": _figures(intersections, runs),
        "legend": Markup(svg.legend([MEASURED, ESTIMATED], hollow="low support")),
        "counts": _counts(scan, runs),
        "dimensions": list(dict.fromkeys(scan.loc[scan["order"] == 1, "grouping"])),
        "worst": _rows(scan[_true(scan["worst"]) & (scan["metric"] == LEAD_RATE)]),
        "lists": [
            {"name": name, "says": says, "total": int(_true(scan[name]).sum()), "rows": _rows(scan[_true(scan[name])])[:MOST_ROWS]}
            for name, says in (
                ("flagged", "a difference from everyone else exists"),
                ("certified", "any difference from everyone else is smaller than the practical threshold"),
            )
        ],
        "threshold": float(scan["practical_threshold"].iloc[0]) if len(scan) else None,
    }  # fmt: skip


def _true(values: pd.Series) -> pd.Series:
    return values.astype(str).str.lower() == "true"


def _figures(table: pd.DataFrame, runs: Sequence[str]) -> list[dict]:
    """Per attribute, a panel for each run and grouping by the most dimensions: both estimates of every group."""
    table = table[(table["metric"] == LEAD_RATE) & (table["status"] != CIRCULAR)]
    sections = []
    for attribute, mine in table.groupby("attribute", sort=False):
        orders = mine["grouping"].str.count(r"\*")
        finest = mine[orders == orders.max()]
        panels = [
            {"run": run, "grouping": grouping, "plot": Markup(_plot(attribute, run, grouping, here))}
            for run in runs
            for grouping, here in finest[finest["run_id"] == run].groupby("grouping", sort=False)
        ]
        sections.append({"attribute": attribute, "panels": panels})
    return sections


def _plot(attribute: str, run: str, grouping: str, table: pd.DataFrame) -> str:
    dots = []
    for row in table.itertuples(index=False):
        people = f"{row.n_identities} person{'s' if row.n_identities != 1 else ''}"
        for style, value, low, high in (
            (MEASURED, row.value, row.ci_low, row.ci_high),
            (ESTIMATED, row.shrunken, row.shrunken_low, row.shrunken_high),
        ):
            ends = (float(low), float(high)) if low == low else (None, None)
            between = f" ({svg.number(low)} to {svg.number(high)})" if low == low else ""
            note = f"{svg.words(row.group)}, {people}, {style.name}: {svg.number(value)}{between}"
            hollow = style is MEASURED and row.status != ""
            dots.append(svg.Dot(row.group, style, float(value), *ends, hollow=hollow, note=note))
    rows = list(table["group"])
    left = 14 + round(6.4 * max(len(svg.words(group)) for group in rows))
    title = f"{RATES[LEAD_RATE]} of {svg.words(attribute)} by {svg.words(grouping)}, {run}: {figures.read_out(dots)}"
    return svg.dot_plot(
        title, rows, dots, span=(0.0, 1.0), label=RATES[LEAD_RATE], left=left, width=left + 230, row_height=30
    )


def _counts(scan: pd.DataFrame, runs: Sequence[str]) -> list[dict]:
    """Per rate and run: subgroups of all attributes together that were flagged, certified, or neither."""
    rows = []
    for metric, name in RATES.items():
        cells = []
        for run in runs:
            mine = scan[(scan["metric"] == metric) & (scan["run_id"] == run) & scan["low"].notna()]
            flagged, certified = _true(mine["flagged"]), _true(mine["certified"])
            cells.append({"compared": len(mine), "flagged": int(flagged.sum()), "certified": int(certified.sum()),
                          "neither": int((~flagged & ~certified).sum())})  # fmt: skip
        rows.append({"rate": name, "cells": cells})
    return rows


def _rows(table: pd.DataFrame) -> list[dict]:
    """Rows by the size of their difference, largest first."""
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
    return [{**row, "rate": RATES[row["metric"]]} for row in table.loc[order].to_dict("records")]
