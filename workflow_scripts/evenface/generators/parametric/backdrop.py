"""What is behind the person: plain, a gradient, or an out-of-focus room."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .face import Backdrop


def paint(backdrop: Backdrop, width: int, height: int) -> np.ndarray:
    """Linear RGB (height, width, 3) float32 of the backdrop."""
    out = np.empty((height, width, 3), np.float32)
    a = np.array(backdrop.colour_a, np.float64)
    b = np.array(backdrop.colour_b, np.float64)
    rng = np.random.Generator(np.random.PCG64(backdrop.seed))
    turn = rng.uniform(0, 2 * math.pi)
    direction = (math.cos(turn), math.sin(turn)) if backdrop.kind != "plain" else (0.0, 0.0)
    strength = 0.0 if backdrop.kind == "plain" else 1.0
    shapes = np.zeros((0, 9))
    if backdrop.kind == "blurred":
        shapes = _room(rng, a, b)
    _fill(out, a, b, direction[0], direction[1], strength, shapes)
    return out


def _room(rng: np.random.Generator, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Soft rectangles (walls, windows, furniture) and discs (lamps): x, y, half sizes, softness, colour, round."""
    rows = []
    for _ in range(int(rng.integers(5, 11))):
        mix = rng.uniform()
        colour = (a * mix + b * (1 - mix)) * np.exp(rng.normal(0, 0.55)) * np.exp(rng.normal(0, 0.10, 3))
        tall = rng.uniform() < 0.6
        half = (
            (rng.uniform(0.05, 0.25), rng.uniform(0.2, 0.7))
            if tall
            else (rng.uniform(0.2, 0.6), rng.uniform(0.04, 0.2))
        )
        rows.append([rng.uniform(-0.1, 1.1), rng.uniform(-0.1, 1.1), *half, rng.uniform(0.03, 0.09), *colour, 0.0])
    for _ in range(int(rng.integers(0, 5))):
        radius = rng.uniform(0.05, 0.13)
        colour = np.clip((a + b) * rng.uniform(0.6, 1.2), 0, 1.1) * np.exp(rng.normal(0, 0.12, 3))
        rows.append([rng.uniform(), rng.uniform(0, 0.7), radius, radius, rng.uniform(0.03, 0.07), *colour, 1.0])
    rows = np.array(rows)
    rows[:, 5:8] = np.clip(rows[:, 5:8], 0.004, 1.3)
    return rows


@njit(cache=True)
def _fill(out, a, b, dx, dy, strength, shapes):
    H, W = out.shape[:2]
    for y in range(H):
        v = (y + 0.5) / H
        for x in range(W):
            u = (x + 0.5) / W
            t = 0.5 + strength * ((u - 0.5) * dx + (v - 0.5) * dy)
            t = min(max(t, 0.0), 1.0)
            if strength == 0.0:
                t = 0.0
            r = a[0] * (1 - t) + b[0] * t
            g = a[1] * (1 - t) + b[1] * t
            c = a[2] * (1 - t) + b[2] * t
            for k in range(shapes.shape[0]):
                px = abs(u - shapes[k, 0])
                py = abs(v - shapes[k, 1])
                soft = shapes[k, 4]
                if shapes[k, 8] > 0.5:
                    py *= H / W
                    s = (shapes[k, 2] - math.sqrt(px * px + py * py)) / soft + 0.5
                    w = min(max(s, 0.0), 1.0)
                    w = w * w * (3 - 2 * w) * 0.5
                else:
                    s = min(max((shapes[k, 2] - px) / soft * 0.5 + 0.5, 0.0), 1.0)
                    q = min(max((shapes[k, 3] - py) / soft * 0.5 + 0.5, 0.0), 1.0)
                    w = s * s * (3 - 2 * s) * q * q * (3 - 2 * q)
                r += w * (shapes[k, 5] - r)
                g += w * (shapes[k, 6] - g)
                c += w * (shapes[k, 7] - c)
            out[y, x, 0] = r
            out[y, x, 1] = g
            out[y, x, 2] = c
