"""Settings of a local language model, ``generation.prompts.contextual.transformers``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evenface.parts import FilePath, Settings


class TransformersSettings(Settings):
    """A causal language model on this machine."""

    folder: FilePath | None = Field(None, description="Folder with config.json, safetensors and the tokenizer.")
    temperature: float = Field(0.9, ge=0, le=2, description="Temperature of sampling; 0 takes the likeliest token.")
    top_p: float = Field(0.95, gt=0, le=1, description="Share of the probability that tokens are sampled from.")
    max_new_tokens: int = Field(1024, ge=16, le=32768, description="Longest answer, in tokens.")
    lines_per_request: int = Field(10, ge=1, le=500, description="Contexts or prompts asked for at a time.")
    attempts: int = Field(5, ge=1, le=100, description="Useless answers in a row before the job gives up.")
    precision: Literal["float32", "bfloat16"] = Field("bfloat16", description="Arithmetic of the model.")
