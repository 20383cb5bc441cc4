"""The report's table of gaps that are corrected for the errors of the annotator who assigned the groups."""

from __future__ import annotations

import pandas as pd

from evenface.fairness.annotator_errors import DEPENDENT, INDEPENDENT, UNTESTED
from evenface.fairness.correction import METHOD, SENSITIVITY
from evenface.fairness.evaluated import CIRCULAR
from evenface.fairness.summary import headline

#: What a test of the assumption says, in the words of the report.
ASSUMPTION = {
    UNTESTED: "not tested",
    INDEPENDENT: "no dependence found",
    DEPENDENT: "errors depend",
}


def corrected_section(fairness: pd.DataFrame, criterion: str, groupings: list[str], runs: list[str]) -> dict:
    """Rows of measured and corrected gaps of one criterion side by side, and which assumptions were not tested or are wrong."""
    fairness = fairness[(fairness["criterion"] == criterion) & (fairness["status"] != CIRCULAR)]
    key = ["grouping", "attribute", "model"]
    measured, found = (headline(fairness, method).set_index(key) for method in ("", METHOD))
    order = [(g, a, m) for g in groupings for a in dict.fromkeys(fairness["attribute"]) for m in runs]
    rows = [
        {
            "grouping": one[0], "attribute": one[1], "run": one[2],
            "measured": dict(measured.loc[one]), "corrected": dict(found.loc[one]),
            "assumption": ASSUMPTION[found.loc[one, "errors_verdict"]],
        }
        for one in order
        if one in found.index and one in measured.index
    ]  # fmt: skip
    verdicts = set(found["errors_verdict"])
    return {
        "rows": rows,
        "odds": f"{SENSITIVITY:g}",
        "untested": UNTESTED in verdicts,
        "dependent": DEPENDENT in verdicts,
    }
