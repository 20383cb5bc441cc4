"""Settings of a data set that the reader maad_face reads."""

from __future__ import annotations

from pydantic import Field

from evenface.datasets.settings import DatasetSettings


class MAADFaceSettings(DatasetSettings):
    """VGGFace2's images with MAAD-Face's labels."""

    left_out = DatasetSettings.left_out | {"csv"}

    csv: str | None = Field(None, description="Path of MAAD_Face.csv where it is not in root.")
    allow_missing_images: bool | None = Field(
        True,
        description="Accept rows without an image, and list them as rejected. The file lists all of VGGFace2, so that "
        "a part of the images is the usual case.",
    )
