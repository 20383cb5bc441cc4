"""A small residual network for the attributes and demographics of one face crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Residual(nn.Module):
    """Two 3x3 convolutions with batch norm and a projected skip; halves height and width."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.bn_skip = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.bn_skip(self.skip(x)))


class MultiTaskNet(nn.Module):
    """Residual trunk, and one linear layer whose outputs are split by head.

    ``attributes`` binary logits come first, then one softmax group for each entry of ``levels``
    (dimension name -> number of levels), in that order; ``slices`` gives their places. ``widths`` are the
    channels of the stem and of the residual stages. Input: float (N, 3, H, W) in [-1, 1], R, G, B, of
    framed faces. Features of different places are kept separate, on a grid of ``grid`` rows and columns,
    because mouth, eyes and hair have their own places. Output: float (N, attributes + sum of levels).
    """

    def __init__(
        self,
        attributes: int,
        levels: Mapping[str, int],
        widths: Sequence[int] = (24, 48, 96, 160),
        grid: Sequence[int] = (7, 6),
        features: int = 32,
        dropout: float = 0.4,
    ):
        super().__init__()
        self.slices: dict[str, slice] = {"attributes": slice(0, attributes)}
        outputs = attributes
        for name, count in levels.items():
            self.slices[name] = slice(outputs, outputs + count)
            outputs += count
        self.stem = nn.Conv2d(3, widths[0], 5, stride=2, padding=2, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.stages = nn.Sequential(*(_Residual(a, b) for a, b in pairwise(widths)))
        self.reduce = nn.Conv2d(widths[-1], features, 1, bias=False)
        self.bn_reduce = nn.BatchNorm2d(features)
        self.pool = nn.AdaptiveAvgPool2d(tuple(grid))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(features * grid[0] * grid[1] + widths[-1], outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings: the features of every place, and their mean."""
        x = self.stages(functional.relu(self.bn(self.stem(x))))
        placed = self.pool(functional.relu(self.bn_reduce(self.reduce(x)))).flatten(1)
        return torch.cat((placed, x.mean((2, 3))), dim=1)

    def classify(self, features: Tensor) -> Tensor:
        """The outputs of embeddings."""
        return self.fc(self.dropout(features))

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))
