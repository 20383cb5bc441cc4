"""Drawing with a text-to-face model: a diffusers folder, loaded without a network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evenface.errors import UserError
from evenface.joblog import progress

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

_BATCH = 12


def load_pipeline(folder: str | os.PathLike) -> StableDiffusionPipeline:
    """The pipeline of a folder in float32, from local files alone; UserError when it is none."""
    import torch
    from diffusers import StableDiffusionPipeline

    if not (Path(folder) / "model_index.json").is_file():
        raise UserError(f"{folder}: no diffusers model; the rule export_text_to_face writes one")
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, local_files_only=True, safety_checker=None, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 20,
    guidance: float = 4.0,
    negative_prompt: str = "",
) -> Iterator[np.ndarray]:
    """One picture per prompt, RGB uint8 (H, W, 3); each has its own seed, so that batches change nothing."""
    import torch

    def pictures() -> Iterator[np.ndarray]:
        for start in range(0, len(prompts), _BATCH):
            texts = list(prompts[start : start + _BATCH])
            drawn = pipeline(
                texts,
                negative_prompt=[negative_prompt] * len(texts),
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[start : start + _BATCH]],
                output_type="np",
            ).images
            yield from (drawn * 255).round().astype(np.uint8)

    yield from progress(pictures(), len(prompts), "drawing")
