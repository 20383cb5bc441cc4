"""Settings of the annotator facexformer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evenface.annotators.settings import BATCH_SIZE, PublishedSettings
from evenface.parts import FilePath


class FaceXFormerSettings(PublishedSettings):
    """FaceXFormer: forty attributes, age, gender and race from one network."""

    weights: FilePath = Field("models/facexformer/model.pt", description="The published checkpoint.")
    detector: Literal["mtcnn", "crops"] = Field(
        "mtcnn", description="mtcnn: finds the face as published. crops: takes the faces that screening framed."
    )
    batch_size: int = Field(8, **BATCH_SIZE)
