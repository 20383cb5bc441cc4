"""Ambient occlusion per vertex, baked once on the rest head from depth maps in many directions."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


class Points:
    """Where occlusion is wanted: ``points`` and ``normals`` (n, 3), ``bias`` in units of the mesh.

    A point counts as hidden from a direction when an occluder is nearer to the far sky than the
    point by more than ``bias``.
    """

    def __init__(self, points, normals, bias: float = 0.05):
        self.points, self.normals, self.bias = np.ascontiguousarray(points, np.float32), normals, bias
        self.open = np.zeros(len(points))
        self.total = np.zeros(len(points))

    def look(self, zmap, direction, basis, origin, extent) -> None:
        """Add what is seen in one direction."""
        seen = np.empty((len(self.points), 3), np.float32)
        light_space(self.points, basis, origin, extent, MAP_SIZE, seen)
        x = np.clip(seen[:, 0].astype(np.int64), 0, MAP_SIZE - 1)
        y = np.clip(seen[:, 1].astype(np.int64), 0, MAP_SIZE - 1)
        visible = zmap[y, x] <= seen[:, 2] + self.bias
        cosine = np.maximum(self.normals @ direction, 0.0)
        self.open += cosine * visible
        self.total += cosine

    def openness(self) -> np.ndarray:
        """Share of the cosine-weighted upper hemisphere that is open at each point, (n,) float32."""
        return (self.open / np.maximum(self.total, 1e-6)).astype(np.float32)


class Sky:
    """Depth maps of occluders in all directions; ``texels`` and ``table`` are the packed textures.

    Maps of the occluders that many bakes share are kept: 96 maps of 320 x 320, 39 MB.
    """

    def __init__(self, texels, table, origin, extent):
        self.texels, self.table, self.origin, self.extent = texels, table, origin, extent
        self.kept: tuple[Occluder, list[np.ndarray]] | None = None

    def bake(self, always: Occluder, covers: Sequence[Occluder], wanted: Sequence[Points]) -> list[np.ndarray]:
        """Openness of all ``wanted`` points among the occluders ``always`` (whose maps are kept) and ``covers``."""
        bases = [(direction, light_basis(direction)) for direction in sphere_directions(DIRECTIONS)]
        if self.kept is None or self.kept[0] is not always:
            empty = np.full((MAP_SIZE, MAP_SIZE), -1e9, np.float32)
            self.kept = always, [self._draw(always, basis, empty.copy()) for _, basis in bases]
        for (direction, basis), kept in zip(bases, self.kept[1], strict=True):
            zmap = kept.copy() if covers else kept
            for cover in covers:
                self._draw(cover, basis, zmap)
            for points in wanted:
                points.look(zmap, direction, basis, self.origin, self.extent)
        return [points.openness() for points in wanted]

    def _draw(self, occluder: Occluder, basis, zmap: np.ndarray) -> np.ndarray:
        q = np.empty_like(occluder.vertices)
        light_space(occluder.vertices, basis, self.origin, self.extent, MAP_SIZE, q)
        o, alpha = occluder, np.ones(len(q), np.float32)
        shadow_pass(q, o.faces, o.uv_faces, o.uv, 0, o.texture, o.cut, alpha, self.texels, self.table, zmap)
        return zmap
