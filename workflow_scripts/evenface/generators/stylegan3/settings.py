"""Settings of the generator stylegan3."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evenface.parts import FilePath, Settings


class StyleGAN3Settings(Settings):
    """StyleGAN3: random faces; it ignores prompts. docs/generators.md says how to use it."""

    network: FilePath = Field(
        "models/stylegan3/stylegan3-t-ffhqu-256x256.pkl",
        description="The network: a published pickle (nothing in it is executed), or the safetensors file it was "
        "converted to.",
    )
    truncation_psi: float = Field(
        1, ge=0, le=2, description="Below 1, faces are closer to the average face: fewer failures, less variety."
    )
    truncation_cutoff: int | None = Field(
        None, ge=0, description="Number of style vectors that are truncated; null truncates all."
    )
    label: int | None = Field(
        None, ge=0, description="The class that a conditional network draws; null for the published networks."
    )
    seeds: Literal["own", "published"] = Field(
        "own",
        description="own: latents come from the whole 63-bit seed of an image. published: from its lower 32 bits, as "
        "NVIDIA's programs draw them; with the seed of the image's record, those programs draw the same face.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Arithmetic of the convolutions; bfloat16 is faster and changes pixels by about one grey level.",
    )
    batch_size: int = Field(4, ge=1, description="Faces a GPU draws at once; a CPU draws one by one.")
