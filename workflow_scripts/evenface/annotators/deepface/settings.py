"""Settings of the annotator deepface."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evenface.annotators.settings import PublishedSettings
from evenface.parts import FilePath, Settings


class WeightsSettings(Settings):
    """One file per model, .pth or .h5; null leaves a model out."""

    age: FilePath | None = Field("models/deepface/age_model_weights.pth", description="Apparent age.")
    gender: FilePath | None = Field("models/deepface/gender_model_weights.pth", description="Gender.")
    race: FilePath | None = Field("models/deepface/race_model_single_batch.pth", description="Race.")
    emotion: FilePath | None = Field("models/deepface/facial_expression_model_weights.pth", description="Emotion.")


class DeepFaceSettings(PublishedSettings):
    """DeepFace's attribute models: age, gender, race, emotion."""

    weights: WeightsSettings = Field({})
    detector: Literal["mtcnn", "hog", "skip"] = Field(
        "mtcnn",
        description="mtcnn: one of DeepFace's detectors; its default, OpenCV's cascades, is no longer part of OpenCV. "
        "hog: dlib's. skip: the whole picture.",
    )
