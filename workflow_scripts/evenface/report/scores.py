"""The report's section on what scores say whatever the threshold: gaps, curves over thresholds, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from evenface.report import svg
from evenface.report.figures import read_out
from evenface.report.svg import Dot, Series, dot_plot, line_plot, words
from evenface.taxonomy import UNKNOWN

#: Metrics whose gaps are shown, with their names as column heads; those of the first two are figures.
METRICS = {"auc": "AUC", "eer": "EER", "ece": "ECE", "signed_calibration_error": "signed calibration error"}

#: Most figures of reliability; the table has all.
_RELIABILITY = 6

_MOST_GROUPS = 7  # colours that can be told apart


def score_section(
    tables: Mapping[str, pd.DataFrame], lead: pd.DataFrame, styles: Mapping[str, Series], groupings: Sequence[str]
) -> dict | None:
    """The template's values; None without the tables ``score gaps``, ``threshold gaps`` and ``calibration``.

    lead    rows of the leading criterion, one per run, attribute and grouping
    styles  run -> its look
    """
    if len(tables) < 3 or not tables["score gaps"]["value"].notna().any():
        return None
    gaps = _of_runs(tables["score gaps"])
    single = [g for g in groupings if "*" not in g]
    reliability, n_left_out = _reliability(tables["calibration"], list(styles), single)
    return {
        "columns": list(METRICS.values()),
        "gaps": [
            {"name": METRICS[metric], "grouping": grouping, "plot": Markup(plot)}
            for metric in ("auc", "eer")
            for grouping in single
            if (plot := _gap_plot(gaps[gaps["metric"] == metric], metric, grouping, styles))
        ],
        "tables": [_beside(gaps, lead, grouping, list(styles)) for grouping in groupings],
        "curves": _curves(tables["threshold gaps"], styles, single),
        "reliability": reliability,
        "n_left_out": n_left_out,
    }


def _of_runs(gaps: pd.DataFrame) -> pd.DataFrame:
    """The rows of whole runs: the mean of the seeds where there are several."""
    return gaps[gaps["n_seeds"] == gaps.groupby("run_id")["n_seeds"].transform("max")]


def _gap_plot(rows: pd.DataFrame, metric: str, grouping: str, styles: Mapping[str, Series]) -> str:
    """Gaps of one metric and grouping: a row per attribute, a dot per run; an empty text without any value."""
    here = rows[(rows["grouping"] == grouping) & rows["value"].notna()]
    dots = []
    for row in here.itertuples(index=False):
        known = row.ci_low == row.ci_low
        note = f"{words(row.attribute)}, {row.run_id}: {svg.number(row.value)}"
        note += f" ({svg.number(row.ci_low)} to {svg.number(row.ci_high)})" if known else ""
        ends = (float(row.ci_low), float(row.ci_high)) if known else (None, None)
        dots.append(Dot(row.attribute, styles[row.run_id], float(row.value), *ends, note=note, tick=row.null_mean))
    if not dots:
        return ""
    attributes = list(dict.fromkeys(here["attribute"]))
    left = 14 + round(6.6 * max(len(words(a)) for a in attributes))
    top = float(np.ceil(max(rows[["value", "ci_high", "null_mean"]].max(axis=None), 0.1) * 10 + 1e-9) / 10)
    title = f"Gap of {METRICS[metric]} by {words(grouping)}: " + read_out(dots)
    return dot_plot(
        title,
        attributes,
        dots,
        span=(0.0, min(top, 1.0)),
        label=f"gap of {METRICS[metric]}",
        left=left,
        width=left + 240,
    )


def _beside(gaps: pd.DataFrame, lead: pd.DataFrame, grouping: str, runs: Sequence[str]) -> dict:
    """Per attribute and run: the leading criterion at the threshold, and the gaps of scores."""
    here = gaps[gaps["grouping"] == grouping].set_index(["attribute", "run_id", "metric"])
    decided = lead[lead["grouping"] == grouping].set_index(["attribute", "model"])
    rows = []
    for attribute in dict.fromkeys(here.index.get_level_values("attribute")):
        for run in runs:
            keys = [(attribute, run, metric) for metric in METRICS]
            cells = [dict(here.loc[key]) if key in here.index else None for key in keys]
            if any(cell is not None for cell in cells):
                known = (attribute, run) in decided.index
                one = decided.loc[(attribute, run)] if known else {"value": np.nan, "verdict": ""}
                own = {"decided": one["value"], "verdict": one["verdict"]}
                rows.append({"attribute": attribute, "run": run, "cells": cells, **own})
    return {"grouping": grouping, "rows": rows}


def _curves(table: pd.DataFrame, styles: Mapping[str, Series], groupings: Sequence[str]) -> list[dict]:
    """Per attribute: the gap of true positive rates over thresholds, a panel per grouping and a curve per run."""
    sections = []
    known = table[table["tpr_difference"].notna()]
    for attribute, rows in known.groupby("attribute", sort=False):
        panels = []
        top = float(np.ceil(max(rows["tpr_difference"].max(), 0.1) * 10 + 1e-9) / 10)
        for grouping in groupings:
            here = rows[rows["grouping"] == grouping]
            lines, marks = [], []
            for run, style in styles.items():
                mine = here[here["run_id"] == run].sort_values("threshold")
                points = list(zip(mine["threshold"], mine["tpr_difference"], strict=True))
                lines.append((style, [(float(a), float(b)) for a, b in points if a == a], False))
                own = mine[mine["own_threshold"].astype(str).str.lower() == "true"]
                own = own[own["threshold"].notna()]  # seeds may have several
                marks += [
                    (style, float(a), float(b)) for a, b in zip(own["threshold"], own["tpr_difference"], strict=True)
                ]
            if not any(points for _, points, _ in lines):
                continue
            title = f"Gap of the true positive rate of {words(attribute)} by {words(grouping)}, over thresholds"
            plot = line_plot(
                title, lines, x_label="threshold", y_label="gap of TPR", y_span=(0.0, min(top, 1.0)), x_span=(0.0, 1.0),
                marks=marks, width=340, height=220,
            )  # fmt: skip
            panels.append({"grouping": grouping, "plot": Markup(plot)})
        if panels:
            sections.append({"attribute": attribute, "panels": panels})
    return sections


def _reliability(table: pd.DataFrame, runs: Sequence[str], groupings: Sequence[str]) -> tuple[list[dict], int]:
    """Reliability diagrams of the first models and attributes, a curve per group; and how many were left out."""
    order = {run: k for k, run in enumerate(runs)}
    first = table.drop_duplicates("run_id", keep="first").set_index("run_id")["model_id"]
    usable = table[(table["status"] == "") & ~table["group"].str.contains(UNKNOWN, regex=False)]
    usable = usable[usable["model_id"] == usable["run_id"].map(first)]
    shown = usable.drop_duplicates(["attribute", "model_id"])[["attribute", "model_id", "run_id"]]
    shown = shown.sort_values("run_id", key=lambda c: c.map(order), kind="stable")
    shown = shown.sort_values("attribute", key=lambda c: pd.factorize(c)[0], kind="stable")
    sections = []
    for attribute, model in shown[["attribute", "model_id"]].head(_RELIABILITY).itertuples(index=False):
        panels = []
        for grouping in groupings:
            here = usable[
                (usable["attribute"] == attribute) & (usable["model_id"] == model) & (usable["grouping"] == grouping)
            ]
            looks = svg.series(list(dict.fromkeys(here["group"])))[:_MOST_GROUPS]
            lines, marks = [(Series("calibrated", "#5b5f66", "circle"), [(0.0, 0.0), (1.0, 1.0)], True)], []
            for look in looks:
                mine = here[here["group"] == look.name].sort_values("mean_score")
                points = [(float(a), float(b)) for a, b in zip(mine["mean_score"], mine["positive_rate"], strict=True)]
                lines.append((look, points, False))
                marks += [(Series(words(look.name), look.colour, look.shape), a, b) for a, b in points]
            if not looks:
                continue
            title = f"Share of positive images over the mean score, {words(attribute)} by {words(grouping)}, {model}"
            plot = line_plot(
                title, lines, x_label="mean score", y_label="share positive", y_span=(0.0, 1.0), x_span=(0.0, 1.0),
                marks=marks, width=320, height=250,
            )  # fmt: skip
            legend = svg.legend([Series(words(look.name), look.colour, look.shape) for look in looks])
            panels.append({"grouping": grouping, "plot": Markup(plot), "legend": Markup(legend)})
        if panels:
            sections.append({"attribute": attribute, "model": model, "panels": panels})
    return sections, max(len(shown) - _RELIABILITY, 0)
