"""The report's figures, from its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from evenface.fairness.evaluated import LOW_SUPPORT, split_model_id
from evenface.report import svg
from evenface.report.svg import Dot, Series, dot_plot, line_plot, words

RATES = {"tpr": "true positive rate", "fpr": "false positive rate", "accuracy": "accuracy"}

_PLAIN = Series("images", svg.COLOURS[0], "circle")


def training(logs: Mapping[str, pd.DataFrame], manifests: Mapping[str, dict], styles: Mapping[str, Series]) -> dict:
    """Loss per run (training solid, validation dashed) and validation accuracy of all runs."""
    by_run: dict[str, dict[str, pd.DataFrame]] = {}
    for model, log in logs.items():
        by_run.setdefault(split_model_id(model)[0], {})[model] = log
    losses = [log[c] for log in logs.values() for c in ("train_loss", "validation_loss")]
    top = max((float(s.max()) for s in losses if s.notna().any()), default=1.0)
    panels = []
    for run, models in by_run.items():
        style = styles.get(run, _PLAIN)
        lines, marks = [], []
        for model, log in models.items():
            lines.append((style, _points(log, "train_loss"), False))
            lines.append((style, _points(log, "validation_loss"), True))
            best = manifests.get(model, {}).get("best_epoch")
            chosen = log[log["epoch"] == best]
            marks += [(Series(f"{model}, epoch {best} kept", style.colour, style.shape), float(e), float(v))
                      for e, v in zip(chosen["epoch"], chosen["validation_loss"], strict=True)]  # fmt: skip
        title = f"Training and validation loss of {run} over epochs"
        plot = line_plot(title, lines, x_label="epoch", y_label="loss", y_span=(0.0, top), marks=marks, width=340)
        panels.append({"run": run, "plot": Markup(plot)})
    lines = [
        (styles.get(split_model_id(model)[0], _PLAIN), _points(log, "validation_balanced_accuracy"), False)
        for model, log in logs.items()
    ]
    accuracy = line_plot(
        "Validation balanced accuracy of every network over epochs", lines, x_label="epoch",
        y_label="validation balanced accuracy", y_span=_rate_span([b for _, line, _ in lines for _, b in line]),
        width=560, height=260,
    )  # fmt: skip
    return {"panels": panels, "accuracy": Markup(accuracy)}


def group_rates(
    rates: pd.DataFrame, styles: Mapping[str, Series], groupings: Sequence[str], subject: str
) -> list[dict]:
    """Per attribute: a plot per rate over the groups of single dimensions, and one per product.

    ``subject`` says in titles what the runs are (:class:`evenface.report.claims.Claims`), here and below.

    With one seed per run, whiskers are intervals; with several, they span the seeds.
    """
    wanted = rates[rates["metric"].isin(RATES)]
    if wanted.groupby("run_id")["model_id"].nunique().max() == 1:
        wanted = wanted.assign(least=wanted["ci_low"], most=wanted["ci_high"])
    else:
        wanted = wanted.assign(least=wanted["value"], most=wanted["value"])
    means = wanted.groupby(["attribute", "metric", "grouping", "group", "run_id"], sort=False).agg(
        value=("value", _mean),
        least=("least", "min"),
        most=("most", "max"),
        few=("status", lambda s: (s == LOW_SUPPORT).any()),
    )
    found = {key: tuple(row) for key, row in zip(means.index, means.to_numpy(dtype=float), strict=True)}
    order = {g: list(dict.fromkeys(wanted.loc[wanted["grouping"] == g, "group"])) for g in groupings}
    single = [g for g in groupings if "*" not in g]
    present = wanted.groupby("attribute", sort=False)["grouping"].unique()  # circular groupings are absent
    sections = []
    for attribute, own in present.items():
        shown = [g for g in single if g in own]
        plots = [Markup(_rate_plot(attribute, m, found, styles, shown, order, subject, headings=True)) for m in RATES]
        products = [
            {
                "grouping": g,
                "plots": [Markup(_rate_plot(attribute, m, found, styles, [g], order, subject)) for m in RATES],
            }
            for g in groupings
            if "*" in g and g in own
        ]
        sections.append({"attribute": attribute, "plots": plots, "products": products})
    return sections


def _rate_plot(attribute, metric, found, styles, groupings, order, subject, headings=False) -> str:
    rows, dots, captions, labels = [], [], [], {}
    for grouping in groupings:
        if headings:
            rows.append(grouping)
            captions.append(grouping)
        for group in order[grouping]:
            rows.append(row := f"{grouping}={group}")
            labels[row] = group
            for run, style in styles.items():
                if (key := (attribute, metric, grouping, group, run)) not in found:
                    continue
                value, least, most, few = found[key]
                ends = (least, most) if most > least else (None, None)
                note = f"{words(group)}, {run}: {svg.number(value)}{_between(ends)}{' (low support)' if few else ''}"
                dots.append(Dot(row, style, value, *ends, hollow=bool(few), note=note))
    left = 92 if headings else 14 + round(6.4 * max((len(words(r)) for r in labels.values()), default=0))
    by = ", ".join(words(g) for g in groupings)
    title = f"{RATES[metric]} of {words(attribute)} by {by}, of {subject}: " + read_out(dots)
    return dot_plot(
        title, rows, dots, span=(0.0, 1.0), label=RATES[metric], left=max(left, 92), headings=captions, labels=labels,
        width=340 if headings else max(330, left + 230),
    )  # fmt: skip


def gaps(
    shown: pd.DataFrame, styles: Mapping[str, Series], groupings, criteria: Mapping[str, str], subject: str
) -> list[dict]:
    """Per criterion: a panel per grouping with a row per attribute and a dot per run.

    Whiskers are the intervals of the gaps (with several seeds, their standard deviation). A short stroke marks the
    null mean.
    """
    result = []
    attributes = list(dict.fromkeys(shown["attribute"]))
    left = 14 + round(6.6 * max((len(words(a)) for a in attributes), default=0))
    for criterion, name in criteria.items():
        here = shown[shown["criterion"] == criterion]
        if not len(here):
            continue
        values = here[["value", "ci_high", "null_mean"]].max(axis=1).fillna(here["value"] + here["seed_std"].fillna(0))
        top = float(np.ceil(max(values.dropna().max() if values.notna().any() else 0.1, 0.1) * 10 + 1e-9) / 10)
        panels = []
        for grouping in groupings:
            mine = here[here["grouping"] == grouping]
            present = set(mine["attribute"])
            dots = []
            for row in mine.itertuples(index=False):
                value, std = float(row.value), float(row.seed_std)
                note = f"{words(row.attribute)}, {row.model}: {svg.number(value)}"
                note += f" ± {svg.number(std)} between seeds" if std == std else ""
                ends = (float(row.ci_low), float(row.ci_high)) if row.ci_low == row.ci_low else (None, None)
                if ends[0] is None and std == std and value == value:
                    ends = (max(0.0, value - std), value + std)
                elif ends[0] is not None:
                    note += f"{_between(ends)}; luck alone {svg.number(row.null_mean)}; {words(row.verdict)}"
                dots.append(Dot(row.attribute, styles[row.model], value, *ends, note=note, tick=float(row.null_mean)))
            rows = [a for a in attributes if a in present]
            title = f"{name} of {subject} by {words(grouping)}: " + read_out(dots)
            if all(dot.value != dot.value for dot in dots):
                panels.append({"grouping": grouping, "plot": None, "undefined": _undefined(mine)})
                continue
            plot = dot_plot(
                title, rows, dots, span=(0.0, min(1.0, top)), label="gap (0 is no gap)", left=left, width=left + 240,
                row_height=28,
            )  # fmt: skip
            panels.append({"grouping": grouping, "plot": Markup(plot), "undefined": _undefined(mine)})
        result.append({"criterion": criterion, "name": name, "panels": panels})
    return result


def changes(
    shown: pd.DataFrame, styles: Mapping[str, Series], groupings: Sequence[str], baseline: str, subject: str
) -> list[dict]:
    """A panel per grouping: the difference between the gap of every other run and the baseline's, with intervals."""
    other = shown[(shown["model"] != baseline) & shown["change"].notna()]
    if not len(other):
        return []
    attributes = list(dict.fromkeys(shown["attribute"]))
    left = 14 + round(6.6 * max(len(words(a)) for a in attributes))
    ends = other[["change", "change_ci_low", "change_ci_high"]].abs().max(axis=None)
    top = float(np.ceil(max(ends, 0.1) * 10 + 1e-9) / 10)
    panels = []
    for grouping in groupings:
        mine = other[other["grouping"] == grouping]
        dots = []
        for row in mine.itertuples(index=False):
            ends = (row.change_ci_low, row.change_ci_high)
            note = f"{words(row.attribute)}, {row.model}: {svg.number(row.change)}{_between(ends)}"
            note += (
                ", but the worst group is worse, by more than its interval"
                if str(row.levelling_down).lower() == "true"
                else ""
            )
            low, high = ends if ends[0] == ends[0] else (None, None)
            dots.append(Dot(row.attribute, styles[row.model], float(row.change), low, high, note=note))
        if not dots:
            continue
        title = f"Change of the gap of {subject} by {words(grouping)} against {baseline}: " + read_out(dots)
        present = set(mine["attribute"])
        plot = dot_plot(
            title, [a for a in attributes if a in present], dots, span=(-top, top),
            label="change of the gap (left of 0: smaller)", left=left, width=left + 240, row_height=28, reference=0.0,
            reference_label="no change",
        )  # fmt: skip
        panels.append({"grouping": grouping, "plot": Markup(plot)})
    return panels


def _between(ends: tuple[float | None, float | None]) -> str:
    """An interval as text, or an empty text if there is none."""
    low, high = ends
    if low is None or high is None or low != low or high != high:
        return ""
    return f" ({svg.number(low)} to {svg.number(high)})"


def acceptance(table: pd.DataFrame, groupings: Sequence[str]) -> Markup:
    """Acceptance rate per group with its interval."""
    rows, dots, labels = [], [], {}
    for grouping in groupings:
        rows.append(grouping)
        for row in table[table["grouping"] == grouping].itertuples(index=False):
            rows.append(name := f"{grouping}={row.group}")
            labels[name] = row.group
            note = f"{words(row.group)}: {row.accepted} of {row.total} accepted"
            dots.append(Dot(name, _PLAIN, float(row.rate), float(row.low), float(row.high), note=note))
    every = table[table["grouping"] == "all"]
    overall = float(every["rate"].iloc[0]) if len(every) else None
    lowest = min((d.low for d in dots if d.low == d.low), default=0.0)
    span = (max(0.0, np.floor(lowest * 10 - 1e-9) / 10), 1.0)
    if span[0] >= 0.95:
        span = (0.9, 1.0)
    title = "Share of generated images that passed screening: " + read_out(dots)
    return Markup(
        dot_plot(
            title, rows, dots, span=span, label="accepted share, 95 % interval", headings=list(groupings), labels=labels,
            reference=overall, reference_label="all images", width=420, left=100,
        )
    )  # fmt: skip


def agreement(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> tuple[Markup, Markup]:
    """Agreement per subject over all images, and its legend: share and kappa for one pair, only kappa for several."""
    every = table[table["grouping"] == "all"]
    names = {"agreement": "equal labels", "kappa": "Cohen's kappa"}
    columns = list(names) if len(pairs) == 1 else ["kappa"]
    labels = {
        (pair, c): names[c] if len(pairs) == 1 else f"{words(pair[0])}, {words(pair[1])}: {names[c]}"
        for pair in pairs
        for c in columns
    }
    styles = dict(zip(labels, svg.series(list(labels.values())), strict=True))
    rows = list(dict.fromkeys(every["subject"].astype(str)))
    dots = []
    for r in every.to_dict("records"):
        for c in columns:
            style = styles[(r["annotator_a"], r["annotator_b"]), c]
            note = f"{words(str(r['subject']))}, {style.name}: {svg.number(r[c])}"
            dots.append(Dot(str(r["subject"]), style, float(r[c]), note=note))
    low = min((d.value for d in dots if d.value == d.value), default=0.0)
    left = 14 + round(6.6 * max((len(words(r)) for r in rows), default=0))
    title = "Agreement of the annotators: " + read_out(dots)
    span = (float(min(0.5, np.floor(low * 10) / 10)), 1.0)
    plot = dot_plot(title, rows, dots, span=span, label="agreement", left=left, width=left + 300)
    return Markup(plot), Markup(svg.legend(list(styles.values())))


def _points(log: pd.DataFrame, column: str) -> list[tuple[float, float]]:
    """Defined values over epochs. A small validation set may lack a class, so that balanced accuracy is undefined."""
    if column not in log:
        return []
    return [(float(a), float(b)) for a, b in zip(log["epoch"], log[column], strict=True) if b == b]


def _rate_span(values: Sequence[float]) -> tuple[float, float]:
    defined = [v for v in values if v == v]
    low = min(defined, default=0.5)
    return float(min(0.5, np.floor(low * 10) / 10)), 1.0


def _mean(values: pd.Series) -> float:
    return float(values.mean(skipna=False))


def read_out(dots: Sequence[Dot]) -> str:
    """The plot in words, for people who cannot see it; long plots give their range."""
    defined = [d for d in dots if d.value == d.value]
    if not defined:
        return "no defined value"
    if len(defined) <= 12:
        return "; ".join(d.note for d in defined)
    low, high = min(defined, key=lambda d: d.value), max(defined, key=lambda d: d.value)
    return f"from {low.note} to {high.note}"


def _undefined(table: pd.DataFrame) -> str:
    """Which values of a panel are missing, and why."""
    rows = table[table["value"].isna()]
    if len(rows) == len(table) and rows["status"].nunique() == 1:
        return f"any attribute: {words(rows['status'].iloc[0])}"
    parts = [f"{words(r.attribute)}, {r.model}: {words(r.status)}" for r in rows.itertuples(index=False)]
    return "; ".join(parts)
