"""Regions of the head as smooth functions of rest-pose position: scalp, beard, cheeks, neck.

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
    }


def before_face(x: np.ndarray, back: np.ndarray) -> np.ndarray:
    """1 for hair that hangs in front of the face, 0 beside and behind it."""
    return smoothstep(0.62, 0.52, x) * smoothstep(0.45, 0.30, back)


def wrinkles(x: np.ndarray, dy: np.ndarray, back: np.ndarray, seed: int = 7) -> np.ndarray:
    """Depth 0..1 of the lines of age: forehead, frown, crow's feet, under the eyes, beside nose and mouth.

    ``x`` is signed here: the two halves of a face do not fold alike.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    out = np.zeros(np.shape(x))
    ax = np.abs(x)

    def crease(distance, width, weight):
        np.maximum(out, weight * np.exp(-((distance / width) ** 2)), out=out)

    front = smoothstep(0.35, 0.1, back)
    for height in (0.40, 0.475, 0.55, 0.63):
        phase, bow = rng.uniform(0, 6.3), rng.uniform(-0.04, 0.08)
        line = height + 0.012 * np.sin(7 * x + phase) + bow * ax**2
        crease(dy - line, 0.013, 0.75 * front * smoothstep(0.52, 0.30, ax + rng.uniform(-0.05, 0.05)))
    for side in (-1, 1):
        own = side * x
        crease(
            own - 0.055 - 0.02 * rng.uniform() - 0.15 * (dy - 0.2),
            0.011,
            0.6 * smoothstep(0.12, 0.17, dy) * smoothstep(0.32, 0.26, dy),
        )
        for angle in (-0.75, -0.38, -0.05, 0.3, 0.6):
            angle += rng.uniform(-0.1, 0.1)
            u, v = own - 0.50, dy + 0.02
            along = u * np.cos(angle) + v * np.sin(angle)
            across = -u * np.sin(angle) + v * np.cos(angle)
            crease(across, 0.010, 0.8 * smoothstep(-0.01, 0.03, along) * smoothstep(0.19, 0.08, along))
        for k, low in enumerate((0.13, 0.175, 0.22)):
            arc = -low + 0.8 * (own - 0.29) ** 2
            crease(
                dy - arc,
                0.011,
                (0.75, 0.6, 0.4)[k] * smoothstep(0.13, 0.18, own) * smoothstep(0.50, 0.42, own) * front,
            )
        fold = np.interp(dy, [-0.86, -0.74, -0.60, -0.47, -0.40], [0.40, 0.40, 0.33, 0.21, 0.17])
        crease(own - fold, 0.020, 1.0 * smoothstep(-0.90, -0.80, dy) * smoothstep(-0.38, -0.44, dy) * front)
        jowl = np.interp(dy, [-1.05, -0.80], [0.37, 0.34])
        crease(own - jowl, 0.014, 0.7 * smoothstep(-1.02, -0.92, dy) * smoothstep(-0.78, -0.84, dy) * front)
    for k in range(-4, 5):
        crease(
            x - 0.045 * k - 0.01 * rng.uniform(),
            0.007,
            0.35 * smoothstep(-0.50, -0.54, dy) * smoothstep(-0.62, -0.58, dy) * front,
        )
    for height in (-1.42, -1.58):
        crease(dy - height - 0.2 * ax**2, 0.016, 0.6 * smoothstep(0.6, 0.3, ax))
    return out
