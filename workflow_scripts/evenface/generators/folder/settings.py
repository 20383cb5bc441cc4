"""Settings of the generator of pictures made elsewhere."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evenface.parts import FilePath, Settings


class FolderSettings(Settings):
    """Pictures that another program made."""

    root: FilePath = Field("data/pictures", description="Folder of the pictures; the table names them relative to it.")
    table: FilePath = Field(
        "data/pictures.csv",
        description="CSV, TSV or JSON lines with a row per picture: `image`, and if known `prompt`, `identity` (who is shown), "
        "levels of groups (`gender`, `age`, `ethnicity`, your own) and CelebA attributes (1, -1, or empty).",
    )
    columns: dict[str, str] = Field(
        {}, description="Columns of other names, each with the name of its column, such as `{ethnicity: race}`."
    )
    pictures: Literal["photographs", "renderings"] = Field(
        "photographs",
        description="What they look like. Networks that learned from photographs, such as diffusion models, draw photographs.",
    )
