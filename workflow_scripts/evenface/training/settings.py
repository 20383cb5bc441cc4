"""Settings of ``training`` and of a run, an entry of ``runs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from evenface.errors import check_names
from evenface.fields import HAIR_ATTRIBUTES, Attribute, Names, Pair, Share
from evenface.parts import Settings


class LoopSettings(Settings):
    """How the loop runs. The published Slim-CNN recipe has batch 256, rate 1e-4 and a constant schedule."""

    epochs: int = Field(20, ge=1, description="Passes over the training set.")
    batch_size: int = Field(64, ge=2, description="Images per step.")
    learning_rate: float = Field(0.0001, gt=0, description="Adam's step size.")
    weight_decay: float = Field(0.0001, ge=0, description="L2 regularisation inside Adam.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="A constant rate, or warm-up over 5 % of the steps and a half cosine to zero."
    )
    flip: bool = Field(True, description="Mirror half of the training images.")
    colour_jitter: float = Field(
        0, ge=0, le=1, description="Half width of the random gain and offset of every training image."
    )
    shift: float = Field(
        0, ge=0, le=0.2, description="Largest random shift of a training image, as a share of its sides."
    )
    patience: int = Field(
        0, ge=0, description="Stop after so many epochs without a better validation loss; 0 never stops early."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of the forward pass; auto takes bfloat16 where the processor has it."
    )
    cache_mb: int = Field(
        4096, ge=64, description="MB of decoded images kept in memory; a larger set is kept in a file."
    )
    save_seconds: float = Field(
        30, ge=0, description="Seconds between two saved states; a killed training goes on from the last one."
    )


class TrainingSettings(LoopSettings):
    """How classifiers are trained."""

    classifier: Literal["slim_cnn"] = Field("slim_cnn", description="The network.")
    attributes: Annotated[Names[Attribute], Field(min_length=1)] = Field(
        HAIR_ATTRIBUTES, description="CelebA names that the network predicts."
    )
    seeds: Annotated[Names[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        [1], description="One model is trained per run and seed."
    )
    mitigation: Literal["none"] = Field("none", description="Method of bias mitigation.")
    threshold: Literal["fixed", "validation"] = Field(
        "fixed", description="Decide at 0.5, or where balanced accuracy is best on the validation split."
    )
    image_size: Pair[Annotated[int, Field(ge=131)]] | None = Field(
        None, description="Width and height in pixels of the images the network sees; null takes the published ones."
    )
    crop: float | None = Field(
        None, gt=0, le=1, description="Central share of every training image that is kept; null keeps all."
    )
    max_unreadable: Share = Field(
        0.01, description="The training stops when more than this share of the images fails to decode."
    )


class RunSettings(Settings):
    """A run: what its classifiers are trained on."""

    real: str | None = Field(None, description="Data set of real images.")
    synthetic: bool | str = Field(
        False,
        description="Whether generated faces are used: true takes those of the first generator, a name those of that "
        "generator.",
    )
    synthetic_per_real: float | None = Field(None, gt=0, description="Synthetic images per real one; null takes all.")


#: How the loop runs, as plain values.
LOOP_DEFAULTS: dict[str, Any] = LoopSettings.filled({}, "training")

#: What a classifier's training knows beside the loop.
TRAINING_DEFAULTS: dict[str, Any] = {
    key: value for key, value in TrainingSettings.filled({}, "training").items() if key not in ("attributes", "seeds")
}


def resolve(settings: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``settings`` over ``defaults``; UserError naming the first key that is not known."""
    check_names(where, settings, defaults)
    return {**defaults, **settings}
