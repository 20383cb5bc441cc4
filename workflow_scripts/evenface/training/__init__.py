"""Training of attribute classifiers and their predictions.

``compose`` makes a run's training frame, ``train`` fits and writes a classifier, and ``predict``
scores a faces table with it. Importing this package does not import torch; using ``train`` and
``predict`` does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenface.training.composition import compose
    from evenface.training.fitting import train
    from evenface.training.prediction import predict

__all__ = ["compose", "predict", "train"]

#: Raise a number when the same faces and settings give other classifiers, predictions, or MagFace networks.
VERSIONS = {"training": 3, "predictions": 4, "recognition": 2, "wrong_answers": 1}

_HOME = {"compose": "composition", "predict": "prediction", "train": "fitting"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
