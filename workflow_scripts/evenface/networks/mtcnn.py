"""The three small networks of MTCNN: proposals, refinement, output.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE SPL 23(10), 2016. Layout and tensor names are those of the state dictionaries in the
``facenet-pytorch`` 2.6.0 wheel (MIT). The cascade that uses them is ``faces.mtcnn_detection``.
In bfloat16 (autocast) outputs stay within a tenth of the largest. This is too coarse for boxes, so MTCNN uses float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evenface.networks.finite import softmax

_STRIP = 100_000


def max_pool(x: Tensor, kernel: int) -> Tensor:
    """Max pooling with stride 2 and sizes rounded up; the border may cut off the last window.

    It gives the same numbers as ``nn.MaxPool2d(kernel, 2, ceil_mode=True)``. That module also searches for positions,
    which takes half of the whole detection on a CPU. The maximum over rows and then columns takes a tenth of that.
    """
    for dim in (2, 3):
        size = x.shape[dim]
        count = (size - kernel + 1) // 2 + 1
        first, *others = (_every_second(x, dim, start, count) for start in range(kernel))
        for other in others:
            whole = other.shape[dim]
            if whole == count:
                first = torch.maximum(first, other)
            else:
                head, tail = first.split((whole, count - whole), dim)
                first = torch.cat((torch.maximum(head, other), tail), dim)
        x = first
    return x


def _every_second(x: Tensor, dim: int, start: int, count: int) -> Tensor:
    """At most ``count`` entries of an axis, from ``start`` in steps of two."""
    place = [slice(None)] * x.ndim
    place[dim] = slice(start, start + 2 * count - 1, 2)
    return x[tuple(place)]


def convolved(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """The unpadded convolution of maps (N, C, H, W), large ones in strips of rows.

    The numbers are the same. For three channels of a megapixel, oneDNN takes ten times as long per pixel as for strips.
    """
    margin = conv.kernel_size[0] - 1
    rows = max(1, _STRIP // x.shape[3])
    if x.shape[2] <= rows + margin:
        return conv(x)
    starts = range(0, x.shape[2] - margin, rows)
    return torch.cat([conv(x[:, :, start : start + rows + margin]) for start in starts], dim=2)


class _Trunk(nn.Module):
    """Unpadded convolutions ``conv1..n`` with PReLU and the poolings between them."""

    #: (channels in, channels out, kernel side, pooling kernel or 0) of each convolution.
    LAYERS: tuple[tuple[int, int, int, int], ...]

    def __init__(self):
        super().__init__()
        for number, (inputs, outputs, kernel, _) in enumerate(self.LAYERS, start=1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, kernel))
            self.add_module(f"prelu{number}", nn.PReLU(outputs))

    def trunk(self, x: Tensor) -> Tensor:
        """Features after the last convolution."""
        x = x.contiguous()
        for number, (*_, pool) in enumerate(self.LAYERS, start=1):
            x = self.get_submodule(f"prelu{number}")(convolved(x, self.get_submodule(f"conv{number}")))
            if pool:
                x = max_pool(x, pool)
        return x

    @staticmethod
    def flattened(x: Tensor) -> Tensor:
        """(N, width * height * channels): the order the weights were converted in."""
        return x.permute(0, 3, 2, 1).flatten(1)


class PNet(_Trunk):
    """Proposals: a fully convolutional look at every 12 x 12 window, stride 2.

    Input: float (N, 3, H, W), R, G, B, (v - 127.5) / 128, both sides at least 12. Output: box regression
    (N, 4, h, w) and probability of a face (N, h, w), h = ceil((H - 2) / 2) - 4.
    """

    LAYERS = ((3, 10, 3, 2), (10, 16, 3, 0), (16, 32, 3, 0))

    def __init__(self):
        super().__init__()
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.trunk(x)
        return self.conv4_2(x), softmax(self.conv4_1(x), 1)[:, 1]


class RNet(_Trunk):
    """Refinement of proposals.

    Input: float (N, 3, 24, 24), R, G, B, (v - 127.5) / 128. Output: box regression (N, 4) and probability
    of a face (N,).
    """

    LAYERS = ((3, 28, 3, 3), (28, 48, 3, 3), (48, 64, 2, 0))

    def __init__(self):
        super().__init__()
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.prelu4(self.dense4(self.flattened(self.trunk(x))))
        return self.dense5_2(x), softmax(self.dense5_1(x), 1)[:, 1]


class ONet(_Trunk):
    """Final boxes and five landmarks.

    Input: float (N, 3, 48, 48), R, G, B, (v - 127.5) / 128. Output: box regression (N, 4), landmarks (N, 10)
    as five x and then five y in units of the box, probability of a face (N,).
    """

    LAYERS = ((3, 32, 3, 3), (32, 64, 3, 3), (64, 64, 3, 2), (64, 128, 2, 0))

    def __init__(self):
        super().__init__()
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.prelu5(self.dense5(self.flattened(self.trunk(x))))
        return self.dense6_2(x), self.dense6_3(x), softmax(self.dense6_1(x), 1)[:, 1]


def normalise(pixels: Tensor) -> Tensor:
    """Grey levels 0 to 255 to about [-1, 1]."""
    return (pixels - 127.5) * 0.0078125


def area_resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """(N, 3, height, width): each output pixel is the mean over the input pixels it covers in whole or in part."""
    return functional.interpolate(pixels, (height, width), mode="area")


def preprocess(image: np.ndarray, side: int | None = None) -> Tensor:
    """Input of one RGB uint8 (H, W, 3) image, resized to ``side`` pixels where that is given."""
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(torch.float32)[None]
    if side is not None:
        pixels = area_resized(pixels, side, side)
    return normalise(pixels)[0]


PUBLISHED: dict[str, Callable[[], nn.Module]] = {"mtcnn-pnet": PNet, "mtcnn-rnet": RNet, "mtcnn-onet": ONet}
PREPROCESS: dict[str, Callable[[np.ndarray], Tensor]] = {
    "mtcnn-pnet": preprocess,
    "mtcnn-rnet": partial(preprocess, side=24),
    "mtcnn-onet": partial(preprocess, side=48),
}
