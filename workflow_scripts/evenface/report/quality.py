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

#: Differences in acceptance with a smaller p are called unequal.
_CHANCE = 0.05
_FACTORS = {"yaw": "turned heads", "blur": "blur", "resolution": "low resolution", "occlusion": "covering"}


def quality_section(differences: pd.DataFrame | None, quality: pd.DataFrame | None) -> dict:
    """The template's values from the tables of :mod:`evenface.screening.acceptance`; empty if one is missing."""
    compared = [] if differences is None else _differences(differences)
    return {
        "differences": compared,
        "apart": [row for row in compared if row["p"] < _CHANCE],
        "groups": [] if quality is None else quality.to_dict("records"),
    }


def study_section(study: pd.DataFrame | None, verdict: pd.DataFrame | None) -> dict:
    """The template's values from the tables of :mod:`evenface.audit.quality_study`; empty if one is missing."""
    if study is None or verdict is None or study.empty:
        return {"rows": [], "figure": None, "verdict": [], "correlations": []}
    return {
        "rows": _study(study),
        "figure": _figure(study),
        "verdict": verdict_sentences(study, verdict),
        "correlations": _correlations(verdict),
    }


def verdict_sentences(study: pd.DataFrame, verdict: pd.DataFrame) -> list[str]:
    """What the study says of the score and of the gate, worst first: whether it falls, for whom, what is accepted."""
    falls, groups = verdict[verdict["question"] == "falls"], verdict[verdict["question"].isin(["slope", "acceptance"])]
    found = {answer: falls[falls["verdict"] == answer] for answer in ("no", "unsure", "yes")}
    measured = f"rank correlation with the severity, 95 % interval; {falls['limit'].iloc[0]:g} is enough"
    said = {
        "no": "The quality score does not fall enough with {}",
        "unsure": "With so few people the study cannot say whether the quality score falls enough with {}",
        "yes": "The quality score falls with {}",
    }
    sentences = [
        said[answer].format(
            _and([f"{_FACTORS.get(r.degradation, r.degradation)} ({_value(r)})" for r in rows.itertuples()])
        )
        + "."
        for answer, rows in found.items()
        if len(rows)
    ]
    sentences[-1] = f"{sentences[-1][:-1]} ({measured})."
    for question, alike, unlike, unit in (
        ("slope", "It changes alike for every group", "It does not change alike for every group: it falls", "%"),
        ("acceptance", "The gate accepts every group of the study alike", "The gate does not accept every group of the study alike: it accepts",
         "percentage points"),
    ):  # fmt: skip
        mine = groups[groups["question"] == question]
        apart = [_apart(row, unit) for row in mine[mine["verdict"] == "no"].itertuples()]
        reach = 100 * (mine["high"] - mine["value"]).max()
        sentences.append(
            f"{unlike} {_and(apart)}."
            if apart
            else f"{alike} within the study's intervals, up to ± {reach:.0f} {unit}."
        )
    overall = study[study["grouping"] == "all"]
    worst = overall[overall["degradation"] != "clean"].groupby("degradation", sort=False).last()
    clean = overall.loc[overall["degradation"] == "clean", "accepted"].iloc[0]
    listed = _and([f"{100 * row.accepted:.0f} % ({_what(name, row.level)})" for name, row in worst.iterrows()])
    return [*sentences, f"Its threshold accepts {100 * clean:.0f} % of the undegraded pictures, {listed}."]


def _value(row) -> str:
    return f"{svg.number(row.value, 2)}, {svg.number(row.low, 2)} to {svg.number(row.high, 2)}"


def _apart(row, unit: str) -> str:
    """A group's difference from all others, such as: 25 % (10 to 40) less with blur for asian."""
    sign = 1 if row.value > 0 else -1
    low, high = sorted((100 * sign * row.low, 100 * sign * row.high))
    size = f"{100 * abs(row.value):.0f} {unit} ({low:.0f} to {high:.0f}) {'more' if sign > 0 else 'less'}"
    name = "undegraded" if row.degradation == "clean" else f"with {_FACTORS.get(row.degradation, row.degradation)}"
    return f"{size} {name} for {svg.words(row.group)}"


def _and(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _correlations(verdict: pd.DataFrame) -> list[dict]:
    """One row per factor: the correlation over all pictures, and the mean of every person's own."""
    tables = {question: verdict[verdict["question"] == question] for question in ("falls", "falls_within_person")}
    return [
        {"factor": _FACTORS.get(pooled.degradation, pooled.degradation), "verdict": pooled.verdict,
         "pooled": _value(pooled), "within": _value(own)}
        for pooled, own in zip(*(table.itertuples() for table in tables.values()), strict=True)
    ]  # fmt: skip


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
