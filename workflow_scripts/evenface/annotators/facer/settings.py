"""Settings of the annotator facer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evenface.annotators.settings import PublishedSettings
from evenface.fields import Share
from evenface.parts import FilePath


class FacerSettings(PublishedSettings):
    """Facer: forty attributes by FaRL, faces found by RetinaFace."""

    weights: FilePath = Field(
        "models/facer/face_attribute.farl.celeba.pt", description="FaRL's attribute head as Facer publishes it."
    )
    detector_weights: FilePath | None = Field(
        "models/facer/mobilenet0.25_Final.pth", description="RetinaFace as Facer publishes it."
    )
    detector: Literal["retinaface", "landmarks"] = Field(
        "retinaface", description="retinaface: as published. landmarks: the five points that screening found."
    )
    min_score: Share = Field(0.8, description="RetinaFace's answer counts as a face above this score.")
    max_side: int | None = Field(
        None,
        ge=32,
        description="Larger pictures are reduced to this longest side, in pixels, for RetinaFace; null keeps their size.",
    )
