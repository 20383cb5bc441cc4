"""Settings of the generator instruct_pix2pix."""

from __future__ import annotations

from pydantic import Field

from evenface.fields import Text
from evenface.generators.diffusion.settings import GUIDANCE, MODEL, STEPS, PipelineSettings
from evenface.parts import FilePath


class InstructPix2PixSettings(PipelineSettings):
    """Models that change images according to an instruction."""

    model: FilePath = Field(
        "models/diffusion/instruct-pix2pix-00-22000.safetensors", description=f"An editing model. {MODEL}"
    )
    steps: int = Field(50, **STEPS)
    guidance: float = Field(7.5, **GUIDANCE)
    image_guidance: float = Field(1.5, ge=1, le=20, description="How strongly the initial image is kept.")
    instruction: Text = Field(
        "make this a portrait of a {age} {ethnicity} {gender} with {hair}",
        description="The instruction for the model; {age} {ethnicity} {gender} {hair} and {prompt} are filled in for each "
        "image.",
    )
