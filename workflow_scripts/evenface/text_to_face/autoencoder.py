"""The autoencoder: faces to a small grid of latents of unit variance, and back."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evenface.networks.latent_diffusion import autoencoder
from evenface.seeds import seed_from
from evenface.text_to_face.pictures import Pictures
from evenface.text_to_face.weights import save_weights
from evenface.training import runtime
from evenface.training.augmentation import to_input
from evenface.training.fitting import digest_of
from evenface.training.loop import autocast
from evenface.training.steps import DEFAULTS as LOOP_DEFAULTS
from evenface.training.steps import PACE, Batches, train_steps

log = logging.getLogger("evenface")

#: Small batches: the gradient of a few faces is clear enough, and steps are what early training lacks.
#: ``kl`` weighs the mean Kullback-Leibler divergence per latent value against the loss per colour value.
DEFAULTS: dict[str, Any] = {
    **LOOP_DEFAULTS,
    "channels": (32, 48, 96, 128),
    "latent_channels": 6,
    "layers": 1,
    "batch_size": 4,
    "learning_rate": 7e-4,
    "weight_decay": 1e-4,
    "kl": 5e-4,
    "precision": "auto",
}

#: The settings that are the network's shape.
SHAPE = ("channels", "latent_channels", "layers")

#: Faces over which the spread of the latents is measured.
_MEASURED = 2048


def likeness(pictures: Tensor, targets: Tensor) -> Tensor:
    """Scalar distance of float pictures (N, 3, H, W): mean absolute error at three scales, and of the slopes."""
    total = functional.l1_loss(pictures, targets)
    for axis in (2, 3):
        total = total + 0.5 * functional.l1_loss(pictures.diff(dim=axis), targets.diff(dim=axis))
    for _ in range(2):
        pictures, targets = functional.avg_pool2d(pictures, 2), functional.avg_pool2d(targets, 2)
        total = total + 0.5 * functional.l1_loss(pictures, targets)
    return total


def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of N(mean, exp(logvar)) from N(0, 1), per value."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def mirrored(pixels: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """``pixels`` (N, H, W, 3) with about half of the pictures turned over."""
    turned = torch.rand(len(pixels), generator=generator).numpy() < 0.5
    pixels[turned] = pixels[turned, :, ::-1]
    return pixels


def train_autoencoder(
    pictures: Pictures,
    settings: Mapping[str, Any],
    out: str | os.PathLike,
    *,
    log_path: str | os.PathLike,
    seed: int,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Train on the pictures that are not held out, and write the averaged weights (safetensors) to ``out``.

    The written network's latents have mean 0 and variance 1 per channel. The folder ``out`` with suffix
    ``.partial`` holds the state of an unfinished training.
    """
    settings = {**DEFAULTS, **settings}
    runtime.prepare(threads)
    precision = runtime.choose_precision(settings["precision"], device)
    size = pictures.pixels.shape[1]
    torch.manual_seed(seed_from(seed, "initial weights"))
    network = autoencoder(size, **{key: settings[key] for key in SHAPE}).to(device, memory_format=torch.channels_last)
    rows = np.flatnonzero(~pictures.held_out)
    batches = Batches(len(rows), settings["batch_size"], seed)

    def loss_of(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x = to_input(mirrored(pictures.pixels[rows[batches.rows(step)]], generator), device)
        with autocast(device, precision):
            posterior = network.encode(x).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        noise = torch.randn(mean.shape, generator=generator).to(device)
        with autocast(device, precision):
            decoded = network.decode(mean + torch.exp(0.5 * logvar) * noise).sample
        apart, spread = likeness(decoded.float(), x), divergence(mean, logvar)
        return apart + settings["kl"] * spread, {"likeness": float(apart.detach()), "kl": float(spread.detach())}

    train_steps(
        {"autoencoder": network},
        loss_of,
        settings,
        seed=seed,
        digest=digest_of(pictures.sha256, {k: v for k, v in settings.items() if k not in PACE}, seed),
        state_path=Path(out).with_suffix(".partial") / "state.pt",
        log_path=Path(log_path),
        label="autoencoder",
    )
    standardise(network, pictures.pixels[rows[:_MEASURED]], device)
    save_weights(out, {"autoencoder": network})


@torch.no_grad()
def encode(network: nn.Module, pixels: np.ndarray, device: str = "cpu", *, batch_size: int = 64) -> Tensor:
    """Means of the latents of uint8 pixels (N, H, W, 3): float32 (N, c, h, w) on the CPU."""
    network.eval()
    parts = [
        network.encode(to_input(pixels[i : i + batch_size], device)).latent_dist.mean.float().cpu()
        for i in range(0, len(pixels), batch_size)
    ]
    return torch.cat(parts)


@torch.no_grad()
def decode(network: nn.Module, latents: Tensor, device: str = "cpu", *, batch_size: int = 64) -> np.ndarray:
    """Pictures uint8 (N, H, W, 3) of latents float (N, c, h, w)."""
    network.eval()
    parts = [network.decode(latents[i : i + batch_size].to(device)).sample for i in range(0, len(latents), batch_size)]
    pixels = (torch.cat(parts).float().clamp(-1, 1) + 1) * 127.5
    return pixels.round().byte().permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def standardise(network: nn.Module, pixels: np.ndarray, device: str = "cpu") -> None:
    """Give the latents of ``pixels`` mean 0 and variance 1 per channel, without changing what they decode to.

    The shift and the scale are taken into the 1x1 convolutions on either side of the latents, since a
    Stable Diffusion pipeline knows only one factor for all channels.
    """
    latents = encode(network, pixels, device)
    mean = latents.mean((0, 2, 3)).to(device)
    deviation = latents.std((0, 2, 3)).clamp(min=1e-4).to(device)
    inward, outward, channels = network.quant_conv, network.post_quant_conv, len(mean)
    outward.bias += outward.weight[:, :, 0, 0] @ mean
    outward.weight *= deviation[None, :, None, None]
    inward.weight[:channels] /= deviation[:, None, None, None]
    inward.bias[:channels] = (inward.bias[:channels] - mean) / deviation
    inward.bias[channels:] -= 2 * deviation.log()  # the second half is the logarithm of the variance
