"""How DeepFace cuts a face out of a picture: it turns the face so that the eyes are level, and keeps the box's size.

serengil/deepface, ``deepface/modules/detection.py``. Unlike the other alignments here, it does not scale or move the
face to a template.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import atan2, degrees

import cv2
import numpy as np


def cut_face(image: np.ndarray, box: Sequence[float], eyes: np.ndarray | None = None) -> np.ndarray:
    """The face in ``box`` (left, top, right, bottom), RGB uint8 of the box's size, turned so that the eyes are level.

    ``image`` is RGB uint8 (H, W, 3). ``eyes`` (2, 2) are the eye at the image's left and the eye at its right, x then
    y in pixels. Without eyes, or if a number is not finite, the face is not turned. Places outside the picture are
    black. A box without a whole pixel gives an empty array.
    """
    x, y = int(box[0]), int(box[1])
    width, height = int(box[2] - box[0]), int(box[3] - box[1])
    if width < 1 or height < 1:
        return image[:0, :0]
    around = _black_around(image, x - width // 2, y - height // 2, 2 * width, 2 * height)
    centre = np.array([width // 2 + width / 2, height // 2 + height / 2])
    angle = 0.0
    if eyes is not None and np.isfinite(eyes).all():
        # The eye at the image's left is the person's right one.
        (right_x, right_y), (left_x, left_y) = np.asarray(eyes, float)
        angle = degrees(atan2(left_y - right_y, left_x - right_x))
    if angle:
        turn = cv2.getRotationMatrix2D((width, height), angle, 1.0)
        around = cv2.warpAffine(around, turn, (2 * width, 2 * height), flags=cv2.INTER_CUBIC, borderValue=(0, 0, 0))
        centre = turn[:, :2] @ centre + turn[:, 2]
    left, top = (int(v) for v in centre - (width / 2, height / 2))
    right, bottom = (int(v) for v in centre + (width / 2, height / 2))
    return around[max(top, 0) : min(bottom, 2 * height), max(left, 0) : min(right, 2 * width)]


def _black_around(image: np.ndarray, x: int, y: int, width: int, height: int) -> np.ndarray:
    """The part of ``image`` from (x, y) on, ``width`` by ``height``; black outside the picture.

    DeepFace first puts a border of half the picture's sides around it; the content of a box is the same.
    """
    part = np.zeros((height, width, 3), image.dtype)
    rows = slice(max(y, 0), max(min(y + height, image.shape[0]), 0))
    columns = slice(max(x, 0), max(min(x + width, image.shape[1]), 0))
    inside = image[rows, columns]
    top, left = rows.start - y, columns.start - x
    part[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return part
