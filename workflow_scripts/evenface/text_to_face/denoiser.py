"""The denoiser and its text encoder, trained together from nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from evenface.networks import latent_diffusion
from evenface.seeds import seed_from
from evenface.text_to_face.captions import caption, neutral_text, words_of_captions
from evenface.text_to_face.diffusion import noisy, signal_shares, spread_steps, weights_of
from evenface.text_to_face.latents import Latents
from evenface.text_to_face.tokenizer import build_tokenizer
from evenface.text_to_face.weights import save_weights
from evenface.training import runtime
from evenface.training.fitting import digest_of
from evenface.training.loop import autocast
from evenface.training.steps import DEFAULTS as LOOP_DEFAULTS
from evenface.training.steps import PACE, Batches, train_steps

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

#: ``text`` and ``unet`` are shapes (see networks.latent_diffusion); ``untold`` is the share of steps without a
#: caption, for classifier-free guidance; ``gamma`` bounds the weight of nearly clean steps.
DEFAULTS: dict[str, Any] = {
    **LOOP_DEFAULTS,
    "text": {"width": 192, "layers": 3, "heads": 6, "tokens": 48},
    "unet": {"channels": (128, 224), "layers": 1, "attention": (False, True), "head": 32},
    "batch_size": 32,
    "learning_rate": 5e-4,
    "warmup": 500,
    "average": 0.9995,
    "untold": 0.12,
    "gamma": 5.0,
    "precision": "auto",
}


def build(settings: Mapping[str, Any], side: int, latent_channels: int) -> tuple[nn.Module, nn.Module, CLIPTokenizer]:
    """Fresh denoiser and text encoder, and their tokenizer."""
    tokenizer = build_tokenizer(words_of_captions(), settings["text"]["tokens"])
    text = latent_diffusion.text_encoder(
        settings["text"], len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id
    )
    unet = latent_diffusion.denoiser(settings["unet"], side, latent_channels, settings["text"]["width"])
    return unet, text, tokenizer


def caption_of(truth: Mapping[str, Any], untold: float, random: np.random.Generator) -> str:
    """What the model is told of a face in one step."""
    return neutral_text(random) if random.random() < untold else caption(truth, random)


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token numbers int64 (N, tokens), padded and cut as a Stable Diffusion pipeline does."""
    return tokenizer(
        texts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids


def train_denoiser(
    latents: Latents,
    settings: Mapping[str, Any],
    out: str | os.PathLike,
    *,
    log_path: str | os.PathLike,
    seed: int,
    digest: str,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Train on the faces that are not held out, and write the averaged weights of both networks to ``out``.

    The folder ``out`` with suffix ``.partial`` holds the state of an unfinished training; ``digest`` is
    that of the latents.
    """
    settings = {**DEFAULTS, **settings}
    runtime.prepare(threads)
    precision = runtime.choose_precision(settings["precision"], device)
    channels, side = latents.values.shape[2], latents.values.shape[-1]
    torch.manual_seed(seed_from(seed, "initial weights"))
    unet, text, tokenizer = build(settings, side, channels)
    unet, text = unet.to(device, memory_format=torch.channels_last), text.to(device)
    shares = signal_shares()
    rows = np.flatnonzero(~latents.held_out)
    batches = Batches(len(rows), settings["batch_size"], seed)

    def loss_of(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = rows[batches.rows(step)]
        random = np.random.Generator(np.random.PCG64(seed_from(seed, "captions", step)))
        ids = token_ids(tokenizer, [caption_of(latents.truth[i], settings["untold"], random) for i in chosen])
        clean = latents.values[chosen, random.integers(0, 2, len(chosen))].float()
        noise = torch.randn(clean.shape, generator=generator)
        times = spread_steps(len(chosen), generator)
        mixed, velocity = noisy(clean, noise, shares[times])
        weights = weights_of(shares[times], settings["gamma"])
        mixed, velocity, times, weights, ids = (v.to(device) for v in (mixed, velocity, times, weights, ids))
        with autocast(device, precision):
            told = text(ids).last_hidden_state
            answer = unet(mixed.contiguous(memory_format=torch.channels_last), times, told).sample
        errors = (answer.float() - velocity).square().mean((1, 2, 3))
        return (weights * errors).mean(), {"velocity": float(errors.detach().mean())}

    train_steps(
        {"unet": unet, "text_encoder": text},
        loss_of,
        settings,
        seed=seed,
        digest=digest_of(digest, {k: v for k, v in settings.items() if k not in PACE}, seed),
        state_path=Path(out).with_suffix(".partial") / "state.pt",
        log_path=Path(log_path),
        label="denoiser",
    )
    save_weights(out, {"unet": unet, "text_encoder": text})
