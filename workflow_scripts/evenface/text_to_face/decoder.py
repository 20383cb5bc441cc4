"""The decoder, trained on after the latents are fixed: it may take its time while the denoiser learns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evenface.errors import UserError
from evenface.networks.latent_diffusion import autoencoder
from evenface.text_to_face.autoencoder import DEFAULTS as AUTOENCODER_DEFAULTS
from evenface.text_to_face.autoencoder import SHAPE, likeness
from evenface.text_to_face.latents import Latents
from evenface.text_to_face.pictures import Pictures
from evenface.text_to_face.weights import load_weights, save_weights
from evenface.training import runtime
from evenface.training.augmentation import to_input
from evenface.training.fitting import digest_of
from evenface.training.loop import autocast
from evenface.training.steps import DEFAULTS as LOOP_DEFAULTS
from evenface.training.steps import PACE, Batches, train_steps

#: ``noise`` is the standard deviation of what is added to latents of variance 1: the denoiser's are never exact.
DEFAULTS: dict[str, Any] = {
    **LOOP_DEFAULTS,
    "batch_size": 4,
    "learning_rate": 5e-4,
    "weight_decay": 1e-4,
    "noise": 0.05,
    "precision": "auto",
}


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
    """Train the decoder of the autoencoder ``weights`` on, and write the whole autoencoder to ``out``.

    ``latents`` are those of ``pictures``, row by row, and ``digest`` is theirs. The encoder stays as it is.
    """
    if len(latents.values) != len(pictures.pixels):
        raise UserError(
            f"{out}: latents of {len(latents.values)} faces for {len(pictures.pixels)} pictures; encode again"
        )
    shape = {key: {**AUTOENCODER_DEFAULTS, **autoencoder_settings}[key] for key in SHAPE}
    settings = {**DEFAULTS, **settings}
    runtime.prepare(threads)
    precision = runtime.choose_precision(settings["precision"], device)
    network = autoencoder(pictures.pixels.shape[1], **shape)
    load_weights(weights, {"autoencoder": network})
    network = network.to(device, memory_format=torch.channels_last)
    for part in (network.encoder, network.quant_conv):
        part.requires_grad_(False)
    rows = np.flatnonzero(~pictures.held_out)
    batches = Batches(len(rows), settings["batch_size"], seed)

    def loss_of(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = rows[batches.rows(step)]
        turned = torch.randint(0, 2, (len(chosen),), generator=generator).numpy()
        pixels = pictures.pixels[chosen]
        pixels[turned == 1] = pixels[turned == 1, :, ::-1]
        z = latents.values[chosen, turned].float()
        z = z + settings["noise"] * torch.randn(z.shape, generator=generator)
        with autocast(device, precision):
            decoded = network.decode(z.to(device, memory_format=torch.channels_last)).sample
        return likeness(decoded.float(), to_input(pixels, device)), {}

    train_steps(
        {"autoencoder": network},
        loss_of,
        settings,
        seed=seed,
        digest=digest_of(digest, {k: v for k, v in settings.items() if k not in PACE}, seed),
        state_path=Path(out).with_suffix(".partial") / "state.pt",
        log_path=Path(log_path),
        label="decoder",
    )
    save_weights(out, {"autoencoder": network})
