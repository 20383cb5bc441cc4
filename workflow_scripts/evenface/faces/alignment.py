"""Framing of a detected face: the 112x112 recognition crop, aligned CelebA's 178x218, and 512x512.

Points are (x, y) in pixels, pixel centres at integers. "Left" and "right" are the image's.
"""

from __future__ import annotations

import cv2
import numpy as np

#: Five-point template of the 112x112 crop that MagFace and ArcFace networks expect: left eye, right
#: eye, nose tip, left and right mouth corner (InsightFace, ``face_align.py``).
TEMPLATE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

#: Width and height of aligned CelebA.
CELEBA_SIZE = (178, 218)
#: Midpoint of the eyes in aligned CelebA (mean of its ``list_landmarks_align_celeba.txt``).
CELEBA_EYES_MIDPOINT = (88.5, 111.0)
#: Distance of the eyes in aligned CelebA, same source.
CELEBA_EYE_DISTANCE = 39.0


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity from ``source`` to ``target`` points, float64 (2, 3).

    Rotation, uniform scale and shift, no reflection, all points weighted equally; both inputs are
    (n, 2) with n >= 2. Umeyama, IEEE TPAMI 13(4), 1991. Raises ValueError when the source points
    coincide.
    """
    source = np.asarray(source, np.float64)
    target = np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    variance = (centred**2).sum() / len(source)
    if not np.isfinite(variance) or variance < 1e-12:
        raise ValueError("the source points coincide or are not finite")
    u, scales, vt = np.linalg.svd((target - target_mean).T @ centred / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    linear = (scales * signs).sum() / variance * (u * signs) @ vt
    return np.column_stack([linear, target_mean - linear @ source_mean])


def align_112(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Recognition crop, uint8 (112, 112, 3): bilinear, black outside the source.

    ``landmarks`` (5, 2) in the order of :data:`TEMPLATE_112`; ``image`` RGB uint8 (H, W, 3).
    Equals the published preprocessing of MagFace, which samples without a low-pass filter.
    """
    matrix = similarity(landmarks, TEMPLATE_112)
    return cv2.warpAffine(image, matrix, (112, 112), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def _warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Warp with replicated borders; strong reductions are averaged first so that they do not alias."""
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 0.5:
        factor = 1 / int(1 / scale)
        height, width = image.shape[:2]
        small = max(1, round(width * factor)), max(1, round(height * factor))
        ratio = np.array([small[0] / width, small[1] / height])
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        # Pixel centres: x' = (x + 1/2) ratio - 1/2, inverted into the matrix.
        linear = matrix[:, :2] / ratio
        matrix = np.column_stack([linear, matrix[:, 2] + linear @ (0.5 - 0.5 * ratio)])
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def frame_celeba(image: np.ndarray, eyes: np.ndarray, *, eye_distance: float = CELEBA_EYE_DISTANCE) -> np.ndarray:
    """The face framed as aligned CelebA frames it, uint8 (218, 178, 3), borders replicated as there.

    ``eyes`` (2, 2): left and right eye centre; they land on one row, ``eye_distance`` pixels apart.
    """
    x, y = CELEBA_EYES_MIDPOINT
    target = np.array([[x - eye_distance / 2, y], [x + eye_distance / 2, y]])
    return _warp(image, similarity(eyes, target), CELEBA_SIZE)


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] < image.shape[1] or size[1] < image.shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def resize_512(image: np.ndarray) -> np.ndarray:
    """The largest centred square of ``image`` at 512x512, uint8; proportions are kept."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(np.ascontiguousarray(image[top : top + side, left : left + side]), (512, 512))


def squeeze_celeba(image: np.ndarray) -> np.ndarray:
    """The whole image at 178x218, uint8, without keeping its proportions and without looking for a face."""
    if image.shape[:2] == CELEBA_SIZE[::-1]:
        return image
    return _resize(image, CELEBA_SIZE)
