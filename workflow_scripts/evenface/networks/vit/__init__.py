"""A small vision transformer."""

from typing import Literal

from pydantic import Field

from evenface.parts import IMAGENET, Network, Settings


class ViTSettings(Settings):
    """Its block of the configuration."""

    patch: Literal[16, 32] = Field(16, description="Side in pixels of the patches that an image is cut into.")


PART = Network(
    name="vit_small",
    summary="ViT-S (Dosovitskiy et al. 2021; Touvron et al. 2021): a vision transformer of 22 million parameters.",
    code="evenface.networks.vit.network:create",
    settings=ViTSettings,
    size=(224, 224),
    smallest=(224, 224),
    fixed_size=True,
    **IMAGENET,
)
