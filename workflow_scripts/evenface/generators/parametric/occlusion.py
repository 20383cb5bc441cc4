"""Ambient occlusion per vertex, baked once on the rest head from depth maps in many directions."""

from __future__ import annotations

import math

import numpy as np

from .raster import light_basis, light_space, shadow_pass

DIRECTIONS = 96
MAP_SIZE = 320


def sphere_directions(count: int) -> np.ndarray:
    """Evenly spread unit vectors (Fibonacci lattice), (count, 3)."""
    i = np.arange(count) + 0.5
    polar = np.arccos(1 - 2 * i / count)
    around = math.pi * (1 + 5**0.5) * i
    return np.stack([np.cos(around) * np.sin(polar), np.cos(polar), np.sin(around) * np.sin(polar)], 1)


class Occluder:
    """One mesh that blocks light; ``texture`` indexes the packed textures when alpha matters."""

    def __init__(self, vertices, faces, uv=None, uv_faces=None, texture=0, cut=0.0):
        self.vertices = np.ascontiguousarray(vertices, np.float32)
        self.faces = faces
        self.uv = np.zeros((1, 2), np.float32) if uv is None else uv
        self.uv_faces = np.zeros_like(faces) if uv_faces is None else uv_faces
        self.texture, self.cut = texture, cut


def bake(points, normals, occluders, texels, table, origin, extent, bias=0.05) -> np.ndarray:
    """Share of the cosine-weighted upper hemisphere that is open at each point, (n,) float32.

    ``points`` and ``normals`` are (n, 3); a point counts as hidden from a direction when an
    occluder is nearer to the far sky than the point by more than ``bias``.
    """
    points = np.ascontiguousarray(points, np.float32)
    open_sky = np.zeros(len(points))
    total = np.zeros(len(points))
    seen = np.empty((len(points), 3), np.float32)
    for direction in sphere_directions(DIRECTIONS):
        basis = light_basis(direction)
        zmap = np.full((MAP_SIZE, MAP_SIZE), -1e9, np.float32)
        for occluder in occluders:
            q = np.empty_like(occluder.vertices)
            light_space(occluder.vertices, basis, origin, extent, MAP_SIZE, q)
            alpha = np.ones(len(q), np.float32)
            shadow_pass(
                q,
                occluder.faces,
                occluder.uv_faces,
                occluder.uv,
                0,
                occluder.texture,
                occluder.cut,
                alpha,
                texels,
                table,
                zmap,
            )
        light_space(points, basis, origin, extent, MAP_SIZE, seen)
        x = np.clip(seen[:, 0].astype(np.int64), 0, MAP_SIZE - 1)
        y = np.clip(seen[:, 1].astype(np.int64), 0, MAP_SIZE - 1)
        visible = zmap[y, x] <= seen[:, 2] + bias
        cosine = np.maximum(normals @ direction, 0.0)
        open_sky += cosine * visible
        total += cosine
    return (open_sky / np.maximum(total, 1e-6)).astype(np.float32)
