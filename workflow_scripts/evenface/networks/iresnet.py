"""Improved residual networks for face recognition, as MagFace publishes them.

Duta et al., arXiv:2004.04989 (2020); Meng et al., MagFace, CVPR 2021. Every block normalises its input
first; the sum with its shortcut is not activated. Layout, tensor names and initialisation follow the
public MagFace model, so its published state dictionaries load by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.fx
from torch import Tensor, nn

#: Blocks of the four stages by the depth in a network's name.
BLOCKS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
}

#: Rows and columns of the input.
INPUT_SIZE: tuple[int, int] = (112, 112)

#: Largest difference of an embedding computed in bfloat16, over its largest entry; 0.018 was measured
#: on the reference inputs of iResNet-100, less on shallower ones.
BFLOAT16_TOLERANCE = 3e-2

# The published networks were trained with this and a momentum of 0.9, not with PyTorch's 1e-5 and 0.1.
_norm2d = partial(nn.BatchNorm2d, eps=2e-5)
_norm1d = partial(nn.BatchNorm1d, eps=2e-5)


class _Block(nn.Module):
    """Batch norm, 3x3 convolution, batch norm, PReLU, strided 3x3 convolution, batch norm, plus the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1 = _norm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = _norm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = _norm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(x)) + shortcut


class IResNet(nn.Module):
    """Embeds a face; the length of the embedding is MagFace's quality.

    Input: float (N, 3, 112, 112) in [0, 1], channels B, G, R, aligned to the five-point template
    (``faces.alignment.align_112``). Output: float (N, ``embedding``), not normalised: divide by the
    Euclidean norm for cosines.

    ``blocks`` and ``widths`` give the residual blocks and channels of the four stages, each of which
    halves the sides in its first block. The stem has ``stem`` channels (those of the first stage by
    default) and ``stem_stride`` (1 or 2). The defaults are the published proportions. ``momentum`` is that
    of the batch norms. With 0.9, as published, the running statistics are those of the last few
    batches, so batches must be large.
    """

    def __init__(
        self,
        blocks: Sequence[int] = BLOCKS[100],
        widths: Sequence[int] = (64, 128, 256, 512),
        embedding: int = 512,
        stem: int | None = None,
        stem_stride: int = 1,
        dropout: float = 0.4,
        momentum: float = 0.9,
    ):
        super().__init__()
        if len(blocks) != 4 or len(widths) != 4 or min(*blocks, *widths, embedding) < 1:
            raise ValueError("blocks and widths need four positive numbers each, and embedding one")
        if stem_stride not in (1, 2):
            raise ValueError(f"stem_stride is {stem_stride}; it must be 1 or 2")
        channels = stem or widths[0]
        self.conv1 = nn.Conv2d(3, channels, 3, stem_stride, padding=1, bias=False)
        self.bn1 = _norm2d(channels)
        self.prelu = nn.PReLU(channels)
        rows, columns = (-(-side // stem_stride) for side in INPUT_SIZE)
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            stage = [_Block(channels if i == 0 else width, width, 2 if i == 0 else 1) for i in range(count)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            channels, rows, columns = width, -(-rows // 2), -(-columns // 2)
        self.bn2 = _norm2d(channels)
        self.dropout = nn.Dropout2d(dropout)
        self.fc = nn.Linear(channels * rows * columns, embedding)
        self.features = _norm1d(embedding)
        for module in self.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.momentum = momentum
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(_of_input_size(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.dropout(self.bn2(x)).flatten(1)))


def _of_input_size(x: Tensor) -> Tensor:
    if tuple(x.shape[-2:]) != INPUT_SIZE:
        raise ValueError(f"input of {x.shape[-2]} x {x.shape[-1]} pixels: an aligned crop has 112 x 112")
    return x


torch.fx.wrap("_of_input_size")


def to_input(images: Tensor) -> Tensor:
    """RGB uint8 (N, 3, H, W) as float32 in [0, 1], channels B, G, R, as the published networks were trained."""
    return images.flip(1).to(torch.float32).div_(255)


def preprocess(image: np.ndarray) -> Tensor:
    """Input float32 (3, H, W) in [0, 1], channels B, G, R, of one aligned RGB uint8 (H, W, 3) image."""
    return to_input(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None])[0]


PUBLISHED: dict[str, Callable[[], nn.Module]] = {
    f"magface-iresnet{depth}": partial(IResNet, blocks) for depth, blocks in BLOCKS.items()
}
PREPROCESS: dict[str, Callable[[np.ndarray], Tensor]] = dict.fromkeys(PUBLISHED, preprocess)
