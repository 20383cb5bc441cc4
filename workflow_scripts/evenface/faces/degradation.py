"""Degradations that make an aligned crop hard to recognise: one factor at a time, each with its own scale."""

from __future__ import annotations

import cv2
import numpy as np

from evenface.faces.alignment import TEMPLATE_112, similarity


def blur(crop: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of ``sigma`` pixels of the crop; 0 changes nothing."""
    if sigma <= 0:
        return crop
    # The accurate one works in integers and gives every processor the same bytes.
    return cv2.GaussianBlur(crop, (0, 0), sigma, hint=cv2.ALGO_HINT_ACCURATE)


def reduce(crop: np.ndarray, side: int) -> np.ndarray:
    """The crop as if from an image of ``side`` by ``side`` pixels: averaged down, then enlarged again."""
    rows, columns = crop.shape[:2]
    if side >= max(rows, columns):
        return crop
    small = cv2.resize(crop.astype(np.float64), (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize((small + 0.5).astype(np.uint8), (columns, rows), interpolation=cv2.INTER_LINEAR_EXACT)


def occlude(crop: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """A plain dull rectangle over ``share`` of the crop; ``random`` draws its place, proportions and colour."""
    rows, columns = crop.shape[:2]
    stretch = random.uniform(0.7, 1.4)
    height = min(rows, round(np.sqrt(share * rows * columns) * stretch))
    width = min(columns, round(share * rows * columns / max(height, 1)))
    top, left = random.integers(0, rows - height + 1), random.integers(0, columns - width + 1)
    covered = crop.copy()
    # As things in front of a camera are: of any lightness and little colour.
    colour = np.clip(random.uniform(20, 200) * (1 + 0.25 * random.standard_normal(3)), 0, 255)
    covered[top : top + height, left : left + width] = colour.astype(np.uint8)
    return covered


def foreshorten(crop: np.ndarray, yaw: float) -> np.ndarray:
    """A flat face turned away by ``yaw`` degrees and aligned again by its five points: narrower, and enlarged."""
    centre = TEMPLATE_112.mean(0)
    narrow = (TEMPLATE_112 - centre) * (np.cos(np.radians(yaw)), 1) + centre
    back = similarity(narrow, TEMPLATE_112)
    squeeze = np.array([[np.cos(np.radians(yaw)), 0], [0, 1]])
    matrix = np.column_stack([back[:, :2] @ squeeze, back[:, :2] @ (centre - squeeze @ centre) + back[:, 2]])
    return cv2.warpAffine(crop, matrix, crop.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
