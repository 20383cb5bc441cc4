"""Regions of the head as smooth functions of rest-pose position: scalp, beard, cheeks, creases of age.

Positions are taken relative to the point between the eyes (decimetres): ``x`` is the distance
from the middle plane, ``dy`` the height above the eyes, ``back`` the distance behind them. On the
rest head the nose tip is at dy -0.41, the lips run from -0.58 to -0.80, the chin ends at -1.1, the
crown at 1.2 and the ears start at back 0.69.
"""

from __future__ import annotations

import numpy as np


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Cubic step from 0 at ``low`` to 1 at ``high`` (``low`` may be the larger)."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def hairline(x: np.ndarray, dy: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Signed height above the hairline (positive on the scalp), decimetres."""
    edge = np.interp(
        back,
        [-0.40, -0.15, 0.00, 0.20, 0.34, 0.46, 0.56, 0.66, 0.90, 1.20, 1.60],
        [0.80, 0.74, 0.66, 0.56, 0.30, 0.02, -0.16, 0.20, 0.10, -0.38, -0.62],
    )
    return dy - edge


def face_regions(vertices: np.ndarray, eyes: np.ndarray, ear: np.ndarray) -> dict[str, np.ndarray]:
    """Weights (n,) of the painted regions; ``eyes`` (3,) is the point between the eyes.

    ``ear`` (n,) is 1 on the ears. ``hairline`` is a signed height, everything else runs 0..1.
    """
    x = np.abs(vertices[:, 0]).astype(np.float64)
    dy = (vertices[:, 1] - eyes[1]).astype(np.float64)
    back = (eyes[2] - vertices[:, 2]).astype(np.float64)
    on_head = smoothstep(-1.45, -1.3, dy)

    # Upper edge of a full beard from under the nose over the cheeks to the front of the ear.
    upper = np.interp(
        x,
        [0.0, 0.18, 0.30, 0.40, 0.54, 0.63, 0.70, 0.80],
        [-0.48, -0.50, -0.55, -0.62, -0.63, -0.50, -0.20, 0.0],
    )
    under_jaw = smoothstep(-1.36, -1.16, dy) * smoothstep(0.62, 0.40, back + 0.35 * (dy + 1.0))
    beard = smoothstep(0.03, -0.07, dy - upper) * np.maximum(under_jaw, smoothstep(-1.10, -1.0, dy))
    beard *= smoothstep(0.72, 0.60, back) * on_head

    lip_line = np.interp(x, [0.0, 0.12, 0.26, 0.36, 0.44], [-0.59, -0.59, -0.64, -0.74, -0.78])
    top = -0.485 - 0.30 * np.maximum(x - 0.14, 0.0)
    moustache = smoothstep(0.0, -0.035, dy - top) * smoothstep(lip_line - 0.05, lip_line + 0.01, dy)
    moustache *= smoothstep(0.42, 0.33, x) * smoothstep(0.1, 0.0, back)

    ring = smoothstep(0.40, 0.34, x) * smoothstep(0.22, 0.27, x) * smoothstep(-0.62, -0.72, dy)
    chin = smoothstep(0.36, 0.26, x) * smoothstep(-0.80, -0.88, dy)
    goatee = np.maximum(ring, chin) * smoothstep(-1.24, -1.12, dy) * smoothstep(0.2, 0.05, back)

    sideburns = smoothstep(0.36, 0.44, back) * smoothstep(0.66, 0.58, back)
    sideburns *= smoothstep(-0.48, -0.36, dy) * smoothstep(0.22, 0.10, dy)

    cheek = np.exp(-(((x - 0.47) / 0.17) ** 2 + ((dy + 0.34) / 0.15) ** 2)) * smoothstep(0.3, 0.1, back)
    eye_bag = np.exp(-(((x - 0.29) / 0.13) ** 2 + ((dy + 0.135) / 0.055) ** 2)) * smoothstep(0.1, 0.0, back)
    nose = np.exp(-((x / 0.12) ** 2 + ((dy + 0.40) / 0.12) ** 2)) * smoothstep(-0.2, -0.25, back)
    skin = 1.0 - ear
    return {
        "hairline": hairline(x, dy, back),
        "beard": beard * skin,
        "moustache": moustache,
        "goatee": goatee,
        "sideburns": sideburns * skin,
        "cheek": cheek,
        "eye_bag": eye_bag,
        "nose": nose,
        "hollow": hollows(vertices, eyes) * skin,
    }


def before_face(x: np.ndarray, back: np.ndarray) -> np.ndarray:
    """1 for hair that hangs in front of the face, 0 beside and behind it."""
    return smoothstep(0.62, 0.52, x) * smoothstep(0.45, 0.30, back)


def crease_zones(vertices: np.ndarray, eyes: np.ndarray, ear: np.ndarray) -> dict[str, np.ndarray]:
    """Weights (n,) 0..1 of the zones that crease together: forehead, eyes, mouth, neck; 0 behind the face."""
    dy = (vertices[:, 1] - eyes[1]).astype(np.float64)
    back = (eyes[2] - vertices[:, 2]).astype(np.float64)
    seen = smoothstep(0.78, 0.60, back) * (1.0 - ear) * smoothstep(-1.85, -1.65, dy)
    forehead, above = smoothstep(0.14, 0.26, dy), smoothstep(-0.38, -0.26, dy)
    neck = smoothstep(-1.04, -1.20, dy)
    return {
        "forehead": forehead * seen,
        "eyes": (1 - forehead) * above * seen,
        "mouth": (1 - above) * (1 - neck) * seen,
        "neck": neck * seen,
    }


def hollows(vertices: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Where the face loses volume with age, (n,) 0..1: temples, eye sockets, below the cheekbones."""
    x = np.abs(vertices[:, 0]).astype(np.float64)
    dy = (vertices[:, 1] - eyes[1]).astype(np.float64)
    back = (eyes[2] - vertices[:, 2]).astype(np.float64)
    temple = np.exp(-(((dy - 0.24) / 0.14) ** 2 + ((x - 0.70) / 0.12) ** 2)) * smoothstep(0.6, 0.4, back)
    cheek = np.exp(-(((x - 0.56) / 0.11) ** 2 + ((dy + 0.56) / 0.16) ** 2)) * smoothstep(0.5, 0.3, back)
    socket = np.exp(-(((x - 0.20) / 0.09) ** 2 + ((dy - 0.10) / 0.07) ** 2)) * smoothstep(0.1, 0.0, back)
    return np.maximum(np.maximum(0.8 * temple, cheek), 0.9 * socket)


class _Relief:
    """Height (decimetres) and darkness (0..1) of creases laid into skin."""

    def __init__(self, shape: tuple[int, ...]):
        self.height, self.dark = np.zeros(shape), np.zeros(shape)

    def crease(self, distance, width: float, depth: float, along=1.0, dark: float = 0.8) -> None:
        """A groove where ``distance`` is 0, ``width`` its half width at 1/e, where ``along`` (0..1) lets it."""
        groove = np.exp(-((distance / width) ** 2)) * along
        self.height -= depth * groove
        np.maximum(self.dark, dark * groove, out=self.dark)

    def swell(self, u, v, height: float) -> None:
        """A rounded bulge of ``height``, ``u`` and ``v`` the distances from its middle over its half widths."""
        self.height += height * np.exp(-(u**2) - v**2)


def folds(x: np.ndarray, dy: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Folds that come first: height (decimetres), darkness and stain (0..1) of the skin of a 70-year-old.

    Beside nose and mouth, bags under the eyes, main lines of forehead and brow, chin, jowls, neck.
    ``x`` is signed: the halves of a face do not fold alike.
    """
    jitter = np.random.Generator(np.random.PCG64(7)).uniform(-1, 1, 64)
    out, stain = _Relief(np.shape(x)), np.zeros(np.shape(x))
    ax, front = np.abs(x), smoothstep(0.38, 0.12, back)
    for k, height in enumerate((0.41, 0.52, 0.63)):
        bow = 0.012 * np.sin(7 * x + 3 * jitter[k]) + (0.03 + 0.05 * jitter[k + 3]) * ax**2
        out.crease(dy - height - bow, 0.020, 0.0085, front * smoothstep(0.52, 0.30, ax + 0.05 * jitter[k + 6]), 0.75)
    for side in (-1, 1):
        own, uneven = side * x, jitter[10 if side > 0 else 20 :]
        brow = smoothstep(0.10, 0.16, dy) * smoothstep(0.33, 0.26, dy)
        out.crease(own - 0.060 - 0.01 * uneven[0] - 0.15 * (dy - 0.2), 0.016, 0.0075, brow, 0.65)
        # From the wing of the nose around the mouth; the cheek hangs over it.
        path = np.interp(dy, [-0.95, -0.86, -0.74, -0.60, -0.47, -0.37], [0.36, 0.395, 0.395, 0.33, 0.22, 0.165])
        off = 0.78 * (own - path - 0.01 * uneven[1])
        along = smoothstep(-0.90, -0.74, dy) * smoothstep(-0.335, -0.41, dy) * front
        out.crease(off, 0.030, 0.021, along, 0.95)
        out.height += 0.020 * np.exp(-(((off - 0.085) / 0.06) ** 2)) * along
        path = np.interp(dy, [-1.02, -0.70], [0.375, 0.285])
        off = own - path - 0.01 * uneven[2]
        along = smoothstep(-1.02, -0.90, dy) * smoothstep(-0.66, -0.75, dy) * front
        out.crease(off, 0.022, 0.012, along, 0.75)
        out.swell((own - 0.47) / 0.10, (dy + 0.93) / 0.10, 0.020)
        out.swell((own - 0.34) / 0.06, (dy + 1.05) / 0.05, -0.012)
        # Bag between the lower lid and the groove that runs from the inner corner down and out.
        across = smoothstep(0.12, 0.17, own) * smoothstep(0.52, 0.43, own) * front
        middle = -0.135 + 0.75 * (own - 0.30) ** 2
        out.height += 0.013 * np.exp(-(((dy - middle) / 0.042) ** 2)) * across
        trough = np.interp(own, [0.12, 0.20, 0.28, 0.36, 0.44, 0.52], [-0.05, -0.135, -0.195, -0.205, -0.170, -0.10])
        out.crease(dy - trough, 0.024, 0.012, across, 0.75)
        stain = np.maximum(stain, np.exp(-(((dy - middle - 0.01) / 0.055) ** 2)) * across)
        stain = np.maximum(stain, 0.8 * np.exp(-(((own - 0.17) / 0.06) ** 2 + ((dy + 0.02) / 0.07) ** 2)) * front)
    out.crease(dy + 0.885 - 0.4 * ax**2, 0.026, 0.010, smoothstep(0.19, 0.08, ax) * front, 0.5)
    out.crease(dy + 1.40 - 0.2 * ax**2, 0.022, 0.010, smoothstep(0.6, 0.3, ax), 0.6)
    return out.height, out.dark, stain


def fine_lines(x: np.ndarray, dy: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finer lines that follow: height (decimetres) and darkness (0..1) of the skin of a 70-year-old.

    Crow's feet, lower lids, between the main lines of the forehead, cheeks, around the lips, neck.
    """
    jitter = np.random.Generator(np.random.PCG64(8)).uniform(-1, 1, 128)
    out = _Relief(np.shape(x))
    ax, front = np.abs(x), smoothstep(0.38, 0.12, back)
    for k, height in enumerate((0.355, 0.465, 0.575, 0.685)):
        bow = 0.010 * np.sin(8 * x + 3 * jitter[k]) + (0.03 + 0.05 * jitter[k + 4]) * ax**2
        out.crease(dy - height - bow, 0.013, 0.005, front * smoothstep(0.48, 0.28, ax + 0.10 * jitter[k + 8]), 0.6)
    for side in (-1, 1):
        own, uneven = side * x, jitter[20 if side > 0 else 60 :]
        for k, angle in enumerate((-0.80, -0.48, -0.16, 0.18, 0.50)):
            angle += 0.08 * uneven[k]
            u, v = own - 0.49, dy + 0.02
            along = u * np.cos(angle) + v * np.sin(angle)
            across = -u * np.sin(angle) + v * np.cos(angle) - 0.4 * along**2 * np.sign(angle)
            length = smoothstep(-0.02, 0.03, along) * smoothstep(0.22, 0.10, along + 0.03 * uneven[k + 5])
            out.crease(across, 0.012, 0.0075, length, 0.85)
        for low in (0.105, 0.15):
            span = smoothstep(0.15, 0.20, own) * smoothstep(0.50, 0.42, own) * front
            out.crease(dy + low - 0.8 * (own - 0.30) ** 2, 0.011, 0.0035, span, 0.45)
        # Sunken lids, pouches below the bags, cheeks that empty towards the jaw.
        lid = smoothstep(0.10, 0.16, own) * smoothstep(0.50, 0.42, own) * front
        out.crease(dy - 0.105 + 0.5 * (own - 0.29) ** 2, 0.026, 0.012, lid, 0.6)
        pouch = smoothstep(0.20, 0.28, own) * smoothstep(0.62, 0.50, own) * smoothstep(0.45, 0.2, back)
        out.crease(dy + 0.285 - 0.7 * (own - 0.36) ** 2, 0.032, 0.012, pouch, 0.45)
        out.swell((own - 0.52) / 0.10, (dy + 0.55) / 0.16, -0.030)
        out.swell((own - 0.47) / 0.11, (dy + 0.90) / 0.11, 0.030)
        # Lines of the cheek follow the fold beside the mouth at growing distance.
        path = np.interp(dy, [-1.0, -0.86, -0.70, -0.55, -0.40, -0.25], [0.33, 0.385, 0.40, 0.36, 0.27, 0.20])
        for k, offset in enumerate((0.085, 0.145, 0.21)):
            off = 0.85 * (own - path - offset - 0.015 * uneven[k + 12])
            span = smoothstep(-0.98, -0.80, dy + 0.05 * uneven[k + 16]) * smoothstep(-0.40, -0.56, dy + 0.12 * k)
            out.crease(off, 0.015, 0.0065, span * smoothstep(0.5, 0.25, back), 0.55)
        cord = 0.15 + 0.05 * smoothstep(-1.7, -1.2, dy)
        out.crease(own - cord, 0.035, -0.012, smoothstep(-1.14, -1.26, dy), 0.0)
        out.crease(own - cord + 0.055, 0.030, 0.010, smoothstep(-1.12, -1.24, dy), 0.5)
    for k in range(-4, 5):
        edge = smoothstep(-0.50, -0.55, dy) * smoothstep(-0.62, -0.58, dy) * front
        out.crease(x - 0.048 * k - 0.01 * jitter[40 + k], 0.009, 0.0035, edge, 0.40)
    for height in (0.06, 0.105):
        out.crease(dy - height - 0.3 * ax, 0.012, 0.0035, smoothstep(0.13, 0.06, ax) * front, 0.45)
    for height in (-1.27, -1.51, -1.63):
        out.crease(dy - height - 0.2 * ax**2, 0.016, 0.006, smoothstep(0.6, 0.3, ax), 0.5)
    return out.height, out.dark


def slopes(relief, x: np.ndarray, dy: np.ndarray, back: np.ndarray, step: float = 0.004) -> np.ndarray:
    """Slope of a relief function's height to the image's right and up, (..., 2), by central differences."""
    right = relief(x + step, dy, back)[0] - relief(x - step, dy, back)[0]
    up = relief(x, dy + step, back)[0] - relief(x, dy - step, back)[0]
    return np.stack([right, up], -1) / (2 * step)
