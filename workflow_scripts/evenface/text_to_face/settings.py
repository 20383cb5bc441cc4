"""Settings of ``text_to_face``: the latent diffusion model that is trained on parametric faces."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evenface.fields import Share
from evenface.parts import Settings
from evenface.training.settings import StepSettings

LEVELS = "Width of the levels; each but the last halves the side."
STEPS = {"ge": 1, "description": StepSettings.model_fields["steps"].description}
RATE = {"gt": 0, "description": StepSettings.model_fields["learning_rate"].description}
BATCH = {"ge": 1, "description": StepSettings.model_fields["batch_size"].description}
WARMUP = {"ge": 0, "description": StepSettings.model_fields["warmup"].description}
AVERAGE = {"ge": 0, "lt": 1, "description": StepSettings.model_fields["average"].description}
WEIGHT_DECAY = {"ge": 0, "description": StepSettings.model_fields["weight_decay"].description}


class _StageSettings(StepSettings):
    """A stage of the training."""

    left_out = frozenset({"optimiser", "momentum", "weight_decay", "clip", "log_every", "precision"})


class AutoencoderSettings(_StageSettings):
    """The autoencoder: faces to latents and back."""

    # Its batches are small: a few faces give a clear gradient, and early training needs many steps.
    pace = (*StepSettings.pace, "parts")

    parts: int = Field(
        10, ge=1, description="Number of parts it is trained on, from the first; they must hold every cell."
    )
    channels: Annotated[list[Annotated[int, Field(ge=8, multiple_of=8)]], Field(min_length=1)] = Field(
        [32, 48, 96, 128], description=LEVELS
    )
    latent_channels: int = Field(6, ge=1, description="Values per place of the latents.")
    layers: int = Field(1, ge=1, description="Residual blocks of a level.")
    kl: float = Field(0.0005, ge=0, description="Weight of the Kullback-Leibler divergence.")
    steps: int = Field(8000, **STEPS)
    batch_size: int = Field(4, **BATCH)
    learning_rate: float = Field(0.0007, **RATE)
    weight_decay: float = Field(0.0001, **WEIGHT_DECAY)


class DecoderSettings(_StageSettings):
    """The autoencoder's decoder, trained further while its latents stay fixed."""

    noise: float = Field(0.05, ge=0, description="Standard deviation of the noise that is added to the latents.")
    steps: int = Field(4000, **STEPS)
    batch_size: int = Field(4, **BATCH)
    weight_decay: float = Field(0.0001, **WEIGHT_DECAY)


class TextSettings(Settings):
    """The text encoder."""

    width: int = Field(192, ge=8, description="Values per token.")
    layers: int = Field(3, ge=1, description="Transformer layers.")
    heads: int = Field(6, ge=1, description="Attention heads; the width must be a multiple of it.")
    tokens: int = Field(48, ge=16, le=77, description="Longest prompt in tokens, both marks included.")


class UNetSettings(Settings):
    """The denoising network."""

    channels: Annotated[list[Annotated[int, Field(ge=32, multiple_of=32)]], Field(min_length=1)] = Field(
        [128, 224], description=LEVELS
    )
    layers: int = Field(1, ge=1, description="Residual blocks of a level.")
    attention: Annotated[list[bool], Field(min_length=1)] = Field(
        [False, True], description="For each level, whether it attends to the text."
    )
    head: int = Field(32, ge=8, description="Width of an attention head; the channels must be multiples of it.")


class DenoiserSettings(_StageSettings):
    """The denoiser with its text encoder."""

    untold: Share = Field(0.12, description="Share of the faces shown without a caption, for classifier-free guidance.")
    gamma: float = Field(5.0, gt=0, description="Steps with a higher signal-to-noise ratio weigh less.")
    text: TextSettings = Field({})
    unet: UNetSettings = Field({})
    steps: int = Field(9000, **STEPS)
    warmup: int = Field(500, **WARMUP)
    average: float = Field(0.9995, **AVERAGE)


class EvaluationSettings(Settings):
    """How the finished model is judged."""

    images: int = Field(504, ge=1, description="Faces drawn, spread over the 72 cells.")
    steps: int = Field(20, ge=1, description="Denoising steps.")
    guidance: float = Field(2.0, ge=1, description="Classifier-free guidance.")


class TextToFaceSettings(Settings):
    """The latent diffusion model that is trained on parametric faces; only its own rules read this."""

    faces: int = Field(14400, ge=1, description="Training faces; any 72 in a row contain one of every cell.")
    parts: int = Field(
        25,
        ge=1,
        description="Number of rendering jobs; best without a common divisor with 72. It does not change any face.",
    )
    render_size: int = Field(128, ge=32, le=512, description="Side of the rendered squares in pixels.")
    size: int = Field(96, ge=32, le=512, description="Side of the model's pictures in pixels.")
    autoencoder: AutoencoderSettings = Field({})
    decoder: DecoderSettings = Field({})
    denoiser: DenoiserSettings = Field({})
    evaluation: EvaluationSettings = Field({})
