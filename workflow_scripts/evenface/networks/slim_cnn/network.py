"""Slim-CNN, a small convolutional network for many face attributes at once.

Sharma and Foroosh, arXiv:1907.02157 (2019). Layout, tensor names and initialisation follow the
public PyTorch model, so its published state dictionary loads by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from evenface.networks.normalisation import normalise

if TYPE_CHECKING:
    from evenface.networks.slim_cnn import SlimCNNSettings


def _conv_unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, bias: bool = True) -> nn.Sequential:
    """Unpadded convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _separable_unit(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 depthwise and 1x1 convolution without biases, each followed by batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _SqueezeExpand(nn.Module):
    """Separable squeeze-expand block: ``filters`` channels squeezed, ``8 * filters`` out."""

    def __init__(self, inputs: int, filters: int):
        super().__init__()
        self.squeeze = _conv_unit(inputs, filters)
        self.expand1 = _conv_unit(filters, 4 * filters)
        self.expand3_dw = _separable_unit(filters, 4 * filters)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat((self.expand3_dw(x), self.expand1(x)), dim=1)


class _SlimModule(nn.Module):
    """Two squeeze-expand blocks, the first with a projected skip, then ``3 * filters`` channels out."""

    def __init__(self, inputs: int, filters: int):
        super().__init__()
        self.skip_projection = _conv_unit(inputs, 8 * filters, bias=False)
        self.sse1 = _SqueezeExpand(inputs, filters)
        self.sse2 = _SqueezeExpand(8 * filters, filters)
        self.expand3_dw = _separable_unit(8 * filters, 3 * filters)

    def forward(self, x: Tensor) -> Tensor:
        return self.expand3_dw(self.sse2(self.sse1(x) + self.skip_projection(x)))


class SlimCNN(nn.Module):
    """Slim-CNN with one logit per attribute.

    ``initial_conv`` is (filters, kernel side, stride) of the unpadded first convolution and
    ``filters`` the squeeze widths of the four slim modules. Input: float (N, 3, H, W) in [-1, 1],
    R, G, B, both sides at least ``minimum_side`` (131 by default). Output: float (N, num_attributes).
    Raises ValueError for inputs that are too small for the five poolings.
    """

    def __init__(
        self,
        num_attributes: int = 40,
        initial_conv: Sequence[int] = (96, 7, 2),
        filters: Sequence[int] = (16, 32, 48, 64),
    ):
        super().__init__()
        if num_attributes < 1:
            raise ValueError(f"num_attributes is {num_attributes}; at least one is needed")
        if len(initial_conv) != 3 or len(filters) != 4:
            raise ValueError("initial_conv needs three numbers (filters, kernel, stride) and filters four")
        self.num_attributes = int(num_attributes)
        self.initial_conv = tuple(int(v) for v in initial_conv)
        self.filters = tuple(int(v) for v in filters)

        width, kernel, stride = self.initial_conv
        self.conv1 = _conv_unit(3, width, kernel, stride)
        for number, count in enumerate(self.filters, start=1):
            self.add_module(f"max_pool{number}", nn.MaxPool2d(3, 2))
            self.add_module(f"slim{number}", _SlimModule(width, count))
            width = 3 * count
        self.max_pool5 = nn.MaxPool2d(3, 2)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, self.num_attributes)
        self.apply(_initialise)

    @property
    def minimum_side(self) -> int:
        """Smallest height and width that leaves one pixel after the last pooling."""
        side = 1
        for _ in range(5):
            side = 2 * side + 1
        _, kernel, stride = self.initial_conv
        return (side - 1) * stride + kernel

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (N, 192 by default), the input of the last linear layer."""
        if min(x.shape[-2:]) < self.minimum_side:
            raise ValueError(
                f"input of {x.shape[-2]} x {x.shape[-1]} pixels: Slim-CNN needs both sides to be at least "
                f"{self.minimum_side}"
            )
        if self.training:
            # The maximum commutes with ReLU (and its gradient), so pooling first leaves a quarter of the elements.
            x = self.conv1[2](self.max_pool1(self.conv1[:2](x)))
        else:
            x = self.max_pool1(self.conv1(x))
        x = self.max_pool2(self.slim1(x))
        x = self.max_pool3(self.slim2(x))
        x = self.max_pool4(self.slim3(x))
        x = self.max_pool5(self.slim4(x))
        return self.global_pool(x).flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits (N, num_attributes) of embeddings."""
        return self.fc(features)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))


def create(outputs: int, settings: SlimCNNSettings) -> SlimCNN:
    """The network with the configuration's settings."""
    return SlimCNN(outputs, filters=settings.filters)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Linear):
        nn.init.constant_(module.bias, 0.01)


def preprocess(image: np.ndarray) -> Tensor:
    """Input float32 (3, H, W) in [-1, 1] of one aligned RGB uint8 (H, W, 3) image; nothing is resized."""
    return normalise(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None])[0]


PUBLISHED: dict[str, Callable[[], nn.Module]] = {"slim-cnn": SlimCNN}
PREPROCESS: dict[str, Callable[[np.ndarray], Tensor]] = {"slim-cnn": preprocess}
