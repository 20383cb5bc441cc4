"""The aligned 224x224 face FaRL's attribute network was trained on, from five landmarks.

Coordinates are (x, y) in pixels where pixel i spans [i, i + 1], as in the Facer toolkit: landmarks whose
pixel centres are integers need 0.5 added first.
"""

from __future__ import annotations

import numpy as np

from evenface.errors import UserError

#: Side of the aligned face, in pixels.
SIZE = 224


def _targets() -> np.ndarray:
    """Where the landmarks land: a 256-pixel template moved down by 30, centred in 500 pixels, then scaled.

    The face fills about half of the picture, so that hair, ears and neck are in it.
    """
    template = np.array(
        [[85.82991, 85.7792], [169.0532, 84.3381], [127.574, 137.0006], [90.6964, 174.7014], [167.3069, 173.3733]]
    )
    return (template + (0, 30) - 128 + 250) * (SIZE / 500)


#: Left eye, right eye, nose, left and right mouth corner (sides as in the image) in the aligned face, float64 (5, 2).
TARGET_POINTS = _targets()


def similarity_matrix(points: np.ndarray) -> np.ndarray:
    """Homogeneous float64 (3, 3) that brings ``points`` (5, 2) closest to :data:`TARGET_POINTS`.

    Least squares over rotations with uniform scale and a shift: for centred points p and targets q the linear part
    is [[a, b], [-b, a]] with a = sum q.p / sum |p|^2 and b = sum (q_x p_y - q_y p_x) / sum |p|^2. UserError for
    points that coincide, are not finite, or leave no scale (a = b = 0).
    """
    points = np.asarray(points, np.float64)
    if points.shape != TARGET_POINTS.shape:
        raise UserError(f"a face needs five landmarks (x, y), got an array of shape {points.shape}")
    centre, goal = points.mean(0), TARGET_POINTS.mean(0)
    p, q = points - centre, TARGET_POINTS - goal
    spread = (p**2).sum()
    if not np.isfinite(spread) or spread < 1e-12:
        raise UserError("the five landmarks coincide or are not finite")
    a = (q * p).sum() / spread
    b = (q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0]).sum() / spread
    if a * a + b * b < 1e-24:
        raise UserError("the five landmarks do not lie like a face")
    linear = np.array([[a, b], [-b, a]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = goal - linear @ centre
    return matrix


def source_points(matrix: np.ndarray) -> np.ndarray:
    """Where in the source the pixel centres of the aligned face lie: float64 (224, 224, 2), (x, y)."""
    inverse = np.linalg.inv(matrix)
    centres = np.arange(SIZE) + 0.5
    x, y = np.meshgrid(centres, centres)
    return np.stack([x, y], axis=-1) @ inverse[:2, :2].T + inverse[:2, 2]


def align(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The aligned face, float32 (224, 224, 3) in [0, 1], of an RGB uint8 (H, W, 3) image.

    Bilinear between the centres of four pixels, black outside the image. Nothing is smoothed first, as in
    the original: a large photograph aliases. UserError as :func:`similarity_matrix`.
    """
    height, width = image.shape[:2]
    place = source_points(similarity_matrix(points)) - 0.5
    corner = np.floor(place)
    share = (place - corner).astype(np.float32)
    # Far outside, any position does: its four pixels are black. Clipped before the cast so that it cannot overflow.
    column = np.clip(corner[..., 0], -2, width).astype(np.intp)
    row = np.clip(corner[..., 1], -2, height).astype(np.intp)
    face = np.zeros((SIZE, SIZE, 3), np.float32)
    for down in (0, 1):
        for right in (0, 1):
            y, x = row + down, column + right
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            weight = np.abs(1 - right - share[..., 0]) * np.abs(1 - down - share[..., 1])
            weight = np.where(inside, weight, np.float32(0))
            face += weight[..., None] * image[np.where(inside, y, 0), np.where(inside, x, 0)]
    return face / 255
