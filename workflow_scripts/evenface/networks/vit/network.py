"""ViT-S: torchvision's vision transformer (Dosovitskiy et al., ICLR 2021) in the size of DeiT-S (Touvron et al., ICML 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.models import vision_transformer

if TYPE_CHECKING:
    from evenface.networks.vit import ViTSettings


class ViT(vision_transformer.VisionTransformer):
    """torchvision's vision transformer, whose embeddings can be had.

    Input: float (N, 3, 224, 224), R, G, B, normalised as for ImageNet. Output: float (N, num_classes).
    """

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (N, 384) of the class token."""
        x = self._process_input(x)
        return self.encoder(torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1))[:, 0]

    def classify(self, embeddings: Tensor) -> Tensor:
        """Logits (N, num_classes) of embeddings."""
        return self.heads(embeddings)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))


def create(outputs: int, settings: ViTSettings) -> ViT:
    """ViT-S with ``outputs`` logits: 12 layers, 6 heads, 384 features."""
    return ViT(
        image_size=224, patch_size=settings.patch, num_layers=12, num_heads=6, hidden_dim=384, mlp_dim=1536,
        num_classes=outputs,
    )  # fmt: skip
