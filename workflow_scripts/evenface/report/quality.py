"""What the report says of the quality filter: whether it treats groups alike, and whether its score means quality."""

from __future__ import annotations

import pandas as pd

#: What the levels of a degradation are measured in.
UNITS = {
    "clean": "",
    "yaw": "head turned by {:g}°",
    "blur": "blurred by {:g} pixels of the crop",
    "resolution": "reduced to {:g} × {:g} pixels",
    "occlusion": "{:.0%} of the crop covered",
}


def quality_section(differences: pd.DataFrame | None, quality: pd.DataFrame | None, study: pd.DataFrame | None) -> dict:
    """Everything the template shows; each part is empty where its table is missing or has no rows.

    ``differences`` and ``quality`` are those of :mod:`evenface.screening.acceptance`, ``study`` that of
    :mod:`evenface.screening.quality_study`.
    """
    return {
        "differences": [] if differences is None else _differences(differences),
        "groups": [] if quality is None else quality.to_dict("records"),
        "study": [] if study is None else _study(study),
    }


def _differences(table: pd.DataFrame) -> list[dict]:
    """Groupings with at least two groups, how far their shares of accepted images are apart, and p."""
    return table[table["groups"] > 1].to_dict("records")


def _study(table: pd.DataFrame) -> list[dict]:
    rows = table[table["grouping"] == "all"].to_dict("records")
    for row in rows:
        text = UNITS.get(row["degradation"], "{:g}")
        row["what"] = text.format(row["level"], row["level"]) or "undegraded"
    return rows
