"""The noise process: velocity prediction, with a last step of pure noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Settings of diffusers' scheduler. The signal is 0 at the last step, so training includes sampling from pure noise
#: (Lin et al., WACV 2024); "trailing" spacing starts there.
NOISE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}


def signal_shares() -> Tensor:
    """Share of the signal's variance at each step, float32 (1000,), falling to 0."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**NOISE, clip_sample=False).alphas_cumprod.float()


def spread_steps(count: int, generator: torch.Generator) -> Tensor:
    """Steps int64 (count,), spread evenly from a random start; the loss is less noisy than with independent steps."""
    places = (torch.arange(count) + torch.rand(1, generator=generator)) / count
    return (places * NOISE["num_train_timesteps"]).long()


def noisy(latents: Tensor, noise: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Latents at steps whose signal share is ``shares`` (N,), and the velocity to predict (Salimans and Ho, 2022)."""
    signal, rest = (v[:, None, None, None] for v in (shares.sqrt(), (1 - shares).sqrt()))
    return signal * latents + rest * noise, signal * noise - rest * latents


def weights_of(shares: Tensor, gamma: float) -> Tensor:
    """Weight (N,) of the squared velocity error: 1 while the signal is weak, falling where its ratio passes ``gamma``.

    Min-SNR weighting (Hang et al., ICCV 2023), with 1 added to the clipped ratio. Without this, the last steps, whose
    ratio is 0, would not be trained at all.
    """
    ratio = shares / (1 - shares).clamp(min=1e-8)
    return (ratio.clamp(max=gamma) + 1) / (ratio + 1)
