"""ResNets, He et al., CVPR 2016: torchvision's, with its tensor names and initialisation."""

from __future__ import annotations

from torch import Tensor
from torchvision.models import resnet

from evenface.parts import Settings


class ResNet(resnet.ResNet):
    """torchvision's ResNet, whose embeddings can be had.

    Input: float (N, 3, H, W), R, G, B, normalised as for ImageNet. Output: float (N, num_classes).
    """

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (N, 512), or (N, 2048) of ResNet-50: the means over all places."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.avgpool(x).flatten(1)

    def classify(self, embeddings: Tensor) -> Tensor:
        """Logits (N, num_classes) of embeddings."""
        return self.fc(embeddings)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))


def resnet18(outputs: int, settings: Settings) -> ResNet:
    """ResNet-18 with ``outputs`` logits."""
    return ResNet(resnet.BasicBlock, [2, 2, 2, 2], outputs)


def resnet34(outputs: int, settings: Settings) -> ResNet:
    """ResNet-34 with ``outputs`` logits."""
    return ResNet(resnet.BasicBlock, [3, 4, 6, 3], outputs)


def resnet50(outputs: int, settings: Settings) -> ResNet:
    """ResNet-50 with ``outputs`` logits."""
    return ResNet(resnet.Bottleneck, [3, 4, 6, 3], outputs)
