"""RetinaFace with a MobileNet of width 0.25: faces and their five landmarks in one pass.

Deng et al., CVPR 2020 (arXiv:1905.00641); the small PyTorch variant that the Facer toolkit runs as
``retinaface/mobilenet``. Tensor names are those of its checkpoint without the prefix ``module.``.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

#: Subtracted from R, G and B. They are ImageNet's means of B, G and R: the published detector runs with this order of
#: channels, and its weights need the same.
MEAN = (104.0, 117.0, 123.0)

#: Cell sides in pixels of the three maps, and the two anchor sides of each.
STRIDES = (8, 16, 32)
ANCHOR_SIDES = ((16, 32), (64, 128), (256, 512))

#: Largest difference of a regression in bfloat16 from float32, as a share of the deviation over all anchors. On
#: the reference vectors it is 0.06. This can move a landmark by a pixel, so detection runs in float32.
BFLOAT16_TOLERANCE = 0.15

_CENTRE_VARIANCE = 0.1
_SIZE_VARIANCE = 0.2
_SLOPE = 0.1
_CHANNELS = 64


def centre(images: Tensor) -> Tensor:
    """The network's input, float32 (N, 3, H, W) with channels last in memory, from RGB uint8 (N, H, W, 3)."""
    return images.permute(0, 3, 1, 2).float().sub_(torch.tensor(MEAN, device=images.device)[:, None, None])


def preprocess(image: np.ndarray) -> Tensor:
    """Float32 (3, H, W) of an RGB uint8 (H, W, 3) image at its own size."""
    return centre(torch.from_numpy(np.ascontiguousarray(image))[None])[0]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def _activated(*args: int) -> nn.Sequential:
    return nn.Sequential(*_conv(*args), nn.LeakyReLU(_SLOPE, inplace=True))


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    depthwise = [*_conv(inputs, inputs, 3, stride, inputs), nn.LeakyReLU(_SLOPE, inplace=True)]
    return nn.Sequential(*depthwise, *_conv(inputs, outputs, 1), nn.LeakyReLU(_SLOPE, inplace=True))


class _Body(nn.Module):
    """MobileNet of width 0.25: maps of 64, 128 and 256 channels at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            _activated(3, 8, 3, 2), _separable(8, 16, 1), _separable(16, 32, 2), _separable(32, 32, 1),
            _separable(32, 64, 2), _separable(64, 64, 1),
        )  # fmt: skip
        self.stage2 = nn.Sequential(_separable(64, 128, 2), *(_separable(128, 128, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(_separable(128, 256, 2), _separable(256, 256, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.stage1(x)
        middle = self.stage2(fine)
        return fine, middle, self.stage3(middle)


class _Pyramid(nn.Module):
    """Feature pyramid: every map to 64 channels, coarser ones added to finer ones."""

    def __init__(self) -> None:
        super().__init__()
        for number, inputs in enumerate((64, 128, 256), start=1):
            self.add_module(f"output{number}", _activated(inputs, _CHANNELS, 1))
        self.merge1 = _activated(_CHANNELS, _CHANNELS, 3)
        self.merge2 = _activated(_CHANNELS, _CHANNELS, 3)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = (getattr(self, f"output{i}")(m) for i, m in enumerate(maps, start=1))
        middle = self.merge2(middle + functional.interpolate(coarse, middle.shape[-2:], mode="nearest"))
        fine = self.merge1(fine + functional.interpolate(middle, fine.shape[-2:], mode="nearest"))
        return fine, middle, coarse


class _Context(nn.Module):
    """Receptive fields of 3, 5 and 7 pixels side by side, made of 3x3 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter = _CHANNELS // 2, _CHANNELS // 4
        # The published names, mixed capitals included.
        self.conv3X3 = nn.Sequential(*_conv(_CHANNELS, half, 3))
        self.conv5X5_1 = _activated(_CHANNELS, quarter, 3)
        self.conv5X5_2 = nn.Sequential(*_conv(quarter, quarter, 3))
        self.conv7X7_2 = _activated(quarter, quarter, 3)
        self.conv7x7_3 = nn.Sequential(*_conv(quarter, quarter, 3))

    def forward(self, x: Tensor) -> Tensor:
        shared = self.conv5X5_1(x)
        branches = (self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared)))
        return functional.relu(torch.cat(branches, dim=1))


class _Head(nn.Module):
    """``values`` numbers for each of the two anchors of a cell: float (N, 2 * cells, values), row, column, anchor."""

    def __init__(self, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv1x1 = nn.Conv2d(_CHANNELS, 2 * values, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1x1(x).permute(0, 2, 3, 1).reshape(len(x), -1, self.values)


class RetinaFace(nn.Module):
    """Raw regressions of every anchor.

    Input: float (N, 3, H, W), R, G, B in 0..255 minus :data:`MEAN`, any size. Output, for the A anchors of
    :func:`anchors` in their order: ``boxes`` float (N, A, 4) and ``landmarks`` float (N, A, 10), to be decoded by
    :func:`decode`, and ``logits`` float (N, A, 2), background and face.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = _Body()
        self.fpn = _Pyramid()
        for number in range(1, 4):
            self.add_module(f"ssh{number}", _Context())
        self.ClassHead = nn.ModuleList(_Head(2) for _ in STRIDES)
        self.BboxHead = nn.ModuleList(_Head(4) for _ in STRIDES)
        self.LandmarkHead = nn.ModuleList(_Head(10) for _ in STRIDES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.fpn(self.body(images))
        maps = [getattr(self, f"ssh{i}")(m) for i, m in enumerate(maps, start=1)]
        boxes, logits, landmarks = (
            torch.cat([head(m) for head, m in zip(heads, maps, strict=True)], dim=1)
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        return boxes, logits, landmarks


def anchors(height: int, width: int) -> Tensor:
    """Anchors of an image, float32 (A, 4): centre x, y, width and height as shares of the image.

    Order: fine to coarse map, row, column, the smaller anchor first.
    """
    parts = []
    for stride, sides in zip(STRIDES, ANCHOR_SIDES, strict=True):
        y = (np.arange(ceil(height / stride)) + 0.5) * stride / height
        x = (np.arange(ceil(width / stride)) + 0.5) * stride / width
        grid = np.empty((len(y), len(x), len(sides), 4))
        grid[..., 0] = x[None, :, None]
        grid[..., 1] = y[:, None, None]
        grid[..., 2] = np.array(sides) / width
        grid[..., 3] = np.array(sides) / height
        parts.append(grid.reshape(-1, 4))
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))


class Faces(NamedTuple):
    """Faces of one image, best score first, in pixels where pixel i spans [i, i + 1].

    ``boxes`` float32 (n, 4): left, top, right, bottom. ``points`` float32 (n, 5, 2), (x, y): left eye, right eye,
    nose, left and right mouth corner, sides as in the image. ``scores`` float32 (n,) in [0, 1]. ``failure`` is
    ``not_finite`` if the network gave no numbers; there are then no faces.
    """

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    failure: str = ""


def decode(boxes: Tensor, landmarks: Tensor, prior: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Corner boxes (..., A, 4) and points (..., A, 5, 2) in pixels from regressions relative to the anchors ``prior``."""
    centre, size = prior[:, :2], prior[:, 2:]
    middle = centre + _CENTRE_VARIANCE * boxes[..., :2] * size
    extent = size * torch.exp(_SIZE_VARIANCE * boxes[..., 2:])
    top_left = middle - extent / 2
    corners = torch.cat((top_left, top_left + extent), dim=-1) * prior.new_tensor((width, height, width, height))
    offsets = landmarks.unflatten(-1, (5, 2))
    points = (centre[:, None] + _CENTRE_VARIANCE * offsets * size[:, None]) * prior.new_tensor((width, height))
    return corners, points


def suppress(boxes: np.ndarray, overlap: float, limit: int) -> np.ndarray:
    """Positions of at most ``limit`` boxes (n, 4), best first. None overlaps a better one by more than ``overlap``.

    Sides count as right - left + 1 pixels, as in detectors whose boxes include their last pixel.
    """
    left, top, right, bottom = boxes.T
    area = (right - left + 1) * (bottom - top + 1)
    kept: list[int] = []
    left_over = np.arange(len(boxes))
    while len(left_over) and len(kept) < limit:
        best, others = left_over[0], left_over[1:]
        kept.append(int(best))
        wide = np.minimum(right[best], right[others]) - np.maximum(left[best], left[others]) + 1
        high = np.minimum(bottom[best], bottom[others]) - np.maximum(top[best], top[others]) + 1
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        left_over = others[shared / (area[best] + area[others] - shared) <= overlap]
    return np.array(kept, np.int64)


def select(
    boxes: Tensor,
    scores: Tensor,
    landmarks: Tensor,
    height: int,
    width: int,
    *,
    min_score: float = 0.8,
    overlap: float = 0.4,
    candidates: int = 5000,
    limit: int = 750,
) -> Faces:
    """Faces of one image from its regressions (A, 4), face probabilities (A,) and landmark regressions (A, 10).

    Only scores strictly above ``min_score`` count. The best ``candidates`` of them are suppressed at ``overlap``, and
    at most ``limit`` are returned. An anchor whose decoded numbers are not finite is not a face.
    """
    prior = anchors(height, width).to(boxes.device)
    chosen = torch.nonzero(scores > min_score)[:, 0]
    corners, points = decode(boxes[chosen].float(), landmarks[chosen].float(), prior[chosen], width, height)
    kept_scores = scores[chosen].float().cpu().numpy()
    corners, points = corners.cpu().numpy(), points.cpu().numpy()
    finite = np.isfinite(corners).all(1) & np.isfinite(points).all((1, 2))
    order = np.flatnonzero(finite)
    order = order[np.argsort(-kept_scores[order], kind="stable")][:candidates]
    order = order[suppress(corners[order], overlap, limit)]
    return Faces(corners[order], points[order], kept_scores[order])


PUBLISHED = {"retinaface-mobilenet": RetinaFace}
PREPROCESS = {"retinaface-mobilenet": preprocess}
