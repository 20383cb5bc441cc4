"""Settings of the guided generator."""

from __future__ import annotations

from pydantic import Field

from evenface.generators.settings import WalkSettings


class GuidedSettings(WalkSettings):
    """The guided generator: it changes faces of latent_directions.generator until they show what a prompt asks for."""

    left_out = frozenset({"tries", *WalkSettings.model_fields})

    tries: int = Field(
        3,
        ge=1,
        le=100,
        description="Latents that are tried, one after the other; if all fail, the nearest face is given and marked as not "
        "met.",
    )
