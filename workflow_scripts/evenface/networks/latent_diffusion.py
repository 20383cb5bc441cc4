"""The parts of a small latent diffusion model, as diffusers and transformers define them.

Each builder takes the settings of the model's own ``config.json``. Any installation of diffusers can load a
folder written from these modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


def autoencoder(size: int, channels: Sequence[int], latent_channels: int, layers: int) -> nn.Module:
    """AutoencoderKL for RGB float (N, 3, size, size) in [-1, 1].

    Every level but the last halves the side: latents are (N, latent_channels, size / 2^(levels-1), ...).
    There is no attention: at these sizes convolutions see enough, and cost less.
    """
    from diffusers import AutoencoderKL

    levels = len(channels)
    return AutoencoderKL(
        sample_size=size,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
        force_upcast=False,
    )


def text_encoder(settings: Mapping[str, Any], vocabulary: int, begin: int, end: int) -> nn.Module:
    """CLIP's text transformer; ``settings`` has width, layers, heads and tokens (its longest input).

    Input: int64 (N, tokens) between the ids ``begin`` and ``end``, padded with ``end``.
    Output: ``last_hidden_state`` float (N, tokens, width).
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=settings["width"],
            intermediate_size=4 * settings["width"],
            projection_dim=settings["width"],
            num_hidden_layers=settings["layers"],
            num_attention_heads=settings["heads"],
            max_position_embeddings=settings["tokens"],
            bos_token_id=begin,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def denoiser(settings: Mapping[str, Any], side: int, latent_channels: int, text_width: int) -> nn.Module:
    """UNet2DConditionModel on latents (N, latent_channels, side, side), conditioned on text (N, tokens, text_width).

    ``settings`` has ``channels`` of its levels, ``layers`` per level, ``attention`` (for each level, whether it
    attends to the text) and ``head`` (width of an attention head).
    """
    from diffusers import UNet2DConditionModel

    kinds = ["CrossAttn" if looks else "" for looks in settings["attention"]]
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        block_out_channels=tuple(settings["channels"]),
        layers_per_block=settings["layers"],
        cross_attention_dim=text_width,
        attention_head_dim=tuple(width // settings["head"] for width in settings["channels"]),
        use_linear_projection=True,
    )
