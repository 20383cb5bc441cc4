"""Settings of ``pixels``: where decoded pictures are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evenface.parts import FilePath, Settings


class PixelsSettings(Settings):
    """Where decoded pixels are kept, once for all runs, seeds and methods. It does not change any result."""

    folder: FilePath = Field(
        "data/pixels",
        description="A folder for large files, such as one on a scratch disk; every copy of the workflow needs its own.",
    )
    store: Literal["auto", "packed", "jpeg", "direct"] = Field(
        "auto",
        description="packed: decoded pixels. jpeg: the pictures as they are, in one file, decoded at every reading. "
        "direct: the pictures where they are. auto: the first of these that fits the free space.",
    )
    reserve_gb: float = Field(10, ge=0, description="Space on the disk of the folder that is left free.")
