"""Settings of the annotator fairface."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evenface.annotators.settings import PublishedSettings
from evenface.parts import FilePath


class FairFaceSettings(PublishedSettings):
    """FairFace: race, gender and age."""

    weights: FilePath = Field(
        "models/fairface/res34_fair_align_multi_7_20190809.pt",
        description="The network of seven races, gender and age.",
    )
    weights_4: FilePath | None = Field(None, description="The network of four races; null leaves it out.")
    detector: Literal["mmod", "hog", "crops"] = Field(
        "mmod",
        description="mmod: dlib's network, as published, about ten seconds and 3 GB a picture on a CPU. hog: dlib's "
        "quick detector. crops: the face at screening's landmarks, framed as published.",
    )
    jpeg_roundtrip: bool = Field(
        True,
        description="Whether the crop is compressed as a JPEG file before the network sees it, as in the published "
        "script.",
    )
