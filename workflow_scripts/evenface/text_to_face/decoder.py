"""The decoder, which is trained further after the latents are fixed, independently of the denoiser."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evenface.errors import UserError
from evenface.networks.latent_diffusion import autoencoder
from evenface.text_to_face.autoencoder import SHAPE, likeness
from evenface.text_to_face.latents import Latents
from evenface.text_to_face.pictures import Pictures
from evenface.text_to_face.settings import AutoencoderSettings, DecoderSettings
from evenface.text_to_face.weights import load_weights, save_weights
from evenface.training.augmentation import to_input
from evenface.training.forward import autocast
from evenface.training.session import Session, write_history
from evenface.training.settings import resolve
from evenface.training.steps import StepBatch, StepMethod


class Decoding(StepMethod):
    """Latents to pictures. A little noise is added, because the denoiser's latents are never exact."""

    def __init__(
        self, session: Session, network: nn.Module, pictures: Pictures, latents: Latents, settings: DecoderSettings
    ):
        super().__init__(session, {"autoencoder": network}, np.flatnonzero(~pictures.held_out), settings)
        self.pictures, self.latents = pictures, latents

    def content(self, rows: np.ndarray, step: int, generator: torch.Generator) -> tuple[np.ndarray, Tensor]:
        """Pictures, about half of them mirrored, and their latents with noise."""
        turned = torch.randint(0, 2, (len(rows),), generator=generator).numpy()
        pixels = self.pictures.pixels[rows]
        pixels[turned == 1] = pixels[turned == 1, :, ::-1]
        z = self.latents.values[rows, turned].float()
        return pixels, z + self.loop.noise * torch.randn(z.shape, generator=generator)

    def loss_of(self, batch: StepBatch) -> tuple[Tensor, dict[str, float]]:
        """Likeness of the pictures."""
        (pixels, z), device = batch.content, self.session.device
        with autocast(device, self.session.precision):
            decoded = self.networks["autoencoder"].decode(z.to(device, memory_format=torch.channels_last)).sample
        return likeness(decoded.float(), to_input(pixels, device)), {}


def train_decoder(
    pictures: Pictures,
    latents: Latents,
    autoencoder_settings: Mapping[str, Any],
    settings: Mapping[str, Any],
    weights: str | os.PathLike,
    out: str | os.PathLike,
    *,
    log_path: str | os.PathLike,
    seed: int,
    digest: str,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Train the decoder of the autoencoder ``weights`` further, and write the whole autoencoder to ``out``.

    ``latents`` are those of ``pictures``, row by row; ``digest`` is the latents' digest. The encoder does not change.
    """
    if len(latents.values) != len(pictures.pixels):
        raise UserError(
            f"{out}: latents of {len(latents.values)} faces for {len(pictures.pixels)} pictures; encode again"
        )
    shape = resolve(AutoencoderSettings, autoencoder_settings, "text_to_face.autoencoder").model_dump(
        include=set(SHAPE)
    )
    settings = resolve(DecoderSettings, settings, "text_to_face.decoder")
    session = Session(
        out, settings, seed=seed, threads=threads, device=device, label="decoder", where="text_to_face.decoder"
    )
    session.identify(digest)
    network = autoencoder(pictures.pixels.shape[1], **shape)
    load_weights(weights, {"autoencoder": network})
    for part in (network.encoder, network.quant_conv):
        part.requires_grad_(False)
    write_history(session.fit(Decoding(session, network, pictures, latents, settings)).history, log_path)
    save_weights(out, {"autoencoder": network})
