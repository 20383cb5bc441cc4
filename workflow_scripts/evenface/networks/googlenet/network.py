"""GoogLeNet, Szegedy et al., CVPR 2015: torchvision's, with its tensor names and initialisation."""

from __future__ import annotations

from torch import Tensor
from torchvision import models

from evenface.parts import Settings


class GoogLeNet(models.GoogLeNet):
    """torchvision's GoogLeNet without auxiliary classifiers, whose embeddings can be had.

    Input: float (N, 3, H, W) in [-1, 1], R, G, B. Output: float (N, num_classes).
    """

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (N, 1024): the means over all places, before dropout."""
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        for block in (self.inception4a, self.inception4b, self.inception4c, self.inception4d, self.inception4e):
            x = block(x)
        x = self.inception5b(self.inception5a(self.maxpool4(x)))
        return self.avgpool(x).flatten(1)

    def classify(self, embeddings: Tensor) -> Tensor:
        """Logits (N, num_classes) of embeddings."""
        return self.fc(self.dropout(embeddings))

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))


def create(outputs: int, settings: Settings) -> GoogLeNet:
    """GoogLeNet with ``outputs`` logits."""
    return GoogLeNet(outputs, aux_logits=False, transform_input=False, init_weights=True)
