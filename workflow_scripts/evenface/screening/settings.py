"""What the configuration's ``screening.magface`` means, without loading anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Published backbones.
BACKBONES = ("iresnet18", "iresnet34", "iresnet50", "iresnet100")

#: Magnitude below which the published pipeline rejects a face.
PUBLISHED_THRESHOLD = 20.0

#: The weights that the rule train_magface makes.
TRAINED_HERE = "trained_here"


def is_calibrated(settings: Mapping[str, Any]) -> bool:
    """Whether the threshold comes from a reference set: asked for, or left open for weights trained here."""
    threshold = settings["threshold"]
    return threshold == "calibrated" or (threshold == "auto" and settings["weights"] == TRAINED_HERE)
