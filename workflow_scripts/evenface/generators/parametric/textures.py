"""Clean-up and packing of textures at distillation time (see ``assets.distil``).

Colours are kept as the square root of linear light in 8 bits (decoding is one multiplication);
skins are kept as ratios to their own mean tone (see :func:`skin_ratio`), hair as strand shade,
strand noise and alpha (:func:`hair_channels`). Every texture is packed with its mip levels.

Every processor must give the same bytes. Filters, powers and angles are therefore computed in double
precision and rounded to single, which hides the last bits, where processors differ.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numba import njit

from .raster import LEVELS

#: Skins store ratio r as 255 * sqrt(r / RATIO_MAX).
RATIO_MAX = 4.0

#: Steepest slope that the crease textures hold.
SLOPE_MAX = 1.5

#: Part of the UV square (u, v lower left; u, v upper right) that shows the face and throat.
FACE_CORNER = (0.75, 0.25, 1.0, 0.75)


def power(base: np.ndarray, exponent: float) -> np.ndarray:
    """``base ** exponent``, float32, the same on every processor."""
    return np.power(np.asarray(base, np.float64), exponent).astype(np.float32)


def weighted_sum(rgb: np.ndarray) -> np.ndarray:
    """Luma (h, w) of (h, w, 3). Written out: the order in which a matrix product sums depends on the processor."""
    return rgb[..., 0] * np.float32(0.3) + rgb[..., 1] * np.float32(0.59) + rgb[..., 2] * np.float32(0.11)


def decode_image(data: bytes, size: int | None = None) -> np.ndarray:
    """PNG or JPEG bytes to float32 RGBA 0..1 (still sRGB-coded), resized to ``size`` x ``size``."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image = image.convert("RGBA")
        rgba = np.asarray(image, np.float32) / 255.0
    if size and rgba.shape[:2] != (size, size):
        premultiplied = np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1)
        small = cv2.resize(premultiplied.astype(np.float64), (size, size), interpolation=cv2.INTER_AREA)
        small = small.astype(np.float32)
        rgba = np.concatenate([small[..., :3] / np.maximum(small[..., 3:], 1e-4), small[..., 3:]], -1)
    return np.clip(rgba, 0, 1)


def srgb_to_linear(c: np.ndarray) -> np.ndarray:
    return np.where(c <= 0.04045, c / 12.92, power((c + 0.055) / 1.055, 2.4)).astype(np.float32)


def encode(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Linear colours and alpha to uint8 RGBA with square-root coding of the colours."""
    coded = np.concatenate([np.sqrt(np.clip(rgb, 0, 1)), np.clip(alpha, 0, 1)[..., None]], -1)
    return (coded * 255 + 0.5).astype(np.uint8)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    double = np.ascontiguousarray(image, np.float64)
    return cv2.GaussianBlur(double, (0, 0), sigma, borderType=cv2.BORDER_REFLECT).astype(np.float32)


def masked_blur(image: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """Blur that only averages where ``mask`` (h, w) is set."""
    weight = blur(mask, sigma)
    image = image if image.ndim == 3 else image[..., None]
    total = blur(image * mask[..., None], sigma)
    total = total if total.ndim == 3 else total[..., None]
    return total / np.maximum(weight, 1e-4)[..., None]


def bleed(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Carry colours into transparent texels, so that filtering at edges does not mix in the background."""
    out = rgb.copy()
    solid = (alpha > 0.5).astype(np.float32)
    mean = (rgb * solid[..., None]).sum((0, 1)) / max(float(solid.sum()), 1.0)
    fill = np.broadcast_to(mean, rgb.shape).copy()
    for sigma in (24.0, 8.0, 2.5):
        near = np.clip(blur(solid, sigma) * 8, 0, 1)[..., None]
        fill = fill * (1 - near) + masked_blur(rgb, solid, sigma) * near
    return np.where(solid[..., None] > 0, out, fill)


def nearest_inside(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the nearest true texel, for inpainting outside the UV islands."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return rows, columns


def paint_triangles(size: int, uv: np.ndarray, faces: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rasterise per-corner ``values`` (m, 3) over UV triangles; returns (size, size) float32."""
    out = np.zeros((size, size), np.float32)
    for triangle, value in zip(uv[faces], values, strict=True):
        p = np.stack([triangle[:, 0] * size, (1 - triangle[:, 1]) * size], 1)
        cv2.fillConvexPoly(out, np.round(p * 16 - 8).astype(np.int32), float(value.mean()), shift=4)
    return out


@njit(cache=True)
def _fill_positions(uv, uv_faces, faces, vertices, out):
    size = out.shape[0]
    for t in range(faces.shape[0]):
        ax = uv[uv_faces[t, 0], 0] * size - 0.5
        ay = (1.0 - uv[uv_faces[t, 0], 1]) * size - 0.5
        bx = uv[uv_faces[t, 1], 0] * size - 0.5 - ax
        by = (1.0 - uv[uv_faces[t, 1], 1]) * size - 0.5 - ay
        cx = uv[uv_faces[t, 2], 0] * size - 0.5 - ax
        cy = (1.0 - uv[uv_faces[t, 2], 1]) * size - 0.5 - ay
        area = bx * cy - cx * by
        if abs(area) < 1e-9:
            continue
        for y in range(max(0, int(ay + min(0.0, by, cy))), min(size - 1, int(ay + max(0.0, by, cy)) + 1) + 1):
            for x in range(max(0, int(ax + min(0.0, bx, cx))), min(size - 1, int(ax + max(0.0, bx, cx)) + 1) + 1):
                w1 = ((x - ax) * cy - cx * (y - ay)) / area
                w2 = (bx * (y - ay) - (x - ax) * by) / area
                if w1 < -0.01 or w2 < -0.01 or w1 + w2 > 1.01:
                    continue
                for c in range(3):
                    out[y, x, c] = (
                        (1 - w1 - w2) * vertices[faces[t, 0], c]
                        + w1 * vertices[faces[t, 1], c]
                        + w2 * vertices[faces[t, 2], c]
                    )


def position_map(size: int, uv, uv_faces, faces, vertices) -> np.ndarray:
    """Rest position of every texel of the head, (size, size, 3) float32; NaN off the mesh."""
    out = np.full((size, size, 3), np.nan, np.float32)
    _fill_positions(uv, uv_faces, faces, vertices, out)
    return out


def skin_ratio(rgba: np.ndarray, islands: np.ndarray, face: np.ndarray, scalp: np.ndarray, lips: np.ndarray):
    """Skin texture as ratio to its mean face tone, free of casts, shaved hair and baked shading.

    ``islands`` (h, w) bool marks valid texels, ``face`` weights the texels that define the tone,
    ``scalp`` and ``lips`` weight those regions (the painted-on scalp hair is flattened, the
    saturated lips are moderated). Returns ratios (h, w, 3) and a relief height (h, w) around 0.5.
    """
    rows, columns = nearest_inside(islands)
    linear = srgb_to_linear(rgba[..., :3])[rows, columns]
    weight = face / face.sum()
    mean = (linear * weight[..., None]).sum((0, 1))
    ratio = linear / mean
    # Broad shading baked into the photographs fights the renderer's own light: keep a third of it.
    valid = islands.astype(np.float32) * (1 - scalp) * (1 - lips)
    broad = masked_blur(ratio, np.clip(valid, 0, 1), 16.0)
    flat = ratio / np.maximum(broad, 0.15)
    ratio = flat * power(np.maximum(broad, 0.15), 0.35)
    # Chroma varies less than brightness, which tames blotches and casts.
    luma = weighted_sum(ratio)[..., None]
    ratio = luma * power(ratio / np.maximum(luma, 1e-3), 0.7)
    fine = luma[..., 0] / np.maximum(blur(luma[..., 0], 3.0), 1e-3)
    bare = 1.0 + 0.15 * (fine - 1.0)
    ratio = ratio * (1 - scalp[..., None]) + (bare * scalp)[..., None]
    lip_luma = np.clip(luma, 0.5, 1.1)
    calm_lips = lip_luma * np.clip(ratio / np.maximum(luma, 1e-3), 0.7, 1.25)
    ratio = ratio * (1 - lips[..., None]) + calm_lips * lips[..., None]
    weight = (face * (1 - scalp))[..., None]
    ratio = ratio / ((ratio * weight).sum((0, 1)) / weight.sum())
    relief = 0.5 + 0.8 * (ratio.mean(-1) / np.maximum(blur(ratio.mean(-1), 5.0), 1e-3) - 1.0)
    return np.clip(ratio, 0, RATIO_MAX), np.clip(relief, 0, 1)


def hair_channels(rgba: np.ndarray) -> np.ndarray:
    """Hair texture as uint8 RGBA: shade (mean 0.5), strand noise (uniform), spare, alpha.

    Strand noise is white noise smeared along the strands (line integral convolution over the
    structure tensor), so gray strands and highlights follow the drawn hair.
    """
    alpha = rgba[..., 3]
    linear = bleed(srgb_to_linear(rgba[..., :3]), alpha)
    luma = weighted_sum(linear)
    solid = (alpha > 0.3).astype(np.float32)
    # Locally normalised brightness: keeps strands, drops painted highlights and dyes.
    broad = masked_blur(luma, np.maximum(solid, 1e-3), 14.0)[..., 0]
    shade = power(np.clip(luma / np.maximum(broad, 1e-4), 0, 4), 0.6)
    spread = max(float(np.sqrt(((shade - 1) ** 2 * solid).sum() / solid.sum())), 1e-3)
    shade = np.clip(1 + (shade - 1) * min(1.0, 0.30 / spread), 0.4, 2.0)
    gy, gx = np.gradient(blur(luma / np.maximum(broad, 1e-4), 1.0))
    jxx, jyy, jxy = (blur(g * solid, 9.0) for g in (gx * gx, gy * gy, gx * gy))
    across = 0.5 * np.arctan2((2 * jxy).astype(np.float64), (jxx - jyy).astype(np.float64))
    dx, dy = -np.sin(across).astype(np.float32), np.cos(across).astype(np.float32)
    h, w = alpha.shape
    noise = np.random.Generator(np.random.PCG64(20200901)).random((h, w)).astype(np.float32)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    total = noise.copy()
    for sign in (-1.0, 1.0):
        x, y, px, py = xx.copy(), yy.copy(), dx * sign, dy * sign
        for _ in range(10):
            x, y = x + px, y + py
            xi, yi = np.clip(x.astype(np.int32), 0, w - 1), np.clip(y.astype(np.int32), 0, h - 1)
            nx, ny = dx[yi, xi], dy[yi, xi]
            turn = np.where(nx * px + ny * py < 0, -1.0, 1.0)
            px, py = nx * turn, ny * turn
            total += noise[yi, xi]
    order = np.argsort(total, axis=None, kind="stable")
    strand = np.empty(h * w, np.float32)
    strand[order] = np.linspace(0, 1, h * w, dtype=np.float32)
    channels = np.stack([shade * 0.5, strand.reshape(h, w), np.full((h, w), 0.5, np.float32), alpha], -1)
    return (np.clip(channels, 0, 1) * 255 + 0.5).astype(np.uint8)


def mip_chain(rgba: np.ndarray) -> list[np.ndarray]:
    """``LEVELS`` uint8 mip levels, halving; small levels repeat the last possible one."""
    levels = [rgba]
    current = rgba.astype(np.float32)
    while len(levels) < LEVELS:
        h, w = current.shape[:2]
        if h >= 4 and w >= 4 and h % 2 == 0 and w % 2 == 0:
            current = current.reshape(h // 2, 2, w // 2, 2, 4).mean((1, 3))
        levels.append((current + 0.5).astype(np.uint8))
    return levels


class TexturePacker:
    """Collects textures into one flat array and a table (textures, LEVELS, 3) of offset, width, height.

    Textures are painted by ``threads`` threads and packed in the order they were added.
    """

    def __init__(self, threads: int = 1):
        self.pool = ThreadPoolExecutor(threads)
        self.names: list[str] = []
        self.chains: list[Future[list[np.ndarray]]] = []

    def add(self, name: str, paint: Callable[..., np.ndarray], *arguments: Any) -> None:
        """Add the uint8 RGBA texture that ``paint(*arguments)`` returns."""
        self.names.append(name)
        self.chains.append(self.pool.submit(lambda: mip_chain(paint(*arguments))))

    def pack(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Texels, table and names; raises the error of a painter that failed."""
        chunks, table, size = [], [], 0
        with self.pool:
            for chain in self.chains:
                rows = []
                for level in chain.result():
                    rows.append([size, level.shape[1], level.shape[0]])
                    chunks.append(level.ravel())
                    size += level.size
                table.append(rows)
        return np.concatenate(chunks), np.array(table, np.int64), self.names
