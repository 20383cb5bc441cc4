"""The report's section on the quality filter: whether it treats groups equally, and whether its score means quality."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup

from evenface.report import figures, svg
from evenface.taxonomy import DIMENSIONS

#: Text for a level of each degradation, with its unit.
UNITS = {
    "clean": "",
    "yaw": "head turned by {:g}°",
    "blur": "blurred by {:g} pixels of the crop",
    "resolution": "reduced to {:g} × {:g} pixels",
    "occlusion": "{:.0%} of the crop covered",
}


def quality_section(differences: pd.DataFrame | None, quality: pd.DataFrame | None) -> dict:
    """The template's values from the tables of :mod:`evenface.screening.acceptance`; empty if one is missing."""
    return {
        "differences": [] if differences is None else _differences(differences),
        "groups": [] if quality is None else quality.to_dict("records"),
    }


def study_section(study: pd.DataFrame | None) -> dict:
    """The template's values from the table of :mod:`evenface.audit.quality_study`; empty if it is missing."""
    shown = study is not None and len(study) > 0
    return {"rows": _study(study) if shown else [], "figure": _figure(study) if shown else None}


def _differences(table: pd.DataFrame) -> list[dict]:
    """Groupings with at least two groups, the difference between their shares of accepted images, and p."""
    return table[table["groups"] > 1].to_dict("records")


def _what(degradation: str, level: float) -> str:
    return UNITS.get(degradation, "{:g}").format(level, level) or "undegraded"


def _study(table: pd.DataFrame) -> list[dict]:
    rows = table[table["grouping"] == "all"].to_dict("records")
    return [{**row, "what": _what(row["degradation"], row["level"])} for row in rows]


def _figure(table: pd.DataFrame) -> dict:
    """Change of the score against the same person's undegraded picture, with its interval, by ethnicity."""
    table = table[(table["degradation"] != "clean") & table["grouping"].isin(["all", "ethnicity"])]
    order = ["all", *DIMENSIONS["ethnicity"]]
    styles = {item.name: item for item in svg.series(order)}
    rows, labels, headings, dots = [], {}, [], []
    for degradation, mine in table.groupby("degradation", sort=False):
        rows.append(degradation)
        headings.append(degradation)
        for level, here in mine.groupby("level", sort=False):
            rows.append(name := f"{degradation}={level:g}")
            labels[name] = _what(degradation, level)
            for row in here[here["group"].isin(order)].itertuples():
                note = f"{labels[name]}, {row.group}: {svg.number(row.change)}"
                dots.append(svg.Dot(name, styles[row.group], float(row.change), float(row.change_low),
                                    float(row.change_high), note=note))  # fmt: skip
    ends = [v for d in dots for v in (d.value, d.low, d.high) if v == v]
    span = (float(np.floor(min(ends, default=-1.0))), float(np.ceil(max(ends, default=0.0) * 2) / 2))
    title = "Change of the quality score with known degradations: " + figures.read_out(dots)
    plot = svg.dot_plot(
        title, rows, dots, span=span, label="change of the score, 95 % interval", headings=headings, labels=labels,
        reference=0.0, reference_label="unchanged", left=230, width=620, row_height=30,
    )  # fmt: skip
    return {"plot": Markup(plot), "legend": Markup(svg.legend(list(styles.values())))}
