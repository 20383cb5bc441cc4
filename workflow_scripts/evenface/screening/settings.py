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


def locating_recipe(screening: Mapping[str, Any], version: int, dataset: str) -> dict[str, Any]:
    """All that decides where the faces of a data set are found: how, in how many jobs, and in which images.

    ``screening`` is the configuration's section. MagFace's training shows its network the split train and
    verifies it on the others; a calibration alone looks at the others only, so that then ``train`` is False.
    """
    magface = screening["magface"]
    trained = magface["weights"] == TRAINED_HERE and magface["trained_here"]["dataset"] == dataset
    return {
        "version": version,
        "parts": magface["parts"],
        "train": trained,
        "settings": {key: value for key, value in screening.items() if key != "magface"},
    }


def is_calibrated(settings: Mapping[str, Any]) -> bool:
    """Whether the threshold comes from a reference set: asked for, or left open for weights trained here."""
    threshold = settings["threshold"]
    return threshold == "calibrated" or (threshold == "auto" and settings["weights"] == TRAINED_HERE)
