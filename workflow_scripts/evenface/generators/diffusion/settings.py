"""Settings of the generator diffusion, and those that every diffusion model has."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evenface.fields import Pair
from evenface.generators.diffusion.schedulers import SCHEDULERS
from evenface.parts import FilePath, Settings

Scheduler = Literal[tuple(SCHEDULERS)]


class InitialSettings(Settings):
    """The images to start from; give exactly one of generator and file."""

    left_out = frozenset({"generator", "file"})

    generator: str | None = Field(
        None, description="Another one of generation.generator: start from its image of the same prompt and number."
    )
    file: FilePath | None = Field(
        None,
        pattern=r"\.csv$",
        description="A CSV with a column image (file, or shard.tar::member) and optional columns gender, age, "
        "ethnicity and cell that say which prompts a row is for.",
    )


class PipelineSettings(Settings):
    """What every diffusion model has."""

    model: FilePath
    vae: FilePath | None = Field(
        None,
        description="VAE to use instead of the model's own: a diffusers folder, or a file (.safetensors, .pt, .ckpt).",
    )
    config: FilePath | None = Field(
        None,
        description="For a single file: a folder with the model's configuration files in diffusers' form; it does not need "
        "weights. null works for Stable Diffusion 1.x and SDXL.",
    )
    variant: str | None = Field(None, description="For a folder: the variant of its files, such as fp16.")
    scheduler: Scheduler | None = Field(None, description="Sampler; null takes the model's own.")
    steps: int
    guidance: float
    size: Pair[Annotated[int, Field(ge=8, le=4096, multiple_of=8)]] | None = Field(
        None, description="Width and height in pixels; null takes the model's own size."
    )
    precision: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Arithmetic of the model; auto is float16 on a GPU and float32 on a CPU."
    )
    batch_size: int = Field(
        2,
        ge=1,
        le=256,
        description="Images drawn together; halved when memory runs out. It takes part in the last bits of an image. "
        "Short batches are padded, so make images_per_prompt a multiple of it.",
    )
    attention_slicing: bool = Field(
        False, description="Whether attention is computed in slices: slower, with less memory."
    )
    offload: Literal["none", "model", "sequential"] = Field(
        "none",
        description="Which parts wait in main memory while a GPU computes the others; needs the package accelerate.",
    )
    prompt_weights: Literal["understand", "refuse"] = Field(
        "understand",
        description="What (term:1.4) in a prompt does. understand: it weighs the term, in models with CLIP's text encoders. "
        "refuse: it stops the workflow. It is never passed on as text.",
    )
    safety_checker: bool = Field(
        True,
        description="Whether a folder's safety checker is used. It blackens pictures; their provenance says so.",
    )
    initial: InitialSettings | None = Field(None)


#: Descriptions and bounds of what every model sets its own default for.
MODEL = "A folder as diffusers writes it, or a single file (.safetensors, .ckpt)."
STEPS = {"ge": 1, "le": 1000, "description": "Steps of the sampler."}
GUIDANCE = {
    "ge": 0,
    "le": 50,
    "description": "How strongly the text is followed. At 1 and below, guidance and the negative prompt are off.",
}


class DiffusionSettings(PipelineSettings):
    """Text-to-image models through diffusers."""

    model: FilePath = Field("models/text-to-face", description=MODEL)
    steps: int = Field(20, **STEPS)
    guidance: float = Field(4.0, **GUIDANCE)
    strength: float = Field(
        0.6,
        gt=0,
        le=1,
        description="How much initial images are changed: the share of the steps that is taken. 1 "
        "ignores the initial image.",
    )
