"""Settings of a training and their defaults: one place for the schema, the loop and the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenface.errors import UserError

#: How the loop runs. The published Slim-CNN recipe has batch 256, rate 1e-4 and a constant schedule.
LOOP_DEFAULTS: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 64,
    "learning_rate": 1e-4,
    "weight_decay": 1e-4,
    "schedule": "constant",  # or "cosine": linear warm-up over 5 % of the steps, then a half cosine to zero
    "flip": True,
    "colour_jitter": 0.0,  # half width of random gain and offset per image, and half of it per channel
    "shift": 0.0,  # largest random shift, in shares of height and width; the border is repeated
    "patience": 0,  # epochs without a better validation loss before stopping; 0 never stops early
    "precision": "auto",  # or "float32", "bfloat16"
    "order": "permutation",  # or "blocks": long stretches of a slow disk, see pixels.order
    "cache_mb": 4096,  # pixels kept in memory; those of a larger set are read when they are needed
    "save_seconds": 30,  # time between two states a killed training can go on from
}

#: What a classifier's training knows beside the loop.
TRAINING_DEFAULTS: dict[str, Any] = {
    **LOOP_DEFAULTS,
    "classifier": "slim_cnn",
    "mitigation": "none",
    "threshold": "fixed",  # 0.5, or "validation": the balanced-accuracy optimum of the validation split
    "image_size": None,  # (width, height) in pixels the network is shown, or None for the published one
    "crop": None,  # central share of every image that is kept, or None for all of it
    "max_unreadable": 0.01,  # share of images that may fail to decode
}

#: Rows and columns of the input of the annotator that is trained here: half of an aligned CelebA image.
ANNOTATOR_SIZE: tuple[int, int] = (112, 92)


def resolve(settings: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``settings`` over ``defaults``; UserError naming the first key that is not known."""
    unknown = [key for key in settings if key not in defaults]
    if unknown:
        raise UserError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(defaults))}")
    return {**defaults, **settings}
