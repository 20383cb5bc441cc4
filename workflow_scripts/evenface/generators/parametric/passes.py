"""Screen passes: shading what is nearest in every sample, then blending translucent triangles over it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from .raster import fetch
from .shading import (
    ALPHA,
    AT_DIFFUSE,
    AT_EXTRA,
    AT_LIGHT,
    AT_NORMAL,
    AT_OCCLUSION,
    AT_SHINE,
    AT_U,
    AT_V,
    ATTRIBUTES,
    COLOUR,
    EXTRAS,
    GRAY,
    HAIR,
    PLASTIC,
    shade,
)
from .strands import hair_albedo

#: A blended triangle must be nearer than the surface behind it by this factor. The solid part of a hair
#: triangle has the same depth as the triangle; without a margin, rounding would decide where it is drawn twice.
NEARER = 1.00002


class Triangles(NamedTuple):
    """A row per visible triangle. The kernels read these tuples field by field, as they would read arrays."""

    corners: np.ndarray  #: int32 (t, 3), rows of :class:`Points`
    uv_corners: np.ndarray  #: int32 (t, 3), rows of ``Points.uv``
    part: np.ndarray  #: int16 (t,), rows of :class:`Surfaces`
    level: np.ndarray  #: int8 (t,), mip level of the textures


class Points(NamedTuple):
    """A row per vertex, float32; ``uv`` has a row per texture vertex."""

    screen: np.ndarray  #: (n, 3), x and y in samples, 1 / depth
    uv: np.ndarray  #: (m, 2)
    normal: np.ndarray  #: (n, 3)
    in_light: np.ndarray  #: (n, 3), positions as the key light sees them
    occlusion: np.ndarray  #: (n,)
    extra: np.ndarray  #: (n, EXTRAS)
    diffuse: np.ndarray  #: (n, 3), light on hair, scattered
    shine: np.ndarray  #: (n, 3), light on hair, mirrored
    alpha: np.ndarray  #: (n,)


class Surfaces(NamedTuple):
    """A row per part, and the textures of all."""

    kind: np.ndarray  #: int64 (p,), such as ``HAIR``
    texture: np.ndarray  #: int64 (p,), rows of ``table``
    material: np.ndarray  #: float64 (p, MATERIAL_SIZE)
    texels: np.ndarray
    table: np.ndarray


class Lighting(NamedTuple):
    """Lights float64 (6, 3), and the key light's shadow map with the distance that counts as shadow."""

    lights: np.ndarray
    shadows: np.ndarray
    bias: float


class Samples(NamedTuple):
    """What is nearest in every sample, (H, W): 1 / depth, triangle (-1: none), and its barycentrics there."""

    near: np.ndarray
    triangle: np.ndarray
    b1: np.ndarray
    b2: np.ndarray


@njit(cache=True)
def gather(a, t, w1, w2, triangles, points, hair):
    """Perspective-correct attributes of triangle ``t`` at screen barycentrics w1, w2, added to ``a``."""
    i0 = triangles.corners[t, 0]
    i1 = triangles.corners[t, 1]
    i2 = triangles.corners[t, 2]
    q0 = (1.0 - w1 - w2) * points.screen[i0, 2]
    q1 = w1 * points.screen[i1, 2]
    q2 = w2 * points.screen[i2, 2]
    r = 1.0 / (q0 + q1 + q2)
    q0 *= r
    q1 *= r
    q2 *= r
    j0 = triangles.uv_corners[t, 0]
    j1 = triangles.uv_corners[t, 1]
    j2 = triangles.uv_corners[t, 2]
    a[AT_U] += q0 * points.uv[j0, 0] + q1 * points.uv[j1, 0] + q2 * points.uv[j2, 0]
    a[AT_V] += q0 * points.uv[j0, 1] + q1 * points.uv[j1, 1] + q2 * points.uv[j2, 1]
    if hair:
        for c in range(3):
            a[AT_DIFFUSE + c] += q0 * points.diffuse[i0, c] + q1 * points.diffuse[i1, c] + q2 * points.diffuse[i2, c]
            a[AT_SHINE + c] += q0 * points.shine[i0, c] + q1 * points.shine[i1, c] + q2 * points.shine[i2, c]
    else:
        for c in range(3):
            a[AT_NORMAL + c] += q0 * points.normal[i0, c] + q1 * points.normal[i1, c] + q2 * points.normal[i2, c]
            a[AT_LIGHT + c] += q0 * points.in_light[i0, c] + q1 * points.in_light[i1, c] + q2 * points.in_light[i2, c]
        for c in range(EXTRAS):
            a[AT_EXTRA + c] += q0 * points.extra[i0, c] + q1 * points.extra[i1, c] + q2 * points.extra[i2, c]
        a[AT_OCCLUSION] += q0 * points.occlusion[i0] + q1 * points.occlusion[i1] + q2 * points.occlusion[i2]


@njit(cache=True)
def shade_opaque(ss, samples, triangles, points, surfaces, lighting, view, image):
    """Shade what is nearest. Samples of one output pixel that show the same part are shaded once.

    ``view`` is (cx, cy, focal) in samples; ``image`` (H, W, 3) receives radiance per sample.
    """
    H, W = samples.triangle.shape
    limit = ss * ss
    a = np.zeros(ATTRIBUTES, np.float64)
    done = np.zeros(limit, np.bool_)
    rgba = np.zeros(4, np.float64)
    rgb = np.zeros(3, np.float64)
    for Y in range(H // ss):
        for X in range(W // ss):
            vx = (view[0] - (X + 0.5) * ss) / view[2]
            vy = ((Y + 0.5) * ss - view[1]) / view[2]
            r = 1.0 / math.sqrt(vx * vx + vy * vy + 1.0)
            done[:] = False
            for s in range(limit):
                t = samples.triangle[Y * ss + s // ss, X * ss + s % ss]
                if done[s] or t < 0:
                    continue
                # Samples of this part at this depth share the colour found at the centre of those
                # that hit the same triangle.
                part = triangles.part[t]
                near = samples.near[Y * ss + s // ss, X * ss + s % ss]
                w1 = 0.0
                w2 = 0.0
                n = 0
                for k in range(s, limit):
                    y = Y * ss + k // ss
                    x = X * ss + k % ss
                    other = samples.triangle[y, x]
                    if other == t:
                        w1 += samples.b1[y, x]
                        w2 += samples.b2[y, x]
                        n += 1
                kind = surfaces.kind[part]
                a[:] = 0.0
                gather(a, t, w1 / n, w2 / n, triangles, points, kind == HAIR)
                shade(
                    kind,
                    a,
                    triangles.level[t],
                    surfaces.texture[part],
                    surfaces.material[part],
                    surfaces.texels,
                    surfaces.table,
                    lighting.lights,
                    lighting.shadows,
                    lighting.bias,
                    vx * r,
                    vy * r,
                    r,
                    rgba,
                    rgb,
                )
                for k in range(s, limit):
                    y = Y * ss + k // ss
                    x = X * ss + k % ss
                    other = samples.triangle[y, x]
                    if other < 0 or done[k] or triangles.part[other] != part:
                        continue
                    if other == t or abs(samples.near[y, x] - near) < 0.004 * near:
                        done[k] = True
                        for c in range(3):
                            image[y, x, c] = rgb[c]


@njit(cache=True)
def blend_translucent(order, triangles, points, surfaces, lighting, view, near, image, cover):
    """Blend triangles, listed far to near, over ``image`` where nothing opaque is nearer."""
    H, W = near.shape
    a = np.zeros(ATTRIBUTES, np.float64)
    rgba = np.zeros(4, np.float64)
    rgb = np.zeros(3, np.float64)
    for k in range(order.shape[0]):
        t = order[k]
        i0 = triangles.corners[t, 0]
        i1 = triangles.corners[t, 1]
        i2 = triangles.corners[t, 2]
        x0 = points.screen[i0, 0]
        y0 = points.screen[i0, 1]
        ex1 = points.screen[i1, 0] - x0
        ey1 = points.screen[i1, 1] - y0
        ex2 = points.screen[i2, 0] - x0
        ey2 = points.screen[i2, 1] - y0
        xa = max(0, math.ceil(min(x0, x0 + ex1, x0 + ex2) - 0.5))
        xb = min(W - 1, math.floor(max(x0, x0 + ex1, x0 + ex2) - 0.5))
        ya = max(0, math.ceil(min(y0, y0 + ey1, y0 + ey2) - 0.5))
        yb = min(H - 1, math.floor(max(y0, y0 + ey1, y0 + ey2) - 0.5))
        if xa > xb or ya > yb:
            continue
        inv = 1.0 / (ex1 * ey2 - ex2 * ey1)
        z0 = points.screen[i0, 2]
        dz1 = points.screen[i1, 2] - z0
        dz2 = points.screen[i2, 2] - z0
        part = triangles.part[t]
        kind = surfaces.kind[part]
        tex = surfaces.texture[part]
        material = surfaces.material[part]
        for y in range(ya, yb + 1):
            py = y + 0.5 - y0
            for x in range(xa, xb + 1):
                px = x + 0.5 - x0
                w1 = (px * ey2 - ex2 * py) * inv
                w2 = (ex1 * py - px * ey1) * inv
                if w1 < 0.0 or w2 < 0.0 or w1 + w2 > 1.0:
                    continue
                if z0 + w1 * dz1 + w2 * dz2 <= near[y, x] * NEARER:
                    continue
                if kind == HAIR:
                    w0 = 1.0 - w1 - w2
                    u = (
                        w0 * points.uv[triangles.uv_corners[t, 0], 0]
                        + w1 * points.uv[triangles.uv_corners[t, 1], 0]
                        + w2 * points.uv[triangles.uv_corners[t, 2], 0]
                    )
                    v = (
                        w0 * points.uv[triangles.uv_corners[t, 0], 1]
                        + w1 * points.uv[triangles.uv_corners[t, 1], 1]
                        + w2 * points.uv[triangles.uv_corners[t, 2], 1]
                    )
                    fetch(surfaces.texels, surfaces.table, tex, triangles.level[t], u, v, rgba)
                    alpha = (
                        rgba[3]
                        * (w0 * points.alpha[i0] + w1 * points.alpha[i1] + w2 * points.alpha[i2])
                        * material[ALPHA]
                    )
                    if alpha < 0.02:
                        continue
                    hair_albedo(material[COLOUR : COLOUR + 3], material[GRAY], rgba[0] * 2.0, rgba[1], rgb)
                    glint = 0.4 + 1.2 * rgba[1]
                    for c in range(3):
                        tint = 0.03 + 0.55 * math.sqrt(max(rgb[c], 0.0))
                        lit = w0 * points.diffuse[i0, c] + w1 * points.diffuse[i1, c] + w2 * points.diffuse[i2, c]
                        high = w0 * points.shine[i0, c] + w1 * points.shine[i1, c] + w2 * points.shine[i2, c]
                        rgb[c] = rgb[c] * lit + high * glint * tint
                else:
                    a[:] = 0.0
                    gather(a, t, w1, w2, triangles, points, False)
                    vx = (view[0] - x - 0.5) / view[2]
                    vy = (y + 0.5 - view[1]) / view[2]
                    r = 1.0 / math.sqrt(vx * vx + vy * vy + 1.0)
                    shade(
                        PLASTIC,
                        a,
                        triangles.level[t],
                        tex,
                        material,
                        surfaces.texels,
                        surfaces.table,
                        lighting.lights,
                        lighting.shadows,
                        lighting.bias,
                        vx * r,
                        vy * r,
                        r,
                        rgba,
                        rgb,
                    )
                    alpha = material[ALPHA]
                for c in range(3):
                    image[y, x, c] += alpha * (rgb[c] - image[y, x, c])
                cover[y, x] += alpha * (1.0 - cover[y, x])
