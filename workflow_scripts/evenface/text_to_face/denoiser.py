"""The denoiser and its text encoder, trained together from scratch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from evenface.networks import latent_diffusion
from evenface.seeds import seed_from
from evenface.text_to_face.captions import caption, neutral_text, words_of_captions
from evenface.text_to_face.diffusion import noisy, signal_shares, spread_steps, weights_of
from evenface.text_to_face.latents import Latents
from evenface.text_to_face.settings import DenoiserSettings
from evenface.text_to_face.tokenizer import build_tokenizer
from evenface.text_to_face.weights import save_weights
from evenface.training.forward import autocast
from evenface.training.session import Session, write_history
from evenface.training.settings import resolve
from evenface.training.steps import StepBatch, StepMethod

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


def build(settings: DenoiserSettings, side: int, latent_channels: int) -> tuple[nn.Module, nn.Module, CLIPTokenizer]:
    """Fresh denoiser and text encoder, and their tokenizer."""
    tokenizer = build_tokenizer(words_of_captions(), settings.text.tokens)
    text = latent_diffusion.text_encoder(
        settings.text.model_dump(), len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id
    )
    unet = latent_diffusion.denoiser(settings.unet.model_dump(), side, latent_channels, settings.text.width)
    return unet, text, tokenizer


def caption_of(truth: Mapping[str, Any], untold: float, random: np.random.Generator) -> str:
    """The caption that the model sees with a face in one step."""
    return neutral_text(random) if random.random() < untold else caption(truth, random)


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token numbers int64 (N, tokens), padded and cut as a Stable Diffusion pipeline does."""
    return tokenizer(
        texts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids


class Denoising(StepMethod):
    """Predicts the velocity of noisy latents, with a caption for most faces."""

    def __init__(
        self, session: Session, networks: Mapping[str, nn.Module], tokenizer: CLIPTokenizer, latents: Latents,
        settings: DenoiserSettings,
    ):  # fmt: skip
        super().__init__(session, networks, np.flatnonzero(~latents.held_out), settings)
        self.tokenizer, self.latents, self.shares = tokenizer, latents, signal_shares()

    def content(self, rows: np.ndarray, step: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Noisy latents, their velocities, times, weights and captions."""
        random = np.random.Generator(np.random.PCG64(seed_from(self.session.seed, "captions", step)))
        texts = [caption_of(self.latents.truth[i], self.loop.untold, random) for i in rows]
        ids = token_ids(self.tokenizer, texts)
        clean = self.latents.values[rows, random.integers(0, 2, len(rows))].float()
        noise = torch.randn(clean.shape, generator=generator)
        times = spread_steps(len(rows), generator)
        mixed, velocity = noisy(clean, noise, self.shares[times])
        return mixed, velocity, times, weights_of(self.shares[times], self.loop.gamma), ids

    def loss_of(self, batch: StepBatch) -> tuple[Tensor, dict[str, float]]:
        """Weighted mean squared error of the velocities; ``velocity`` is the unweighted error."""
        mixed, velocity, times, weights, ids = (part.to(self.session.device) for part in batch.content)
        with autocast(self.session.device, self.session.precision):
            states = self.networks["text_encoder"](ids).last_hidden_state
            mixed = mixed.contiguous(memory_format=torch.channels_last)
            answer = self.networks["unet"](mixed, times, states).sample
        errors = (answer.float() - velocity).square().mean((1, 2, 3))
        return (weights * errors).mean(), {"velocity": float(errors.detach().mean())}


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
    settings = resolve(DenoiserSettings, settings, "text_to_face.denoiser")
    session = Session(
        out, settings, seed=seed, threads=threads, device=device, label="denoiser", where="text_to_face.denoiser"
    )
    session.identify(digest)
    networks = {}

    def built() -> nn.Module:
        networks["unet"], networks["text_encoder"], networks["tokenizer"] = build(
            settings, latents.values.shape[-1], latents.values.shape[2]
        )
        return networks["unet"]

    session.draw(built)
    tokenizer = networks.pop("tokenizer")
    write_history(session.fit(Denoising(session, networks, tokenizer, latents, settings)).history, log_path)
    save_weights(out, networks)
