"""The finished model as a diffusers folder in half precision."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from evenface.errors import UserError
from evenface.networks.latent_diffusion import autoencoder
from evenface.storage.atomic import atomic_folder, write_json, write_text
from evenface.text_to_face import denoiser
from evenface.text_to_face.autoencoder import SHAPE
from evenface.text_to_face.captions import words_of_captions
from evenface.text_to_face.card import write_card
from evenface.text_to_face.diffusion import NOISE
from evenface.text_to_face.settings import AutoencoderSettings, DenoiserSettings
from evenface.text_to_face.tokenizer import save_tokenizer
from evenface.text_to_face.weights import load_weights
from evenface.training.settings import resolve

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

#: Size limit, in bytes, for a folder in the repository.
LARGEST = 40_000_000


def assemble(
    settings: Mapping[str, Any],
    autoencoder_weights: str | os.PathLike,
    denoiser_weights: str | os.PathLike,
) -> StableDiffusionPipeline:
    """A Stable Diffusion pipeline (float32, CPU) of the trained weights.

    ``settings`` has ``size`` (pixels) and the blocks ``autoencoder`` and ``denoiser``.
    """
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    first = resolve(AutoencoderSettings, settings["autoencoder"], "text_to_face.autoencoder")
    second = resolve(DenoiserSettings, settings["denoiser"], "text_to_face.denoiser")
    vae = autoencoder(settings["size"], **first.model_dump(include=set(SHAPE)))
    load_weights(autoencoder_weights, {"autoencoder": vae})
    side = settings["size"] >> (len(first.channels) - 1)
    unet, text, tokenizer = denoiser.build(second, side, first.latent_channels)
    load_weights(denoiser_weights, {"unet": unet, "text_encoder": text})
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in (vae, text, unet):
        part.eval()
    return pipeline


def export_pipeline(
    recipe: Mapping[str, Any],
    autoencoder_weights: str | os.PathLike,
    denoiser_weights: str | os.PathLike,
    out: str | os.PathLike,
) -> None:
    """Write the folder ``out``, which diffusers can load: float16 weights, and the card as ``README.md``.

    ``recipe`` has ``seed``, ``renderer`` and ``settings``. The folder appears as a whole.
    UserError when it is larger than ``LARGEST``.
    """
    pipeline = assemble(recipe["settings"], autoencoder_weights, denoiser_weights)
    parts = (pipeline.vae, pipeline.text_encoder, pipeline.unet)
    card = write_card(recipe, sum(p.numel() for part in parts for p in part.parameters()))
    pipeline.to(dtype=torch.float16)
    with atomic_folder(out) as temporary:
        pipeline.save_pretrained(temporary, safe_serialization=True)
        save_tokenizer(words_of_captions(), pipeline.tokenizer.model_max_length, temporary / "tokenizer")
        _forget_origins(temporary)
        write_text(temporary / "README.md", card)
        size = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
        if size > LARGEST:
            raise UserError(f"{out}: the model has {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}; make it smaller")


def _forget_origins(folder: Path) -> None:
    """Remove the machine's paths from which parts were loaded from the configurations."""
    for path in sorted(folder.rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "_name_or_path" in content:
            del content["_name_or_path"]
            write_json(path, content)
