"""Ways to train a classifier, the plain one and those that reduce bias: one file each, one protocol."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evenface.errors import check_names

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import nn

    from evenface.training.loop import FitResult

#: Module of each mitigation, in this folder.
_MODULES = {"none": "plain"}


@dataclass(frozen=True)
class Context:
    """What a mitigation may look at.

    ``faces`` has one row for each image of ``pixels`` (uint8 (N, rows, columns, 3)), with the
    demographics, ``origin`` (real or synthetic) and ``split`` of each; ``labels`` is int8 (N, a) in
    {+1, -1, 0} in the order of ``attributes``. ``train_rows`` and ``validation_rows`` are positions.
    ``new_network`` makes a network with the initial weights of this seed. ``state_path`` is where
    an unfinished training may keep its state, ``digest`` what must match to go on from it.
    """

    faces: pd.DataFrame
    pixels: np.ndarray
    labels: np.ndarray
    attributes: tuple[str, ...]
    train_rows: np.ndarray
    validation_rows: np.ndarray
    new_network: Callable[[], nn.Module]
    settings: Mapping[str, Any]
    seed: int
    device: str
    precision: str
    digest: str
    state_path: Path | None
    label: str


class Mitigation(Protocol):
    """One way to train."""

    name: str

    def fit(self, context: Context) -> FitResult:
        """The trained weights for the network that ``context.new_network`` makes, and the log."""
        ...


def create(name: str, settings: Mapping[str, Any]) -> Mitigation:
    """The mitigation ``name`` with its own settings; UserError for an unknown name or setting."""
    check_names("training.mitigation", [name], _MODULES)
    return importlib.import_module(f"{__name__}.{_MODULES[name]}").create(settings)
