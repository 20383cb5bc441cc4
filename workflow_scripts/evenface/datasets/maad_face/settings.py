"""Settings of a data set that the reader maad_face reads."""

from __future__ import annotations

from pydantic import Field

from evenface.datasets.settings import DatasetSettings


class MAADFaceSettings(DatasetSettings):
    """VGGFace2's images with MAAD-Face's labels."""

    allow_missing_images: bool | None = Field(
        True,
        description="Accept rows without an image, and list them as rejected. The file lists all of VGGFace2, and "
        "most copies hold only a part of the images.",
    )
