"""The report's section on what the test set can see, from the table ``power``."""

from __future__ import annotations

import pandas as pd

from evenface.fairness.multiplicity import NOT_RESOLVABLE
from evenface.fairness.power import MOST_SEEDS
from evenface.report import svg

#: The gaps of error rates, which make up equalized odds.
SHOWN = {"equal_opportunity_difference": "TPR", "fpr_difference": "FPR"}


def power_section(table: pd.DataFrame | None) -> dict:
    """The template's values; ``rows`` is empty without a table. Ranges are those over attributes."""
    table = pd.DataFrame() if table is None else table[(table["status"] == "") & table["criterion"].isin(list(SHOWN))]
    if table.empty:
        return {"rows": []}
    rows = [
        {
            "grouping": grouping,
            "rate": SHOWN[criterion],
            "groups": _range(rows["n_groups"]),
            "people": _range(rows["people"]),
            "gap": _range(rows["detectable_gap"]),
            "needed": _range(rows["people_needed"]),
            "seeds": _range(rows["seeds_needed"], f"none of up to {MOST_SEEDS}"),
        }
        for (grouping, criterion), rows in table.groupby(["grouping", "criterion"], sort=False)
    ]
    first = table.iloc[0]
    return {
        "rows": rows,
        "power": first["power"],
        "target": first["gap"],
        "change": first["change"],
        "level": _range(table["level"]),
        "too_small": int((table["resolvable"] == NOT_RESOLVABLE).sum()),
        "n": len(table),
    }


def _range(values: pd.Series, missing: str = "none") -> str:
    """The lowest and the highest value; ``missing`` for undefined ones."""
    known = values.dropna()
    ends = [_plain(end) for end in (known.min(), known.max())] if len(known) else []
    return " to ".join(dict.fromkeys([*ends, *[missing] * bool(values.isna().any())]))


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 2 or value == 1 else svg.number(value) if value >= 0.01 else f"{value:.2g}"
