"""The aligned 224x224 face of FaRL's attribute network, from five landmarks.

Coordinates are (x, y) in pixels where pixel i spans [i, i + 1], as in the Facer toolkit. Add 0.5 to landmarks
whose pixel centres are integers. The arithmetic is float32, as in the original, because on sharp edges the last
bit of a coordinate changes the fourth digit of a picture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Side of the aligned face, in pixels.
SIZE = 224


def _targets() -> Tensor:
    """A 256-pixel template moved down by 30, centred in 500 pixels, then scaled to 224.

    The face fills about half of the picture, so that hair, ears and neck are in it.
    """
    template = np.array(
        [[85.82991, 85.7792], [169.0532, 84.3381], [127.574, 137.0006], [90.6964, 174.7014], [167.3069, 173.3733]]
    )
    return torch.from_numpy(((template + (0, 30) - 128 + 250) * SIZE / 500).astype(np.float32))


#: Where left eye, right eye, nose, left and right mouth corner (sides as in the image) land: float32 (5, 2).
TARGET_POINTS = _targets()


def similarity_matrix(points: np.ndarray) -> Tensor:
    """Homogeneous float32 (3, 3) that brings ``points`` (5, 2) closest to :data:`TARGET_POINTS`.

    Least squares over rotations with uniform scale and a shift. With centred points p and targets q the linear
    part is [[a, b], [-b, a]], a = sum q.p / sum |p|^2, b = sum (q_x p_y - q_y p_x) / sum |p|^2. ValueError for points
    that coincide, are not finite, or determine no rotation.
    """
    source = torch.from_numpy(np.array(points, np.float32))
    if source.shape != TARGET_POINTS.shape:
        raise ValueError(f"a face needs five landmarks (x, y), got an array of shape {tuple(source.shape)}")
    centre, goal = source.mean(0), TARGET_POINTS.mean(0)
    p, q = source - centre, TARGET_POINTS - goal
    spread = p.square().sum()
    if not torch.isfinite(spread) or spread < 1e-6:
        raise ValueError("the five landmarks coincide or are not finite")
    a = (q * p).sum() / spread
    b = (q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0]).sum() / spread
    if not a * a + b * b > 1e-12:
        raise ValueError("the five landmarks determine no rotation")
    x = goal[0] - a * centre[0] - b * centre[1]
    y = goal[1] + b * centre[0] - a * centre[1]
    return torch.stack([a, b, x, -b, a, y, *torch.tensor([0.0, 0.0, 1.0])]).view(3, 3)


def sampling_grid(matrix: Tensor, height: int, width: int) -> Tensor:
    """The places of the aligned face's pixel centres in a source of that size, float32 (224, 224, 2).

    (x, y) in [-1, 1] from edge to edge of the source.
    """
    centres = torch.arange(SIZE) + 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    homogeneous = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    source = homogeneous @ torch.linalg.inv(matrix).T
    return source[..., :2] / torch.tensor([width, height]) * 2 - 1


def sample(image: np.ndarray, grid: Tensor) -> Tensor:
    """Float32 (3, h, w) in [0, 1]: the RGB uint8 (H, W, 3) ``image`` at the places of ``grid`` (h, w, 2).

    It is bilinear between the centres of four pixels, and black outside. Nothing is smoothed first, so a much
    reduced photograph aliases, as in the original. Only the needed pixels are read.
    """
    height, width = image.shape[:2]
    place = ((grid + 1) * torch.tensor([width, height]) - 1) / 2
    # Places beyond a margin are all black; the bound prevents overflows in the casts.
    place = place.clamp(torch.tensor([-2.0, -2.0]), torch.tensor([width + 1.0, height + 1.0])).numpy()
    corner = np.floor(place)
    share = place - corner
    column, row = corner[..., 0].astype(np.intp), corner[..., 1].astype(np.intp)
    result = np.zeros((*place.shape[:2], 3), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            y, x = row + down, column + right
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            weight = np.abs(1 - right - share[..., 0]) * np.abs(1 - down - share[..., 1]) * inside
            result += weight[..., None] * image[np.where(inside, y, 0), np.where(inside, x, 0)]
    return torch.from_numpy(np.ascontiguousarray(result.transpose(2, 0, 1))) / 255


def align(image: np.ndarray, points: np.ndarray) -> Tensor:
    """The aligned face, float32 (3, 224, 224) in [0, 1], of an RGB uint8 (H, W, 3) image.

    ValueError as :func:`similarity_matrix`.
    """
    height, width = image.shape[:2]
    return sample(image, sampling_grid(similarity_matrix(points), height, width))
