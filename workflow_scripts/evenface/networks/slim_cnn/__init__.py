"""Slim-CNN: a small network for many attributes at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evenface.parts import Network, Settings


class SlimCNNSettings(Settings):
    """Its block of the configuration."""

    filters: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (16, 32, 48, 64), min_length=4, max_length=4, description="Squeeze widths of the four slim modules."
    )


PART = Network(
    name="slim_cnn",
    summary="Slim-CNN (Sharma and Foroosh 2019): a small network for many attributes at once.",
    code="evenface.networks.slim_cnn.network:create",
    settings=SlimCNNSettings,
    size=(178, 218),
    smallest=(131, 131),
)
