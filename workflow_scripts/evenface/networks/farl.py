"""FaRL's CelebA attribute network: a CLIP ViT-B/16 trunk and a head that pools it in three ways.

Zheng et al., CVPR 2022 (arXiv:2112.03109); the network the Facer toolkit distributes as
``farl/celeba/224``. Tensor names are those of that checkpoint.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

#: Side of the input, in pixels.
SIZE = 224
#: Channel statistics of CLIP's training images, R, G, B in [0, 1].
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)

#: Largest difference of a logit in bfloat16 from float32, as a share of the largest logit. On the reference
#: vectors it is 0.01, and 0.01 on probabilities.
BFLOAT16_TOLERANCE = 0.03

_PATCH = 16
_WIDTH = 768
_HEADS = 12
_BLOCKS = 12
_OUTPUTS = 40


def normalise(images: Tensor) -> Tensor:
    """Float (..., 3, H, W) in [0, 1], R, G, B, to the network's input."""
    mean, deviation = (images.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (images - mean) / deviation


def preprocess(image: np.ndarray) -> Tensor:
    """Float32 (3, 224, 224) of an RGB uint8 (224, 224, 3) face that is already aligned. ValueError for another size."""
    if image.shape != (SIZE, SIZE, 3):
        raise ValueError(f"farl-celeba takes aligned faces of {SIZE} x {SIZE} pixels, got {image.shape}")
    return normalise(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255)


class _LayerNorm(nn.LayerNorm):
    """Layer norm computed in float32; the output has the type of the input."""

    def forward(self, x: Tensor) -> Tensor:
        y = functional.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)
        return y.to(x.dtype)


class _Attention(nn.Module):
    """Multi-head self-attention with one fused projection of queries, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * _WIDTH, _WIDTH))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * _WIDTH))
        self.out_proj = nn.Linear(_WIDTH, _WIDTH)
        nn.init.normal_(self.in_proj_weight, std=_WIDTH**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        count, tokens, _ = x.shape
        projected = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.view(count, tokens, 3, _HEADS, _WIDTH // _HEADS).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(mixed.transpose(1, 2).reshape(count, tokens, _WIDTH))


class _MLP(nn.Module):
    """Two linear layers around CLIP's sigmoid approximation of GELU, ``x * sigmoid(1.702 x)``."""

    def __init__(self) -> None:
        super().__init__()
        self.c_fc = nn.Linear(_WIDTH, 4 * _WIDTH)
        self.c_proj = nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        return self.c_proj(x * torch.sigmoid(1.702 * x))


class _Block(nn.Module):
    """Residual attention, then residual MLP, each after a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = _Attention()
        self.ln_1 = _LayerNorm(_WIDTH)
        self.mlp = _MLP()
        self.ln_2 = _LayerNorm(_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class _Trunk(nn.Module):
    """CLIP's vision transformer without its last norm and projection: tokens (N, 197, 768), class token first."""

    def __init__(self) -> None:
        super().__init__()
        scale = _WIDTH**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(_WIDTH))
        self.positional_embedding = nn.Parameter(scale * torch.randn((SIZE // _PATCH) ** 2 + 1, _WIDTH))
        self.conv1 = nn.Conv2d(3, _WIDTH, _PATCH, stride=_PATCH, bias=False)
        self.ln_pre = _LayerNorm(_WIDTH)
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(_Block() for _ in range(_BLOCKS))})

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(len(images), 1, _WIDTH)
        x = self.ln_pre(torch.cat((first, patches), dim=1) + self.positional_embedding.to(patches.dtype))
        for block in self.transformer["resblocks"]:
            x = block(x)
        return x


class _Head(nn.Module):
    """Mean and maximum over the patches and the class token, each normed, mixed by learned shares, then linear."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(1, 3, 1))
        self.final_fc = nn.Linear(_WIDTH, _OUTPUTS)
        for number in range(3):
            self.add_module(f"norm_{number}", _LayerNorm(_WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        patches = tokens[:, 1:]
        pooled = (patches.mean(1), patches.amax(1), tokens[:, 0])
        normed = torch.stack([getattr(self, f"norm_{i}")(vector) for i, vector in enumerate(pooled)], dim=1)
        return self.final_fc((normed * self.weights.softmax(1)).sum(1))


class FaRLAttributes(nn.Module):
    """40 CelebA attributes of an aligned face.

    Input: float (N, 3, 224, 224), R, G, B, in [0, 1] and then normalised by :data:`MEAN` and
    :data:`DEVIATION`; the face aligned as ``faces.farl_alignment`` does. Output: logits float (N, 40) in
    the order of CelebA's list; the published decision is sigmoid above 0.5.

    bfloat16 by autocast or ``.to(torch.bfloat16)`` changes logits by at most :data:`BFLOAT16_TOLERANCE`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Trunk()
        self.head = _Head()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


PUBLISHED = {"farl-celeba": FaRLAttributes}
PREPROCESS = {"farl-celeba": preprocess}
