"""The report's section on annotators: their agreement and their errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from evenface.annotators.confusion import UNDEFINED
from evenface.intervals import wilson
from evenface.report import figures, svg
from evenface.taxonomy import study

#: References, the most reliable first.
_REFERENCES = {
    "ground_truth": "the generator's own truth",
    "requested": "what the prompts asked for",
    "labels": "the data set's own labels",
}

#: The dimension by which the figures split an annotator's errors, where there is one; the table has the others.
_DRAWN = "ethnicity"
#: The labels of attributes; those of dimensions are levels.
_PRESENCE = {"present", "absent"}


def annotation_section(agreement: pd.DataFrame, confusion: pd.DataFrame) -> dict:
    """The template's values: agreement of pairs, a matrix of kappas, and errors per annotator."""
    pairs = list(dict.fromkeys(zip(agreement["annotator_a"], agreement["annotator_b"], strict=True)))
    plot, legend = figures.agreement(agreement, pairs)
    return {
        "pairs": pairs,
        "plot": plot,
        "legend": legend,
        "rows": agreement.to_dict("records"),
        "kappas": kappas(agreement, pairs) if len(pairs) > 1 else None,
        "errors": errors(confusion),
    }


def kappas(agreement: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> dict:
    """Cohen's kappa of every pair, as one square table per dimension and one for the attributes' mean."""
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    every = agreement[agreement["grouping"] == "all"]
    subject = every["subject"].where(every["subject"].isin(list(study())), "attributes, mean")
    mean = every.groupby([subject, "annotator_a", "annotator_b"])["kappa"].mean()
    tables = []
    for name in dict.fromkeys(subject):
        cells = [[mean.get((name, a, b), mean.get((name, b, a), np.nan)) for b in names] for a in names]
        tables.append({"subject": name, "rows": [(a, row) for a, row in zip(names, cells, strict=True)]})
    return {"names": names, "tables": tables}


def errors(confusion: pd.DataFrame) -> list[dict]:
    """Per annotator, against its best reference: confusion matrices, and rates by group."""
    found = []
    for annotator in dict.fromkeys(confusion["annotator"]):
        mine = confusion[confusion["annotator"] == annotator]
        reference = min(set(mine["reference"]), key=list(_REFERENCES).index)
        if annotator == "ground_truth" and len(set(confusion["annotator"])) > 1:
            continue  # the truth against the request says how the generator obeys; the table has it
        mine = mine[mine["reference"] == reference]
        groups = {name: list(dict.fromkeys(table["group"])) for name, table in mine.groupby("grouping", sort=False)}
        drawn = next((name for name in (_DRAWN, *groups) if name in groups and name != "all"), "all")
        heads = {head: set(table["truth"]) <= _PRESENCE for head, table in mine.groupby("head", sort=False)}
        plot, legend = _by_group(mine, annotator, drawn, groups[drawn])
        found.append(
            {
                "annotator": annotator,
                "reference": _REFERENCES[reference],
                "drawn": drawn,
                "groups": groups[drawn],
                "matrices": [_matrix(mine, head) for head, binary in heads.items() if not binary],
                "attributes": _attributes(mine, [h for h, binary in heads.items() if binary], drawn, groups[drawn]),
                "plot": plot,
                "legend": legend,
                "rows": _rates_by_group(mine).to_dict("records"),
            }
        )
    return found


def _matrix(table: pd.DataFrame, head: str) -> dict:
    mine = table[(table["head"] == head) & (table["grouping"] == "all")]
    labels = list(dict.fromkeys(mine["truth"]))
    missing = mine[mine["predicted"] == UNDEFINED]["n"].sum() > 0
    columns = [*labels, UNDEFINED] if missing else labels
    cells = mine.set_index(["truth", "predicted"])
    rows = [
        {
            "label": label,
            "total": int(mine[mine["truth"] == label]["n"].sum()),
            "cells": [{"n": int(cells.loc[(label, c), "n"]), "rate": cells.loc[(label, c), "rate"]} for c in columns],
        }
        for label in labels
    ]
    return {"head": head, "columns": columns, "rows": rows}


def _rates_by_group(table: pd.DataFrame) -> pd.DataFrame:
    """Per head and group: images with a known truth, share of right answers with its Wilson interval, missing answers."""
    key = ["head", "grouping", "group"]
    total = table.groupby(key, sort=False)["n"].sum()
    right = table[table["truth"] == table["predicted"]].groupby(key, sort=False)["n"].sum()
    silent = table[table["predicted"] == UNDEFINED].groupby(key, sort=False)["n"].sum()
    rate = right / total.where(total > 0)
    low, high = wilson(rate, total)
    out = pd.DataFrame({"n": total, "right": rate, "low": low, "high": high, "undefined": silent})
    return out[total > 0].reset_index()


def _by_group(table: pd.DataFrame, annotator: str, drawn: str, groups: Sequence[str]) -> tuple[Markup, Markup]:
    rates = _rates_by_group(table[table["grouping"] == drawn])
    rows = [head for head in dict.fromkeys(rates["head"]) if head != drawn]
    rows += [drawn] if (rates["head"] == drawn).any() else []
    styles = {item.name: item for item in svg.series(groups)}
    dots = [
        svg.Dot(r.head, styles[r.group], float(r.right), float(r.low), float(r.high),
                note=f"{svg.words(r.head)}, {r.group}: {svg.number(r.right)} of {r.n}")
        for r in rates.itertuples() if r.group in styles
    ]  # fmt: skip
    lowest = min((d.low for d in dots if d.low == d.low), default=0.5)
    span = (float(max(0.0, min(0.5, np.floor(lowest * 10) / 10))), 1.0)
    left = 14 + round(6.6 * max((len(svg.words(r)) for r in rows), default=0))
    title = f"Share of faces {svg.words(annotator)} calls right, by {drawn}: " + figures.read_out(dots)
    label = "called right, 95 % interval"
    plot = svg.dot_plot(title, rows, dots, span=span, label=label, left=left, width=left + 300)
    return Markup(plot), Markup(svg.legend(list(styles.values())))


def _attributes(table: pd.DataFrame, heads: Sequence[str], drawn: str, groups: Sequence[str]) -> list[dict]:
    """Per attribute, over all faces and by group: the shares of right answers among present and among absent ones."""
    members = [("all", "all"), *((drawn, level) for level in groups if drawn != "all")]
    right = table[table["truth"] == table["predicted"]].set_index(["head", "truth", "grouping", "group"])["rate"]
    return [
        {"attribute": head, **{label: [right.get((head, label, *g), np.nan) for g in members] for label in _PRESENCE}}
        for head in heads
    ]
