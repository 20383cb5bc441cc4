"""Group fairness of binary attribute classifiers: counts, rates, gaps, intervals, tests. Knows no image and no network.

Importing this package is quick; its functions are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenface.fairness.csv import write_csv
    from evenface.fairness.interop import metric_frame
    from evenface.fairness.settings import FairnessSettings
    from evenface.fairness.tables import evaluate, evaluate_predictions, headline

__all__ = ["FairnessSettings", "evaluate", "evaluate_predictions", "headline", "metric_frame", "write_csv"]

#: Raised when the same predictions give other tables.
VERSIONS = {"evaluation": 2}

_HOME = {
    "FairnessSettings": "settings", "evaluate": "tables", "evaluate_predictions": "tables", "headline": "tables",
    "metric_frame": "interop", "write_csv": "csv",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
