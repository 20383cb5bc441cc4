"""Group fairness of binary attribute classifiers: counts, rates, gaps, intervals and tests.

It uses only tables, not images or networks. Importing this package is quick; its functions are imported when they are
first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenface.fairness.interop import from_metric_frame, metric_frame
    from evenface.fairness.own_tables import read_own_tables
    from evenface.fairness.settings import FairnessSettings
    from evenface.fairness.summary import headline
    from evenface.fairness.tables import evaluate, evaluate_predictions
    from evenface.storage.csv import write_csv

__all__ = [
    "FairnessSettings",
    "evaluate",
    "evaluate_predictions",
    "from_metric_frame",
    "headline",
    "metric_frame",
    "read_own_tables",
    "write_csv",
]

#: Raise a number when the same predictions give other tables.
VERSIONS = {"evaluation": 7, "imported": 1, "power": 1, "representation": 1}

_HOME = {
    "FairnessSettings": "fairness.settings", "evaluate": "fairness.tables", "evaluate_predictions": "fairness.tables",
    "from_metric_frame": "fairness.interop", "headline": "fairness.summary", "metric_frame": "fairness.interop",
    "read_own_tables": "fairness.own_tables", "write_csv": "storage.csv",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"evenface.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
