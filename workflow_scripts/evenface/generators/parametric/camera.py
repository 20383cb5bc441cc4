"""What a camera and a web site do to a clean rendering."""

from __future__ import annotations

import math

import cv2
import numpy as np

from evenface.generators.parametric.domains import Domain
from evenface.storage.images import decode_image, encode_jpeg

_WIDTH = 178.0


def photograph(image: np.ndarray, domain: Domain, seed: int) -> tuple[np.ndarray, int]:
    """Degrade a clean picture as ``domain`` says; returns the picture and the JPEG quality to store it with.

    ``image`` is RGB uint8 (H, W, 3), sRGB; the result has the same shape. The same image, domain and
    seed give the same bytes. In order: something in front of the camera, lens blur or motion, light
    (exposure, white balance, vignette), noise, tone (contrast, saturation), resolution.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    draw = _Draws(random, domain)
    height, width = image.shape[:2]
    pixel = width / _WIDTH
    x = image
    if draw.occluded:
        x = _occlude(x, random)
    if draw.motion:
        x = _smear(x, _motion_path(draw.motion_length * pixel, draw.motion_angle))
    elif draw.blur * pixel > 0.2:
        # The accurate one works in integers and gives every processor the same bytes.
        x = cv2.GaussianBlur(x, (0, 0), draw.blur * pixel, hint=cv2.ALGO_HINT_ACCURATE)
    linear = _TO_LINEAR[x] * draw.gains
    if draw.vignette > 0.01:
        linear *= _vignette(height, width, draw.vignette)[..., None]
    if draw.noise > 0:
        grain = random.standard_normal((height, width, 3), np.float32)
        # Shot noise grows with the square root of the light; read noise stays.
        linear += grain * draw.noise * np.sqrt(np.clip(linear, 0, 1) + 0.01)
    y = _to_srgb(linear)
    # Written out, because a matrix product sums in an order, and with a rounding, that depend on the processor.
    gray = (y[..., :1] * np.float32(0.299) + y[..., 1:2] * np.float32(0.587)) + y[..., 2:] * np.float32(0.114)
    y = gray + (y - gray) * draw.saturation
    y = (y - 0.45) * draw.contrast + 0.45
    out = (np.clip(y, 0, 1) * 255 + 0.5).astype(np.uint8)
    if draw.scale < 0.98:
        small = (max(int(width * draw.scale), 24), max(int(height * draw.scale), 24))
        reduced = cv2.resize(out.astype(np.float64), small, interpolation=cv2.INTER_AREA)
        out = cv2.resize((reduced + 0.5).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return out, draw.jpeg


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """``image`` as it looks after JPEG compression of a quality."""
    return decode_image(encode_jpeg(image, quality), "jpeg")


class _Draws:
    """Every number of one shot, always drawn in the same order."""

    def __init__(self, random: np.random.Generator, domain: Domain):
        stops = domain.exposure_bias + domain.exposure * random.standard_normal()
        balance = domain.white_balance * random.standard_normal(2)
        gain = 2.0 ** float(np.clip(stops, -1.6, 1.3))
        self.gains = (gain * np.exp([balance[0], balance[1] * 0.5, -balance[0]])).astype(np.float32)
        self.contrast = float(np.clip(1 + domain.contrast * random.standard_normal(), 0.6, 1.5))
        self.saturation = float(np.clip(1 + domain.saturation * random.standard_normal(), 0.3, 1.7))
        self.blur = float(domain.blur * random.random() ** 1.5)
        self.motion = bool(random.random() < domain.motion)
        self.motion_length = float(random.uniform(2, 6))
        self.motion_angle = float(random.uniform(0, math.pi))
        self.noise = float(domain.noise * random.random() ** 2)
        low = random.random() < domain.low_resolution
        scale = random.uniform(domain.smallest_scale, 1.0)
        self.scale = float(scale) if low else 1.0
        self.vignette = float(domain.vignette * random.random())
        self.occluded = bool(random.random() < domain.occlusion)
        self.jpeg = int(random.integers(domain.jpeg[0], domain.jpeg[1] + 1))


_LEVELS = np.arange(256, dtype=np.float64) / 255
_TO_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)


_CURVE = 4096
_ROOTS = np.linspace(0, 1, _CURVE + 1) ** 2
_TO_SRGB = np.where(_ROOTS <= 0.0031308, 12.92 * _ROOTS, 1.055 * _ROOTS ** (1 / 2.4) - 0.055).astype(np.float32)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] of linear light, highlights above 1 clipped as a sensor clips them."""
    return _TO_SRGB[(np.sqrt(np.clip(linear, 0, 1)) * _CURVE + 0.5).astype(np.int32)]


def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    return 1 - strength * 0.5 * (x * x + y * y)


def _motion_path(length: float, angle: float) -> np.ndarray:
    """Pixels (size, size) that one point passes while the shutter is open: 1 there, 0 elsewhere."""
    size = max(3, int(length) | 1)
    path = np.zeros((size, size), np.float32)
    c = size // 2
    dx, dy = math.cos(angle) * c, math.sin(angle) * c
    start, end = (round(c - dx), round(c - dy)), (round(c + dx), round(c + dy))
    cv2.line(path, start, end, 1.0, 1)
    return path


def _smear(image: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Mean over the path, rounded. Sums of whole numbers are exact in any order."""
    total = np.rint(cv2.filter2D(image.astype(np.float32), -1, path))  # large kernels go through a transform
    return (total / path.sum() + np.float32(0.5)).astype(np.uint8)


def _occlude(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Put a blurred, mostly dull object over a corner or an edge: a hand, a shoulder, a microphone."""
    height, width = image.shape[:2]
    layer = image.copy()
    edge = random.integers(4)
    at = random.uniform(0, 1)
    centre = [
        (at * width, -0.08 * height),
        (at * width, 1.05 * height),
        (-0.1 * width, at * height),
        (1.1 * width, at * height),
    ]
    x, y = centre[edge]
    axes = (int(random.uniform(0.15, 0.4) * width), int(random.uniform(0.15, 0.4) * width))
    base = random.uniform(20, 200)
    colour = np.clip(base * (1 + 0.25 * random.standard_normal(3)), 0, 255)
    mask = np.zeros((height, width), np.float32)
    cv2.ellipse(mask, (int(x), int(y)), axes, float(random.uniform(0, 180)), 0, 360, 1.0, -1)
    # In double precision, in which processors do not differ visibly.
    mask = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 0.012 * width + 0.6)[..., None]
    return (layer * (1 - mask) + colour * mask + 0.5).astype(np.uint8)
