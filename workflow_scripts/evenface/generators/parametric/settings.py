"""Settings of the parametric generator."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evenface.fields import Pair
from evenface.generators.parametric.domains import DomainName
from evenface.parts import Settings


class ParametricSettings(Settings):
    """The parametric renderer."""

    left_out = frozenset({"size", "domain", "supersample"})

    size: Pair[Annotated[int, Field(ge=16, le=4096)]] = Field([178, 218], description="Width and height in pixels.")
    domain: DomainName = Field("studio", description="How the camera degrades the rendering.")
    supersample: int = Field(2, ge=1, le=4, description="Samples per pixel along each side.")
