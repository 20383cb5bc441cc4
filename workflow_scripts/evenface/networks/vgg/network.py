"""VGG-16, Simonyan and Zisserman, ICLR 2015: torchvision's, with its tensor names and initialisation."""

from __future__ import annotations

from torch import Tensor
from torchvision.models import vgg

from evenface.parts import Settings


class VGG(vgg.VGG):
    """torchvision's VGG, whose embeddings can be had.

    Input: float (N, 3, H, W), R, G, B, normalised as for ImageNet. Output: float (N, num_classes).
    """

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (N, 4096) before the last dropout."""
        return self.classifier[:-2](self.avgpool(self.features(x)).flatten(1))

    def classify(self, embeddings: Tensor) -> Tensor:
        """Logits (N, num_classes) of embeddings."""
        return self.classifier[-2:](embeddings)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))


def create(outputs: int, settings: Settings) -> VGG:
    """VGG-16 (configuration D) with ``outputs`` logits, without batch norm."""
    return VGG(vgg.make_layers(vgg.cfgs["D"]), outputs)
