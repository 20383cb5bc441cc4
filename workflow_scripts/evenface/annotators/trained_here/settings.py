"""Settings of the annotator that the workflow trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evenface.fields import HAIR_ATTRIBUTES, Attribute, Names, Share
from evenface.training.settings import EpochSettings


class TrainedHereSettings(EpochSettings):
    """The annotator that this workflow trains."""

    pace = (*EpochSettings.pace, "min_validation_accuracy", "may_withhold")
    left_out = frozenset({"crop", "max_unreadable", *EpochSettings.model_fields}) - {
        "epochs", "batch_size", "learning_rate",
    }  # fmt: skip

    dataset: str = Field("annotated", description="The data set it learns from.")
    min_validation_accuracy: Share = Field(0.8, description="The workflow stops below this validation accuracy.")
    attributes: Annotated[Names[Attribute], Field(min_length=1)] = Field(
        HAIR_ATTRIBUTES, description="CelebA names it labels, beside the demographics."
    )
    may_withhold: Names[str] = Field(
        [],
        description="Attributes or dimensions that may be below the minimum: they are reported and left undefined, "
        "and the workflow continues.",
    )
    epochs: int = Field(12, ge=1, description="Passes over the training set.")
    batch_size: int = Field(32, ge=2, description="Images per step.")
    learning_rate: float = Field(0.002, gt=0, description="Adam's step size.")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="As in training.")
    colour_jitter: float = Field(0.1, ge=0, le=1, description="As in training.")
    shift: float = Field(0.03, ge=0, le=0.2, description="As in training.")
    crop: float | None = Field(None, gt=0, le=1, description="As in training.")
    max_unreadable: Share = Field(0.01, description="As in training.")
