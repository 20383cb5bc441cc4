"""The classifiers a configuration can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evenface.errors import check_names


@dataclass(frozen=True)
class Classifier:
    """A kind of network: its name in ``networks.build``, its input (rows, columns), its settings."""

    network: str
    size: tuple[int, int]
    settings: Callable[[int], dict[str, Any]]


def _slim_cnn(attributes: int) -> dict[str, Any]:
    return {"num_attributes": attributes, "initial_conv": [96, 7, 2], "filters": [16, 32, 48, 64]}


CLASSIFIERS: dict[str, Classifier] = {"slim_cnn": Classifier("slim_cnn", (218, 178), _slim_cnn)}


def classifier(name: str) -> Classifier:
    """The classifier called ``name``; UserError listing the known ones."""
    check_names("training.classifier", [name], CLASSIFIERS)
    return CLASSIFIERS[name]
