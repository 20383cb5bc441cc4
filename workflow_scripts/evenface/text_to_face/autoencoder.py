"""The autoencoder: from faces to a small grid of latents with unit variance, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evenface.networks.latent_diffusion import autoencoder
from evenface.text_to_face.pictures import Pictures
from evenface.text_to_face.settings import AutoencoderSettings
from evenface.text_to_face.weights import save_weights
from evenface.training.augmentation import to_input
from evenface.training.forward import autocast
from evenface.training.session import Session, write_history
from evenface.training.settings import resolve
from evenface.training.steps import StepBatch, StepMethod

#: Settings that decide the network's shape.
SHAPE = ("channels", "latent_channels", "layers")

#: Number of faces on which the spread of the latents is measured.
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
    """``pixels`` (N, H, W, 3) with about half of the pictures mirrored."""
    turned = torch.rand(len(pixels), generator=generator).numpy() < 0.5
    pixels[turned] = pixels[turned, :, ::-1]
    return pixels


class Autoencoding(StepMethod):
    """Faces to latents and back. The loss is the likeness of the pictures, and the latents' distance from N(0, 1)."""

    def __init__(self, session: Session, network: nn.Module, pictures: Pictures, settings: AutoencoderSettings):
        super().__init__(session, {"autoencoder": network}, np.flatnonzero(~pictures.held_out), settings)
        self.pictures = pictures

    def content(self, rows: np.ndarray, step: int, generator: torch.Generator) -> np.ndarray:
        """Pictures, about half of them mirrored."""
        return mirrored(self.pictures.pixels[rows], generator)

    def loss_of(self, batch: StepBatch) -> tuple[Tensor, dict[str, float]]:
        """Likeness and weighted divergence."""
        device, precision, network = self.session.device, self.session.precision, self.networks["autoencoder"]
        x = to_input(batch.content, device)
        with autocast(device, precision):
            posterior = network.encode(x).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        noise = torch.randn(mean.shape, generator=batch.generator).to(device)
        with autocast(device, precision):
            decoded = network.decode(mean + torch.exp(0.5 * logvar) * noise).sample
        apart, spread = likeness(decoded.float(), x), divergence(mean, logvar)
        return apart + self.loop.kl * spread, {"likeness": float(apart.detach()), "kl": float(spread.detach())}


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
    ``.partial`` holds the state of the training, which continues when it is called again for more steps.
    """
    settings = resolve(AutoencoderSettings, settings, "text_to_face.autoencoder")
    session = Session(
        out, settings, seed=seed, threads=threads, device=device, label="autoencoder", where="text_to_face.autoencoder"
    )
    session.identify(pictures.sha256)
    network = session.draw(lambda: autoencoder(pictures.pixels.shape[1], **settings.model_dump(include=set(SHAPE))))
    method = Autoencoding(session, network, pictures, settings)
    write_history(session.fit(method).history, log_path)
    standardise(network, pictures.pixels[method.shown[:_MEASURED]], session.device)
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

    The 1x1 convolutions on either side of the latents take the shift and the scale, because a Stable Diffusion
    pipeline has only one factor for all channels.
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
