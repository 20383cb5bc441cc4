"""Keys of a data set that only the reader maad_face has."""

from __future__ import annotations

from pydantic import Field

from evenface.parts import Settings


class MAADFaceSettings(Settings):
    """MAAD-Face."""

    left_out = frozenset({"csv"})

    csv: str | None = Field(None, description="Path of MAAD_Face.csv where it is not in root.")
