"""Deterministic rasterisation kernels: triangle setup, depth, alpha, shadow maps, textures.

Everything is compiled without ``fastmath``, so every process gives the same bytes.
Depth is 1/distance (linear in screen space, larger is nearer, 0 is empty).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

#: Columns of the texture table: for each level (offset, width, height).
LEVELS = 7


@njit(cache=True)
def fetch(texels, table, tex, level, u, v, out):
    """Bilinear RGBA (0..1, wrapping) of texture ``tex`` at mip ``level`` into ``out``."""
    off = table[tex, level, 0]
    w = table[tex, level, 1]
    h = table[tex, level, 2]
    x = u * w - 0.5
    y = (1.0 - v) * h - 0.5
    fx = math.floor(x)
    fy = math.floor(y)
    ax = x - fx
    ay = y - fy
    x0 = int(fx) % w
    y0 = int(fy) % h
    x1 = x0 + 1
    if x1 == w:
        x1 = 0
    y1 = y0 + 1
    if y1 == h:
        y1 = 0
    a = off + (y0 * w + x0) * 4
    b = off + (y0 * w + x1) * 4
    c = off + (y1 * w + x0) * 4
    d = off + (y1 * w + x1) * 4
    wa = (1.0 - ax) * (1.0 - ay) / 255.0
    wb = ax * (1.0 - ay) / 255.0
    wc = (1.0 - ax) * ay / 255.0
    wd = ax * ay / 255.0
    for k in range(4):
        out[k] = texels[a + k] * wa + texels[b + k] * wb + texels[c + k] * wc + texels[d + k] * wd


@njit(cache=True)
def fetch_channel(texels, table, tex, level, u, v, channel):
    """Nearest texel of one channel, 0..1."""
    w = table[tex, level, 1]
    h = table[tex, level, 2]
    x = math.floor(u * w) % w
    y = math.floor((1.0 - v) * h) % h
    return texels[table[tex, level, 0] + (y * w + x) * 4 + channel] / 255.0


@njit(cache=True)
def project(P, camera, focal, cx, cy, out):
    """Screen x, y (pixels) and 1/depth of points ``P`` (n, 3) into ``out`` (n, 3) float32."""
    for i in range(P.shape[0]):
        depth = camera[2] - P[i, 2]
        inv = 1.0 / depth if depth > 0.05 else 0.0
        out[i, 0] = cx + (P[i, 0] - camera[0]) * focal * inv
        out[i, 1] = cy - (P[i, 1] - camera[1]) * focal * inv
        out[i, 2] = inv


@njit(cache=True)
def setup(S, F, T, UV, voff, toff, tsize, part, cull, width, height, bias, FI, TI, PART, LOD, count):
    """Append the triangles of one part that can be seen to the shared lists; returns the new count.

    ``cull`` > 0 drops triangles that face away; ``tsize`` is the texture's (width * height) area in
    texels for the choice of mip level, ``bias`` is added to that level.
    """
    for t in range(F.shape[0]):
        i0 = F[t, 0] + voff
        i1 = F[t, 1] + voff
        i2 = F[t, 2] + voff
        if S[i0, 2] <= 0.0 or S[i1, 2] <= 0.0 or S[i2, 2] <= 0.0:
            continue
        x0 = S[i0, 0]
        y0 = S[i0, 1]
        x1 = S[i1, 0]
        y1 = S[i1, 1]
        x2 = S[i2, 0]
        y2 = S[i2, 1]
        if max(x0, x1, x2) < 0.0 or min(x0, x1, x2) > width or max(y0, y1, y2) < 0.0 or min(y0, y1, y2) > height:
            continue
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-7 or (cull > 0 and area > 0.0):
            continue
        j0 = T[t, 0]
        j1 = T[t, 1]
        j2 = T[t, 2]
        uva = abs((UV[j1, 0] - UV[j0, 0]) * (UV[j2, 1] - UV[j0, 1]) - (UV[j2, 0] - UV[j0, 0]) * (UV[j1, 1] - UV[j0, 1]))
        ratio = uva * tsize / abs(area)
        level = bias
        while ratio > 2.0 and level < LEVELS - 1:
            ratio *= 0.25
            level += 1
        FI[count, 0] = i0
        FI[count, 1] = i1
        FI[count, 2] = i2
        TI[count, 0] = j0 + toff
        TI[count, 1] = j1 + toff
        TI[count, 2] = j2 + toff
        PART[count] = part
        LOD[count] = min(max(level, 0), LEVELS - 1)
        count += 1
    return count


@njit(cache=True)
def depth_pass(S, FI, TI, PART, LOD, UV, VA, start, end, part_tex, part_cut, texels, table, zbuf, idbuf, b1, b2):
    """Nearest triangle of every sample; parts with ``part_cut`` > 0 discard texels of lower alpha.

    Alpha is the texture's fourth channel times the vertex alpha ``VA``.
    """
    H, W = zbuf.shape
    for t in range(start, end):
        i0 = FI[t, 0]
        i1 = FI[t, 1]
        i2 = FI[t, 2]
        x0 = S[i0, 0]
        y0 = S[i0, 1]
        ex1 = S[i1, 0] - x0
        ey1 = S[i1, 1] - y0
        ex2 = S[i2, 0] - x0
        ey2 = S[i2, 1] - y0
        area = ex1 * ey2 - ex2 * ey1
        xa = max(0, math.ceil(min(x0, x0 + ex1, x0 + ex2) - 0.5))
        xb = min(W - 1, math.floor(max(x0, x0 + ex1, x0 + ex2) - 0.5))
        ya = max(0, math.ceil(min(y0, y0 + ey1, y0 + ey2) - 0.5))
        yb = min(H - 1, math.floor(max(y0, y0 + ey1, y0 + ey2) - 0.5))
        if xa > xb or ya > yb:
            continue
        inv = 1.0 / area
        z0 = S[i0, 2]
        dz1 = S[i1, 2] - z0
        dz2 = S[i2, 2] - z0
        part = PART[t]
        cut = part_cut[part]
        gx1 = ey2 * inv
        gx2 = -ey1 * inv
        gy1 = -ex2 * inv
        gy2 = ex1 * inv
        for y in range(ya, yb + 1):
            py = y + 0.5 - y0
            for x in range(xa, xb + 1):
                px = x + 0.5 - x0
                w1 = px * gx1 + py * gy1
                w2 = px * gx2 + py * gy2
                if w1 < 0.0 or w2 < 0.0 or w1 + w2 > 1.0:
                    continue
                z = z0 + w1 * dz1 + w2 * dz2
                if z <= zbuf[y, x]:
                    continue
                if cut > 0.0:
                    w0 = 1.0 - w1 - w2
                    u = w0 * UV[TI[t, 0], 0] + w1 * UV[TI[t, 1], 0] + w2 * UV[TI[t, 2], 0]
                    v = w0 * UV[TI[t, 0], 1] + w1 * UV[TI[t, 1], 1] + w2 * UV[TI[t, 2], 1]
                    a = fetch_channel(texels, table, part_tex[part], LOD[t], u, v, 3)
                    a *= w0 * VA[i0] + w1 * VA[i1] + w2 * VA[i2]
                    if a < cut:
                        continue
                zbuf[y, x] = z
                idbuf[y, x] = t
                b1[y, x] = w1
                b2[y, x] = w2


@njit(cache=True)
def shadow_pass(Q, F, T, UV, voff, tex, cut, VA, texels, table, zmap):
    """Depth map of one part seen along a light: ``Q`` (n, 3) map coordinates, larger z is nearer."""
    S = zmap.shape[0]
    for t in range(F.shape[0]):
        i0 = F[t, 0] + voff
        i1 = F[t, 1] + voff
        i2 = F[t, 2] + voff
        x0 = Q[i0, 0]
        y0 = Q[i0, 1]
        ex1 = Q[i1, 0] - x0
        ey1 = Q[i1, 1] - y0
        ex2 = Q[i2, 0] - x0
        ey2 = Q[i2, 1] - y0
        area = ex1 * ey2 - ex2 * ey1
        if abs(area) < 1e-9:
            continue
        xa = max(0, math.ceil(min(x0, x0 + ex1, x0 + ex2) - 0.5))
        xb = min(S - 1, math.floor(max(x0, x0 + ex1, x0 + ex2) - 0.5))
        ya = max(0, math.ceil(min(y0, y0 + ey1, y0 + ey2) - 0.5))
        yb = min(S - 1, math.floor(max(y0, y0 + ey1, y0 + ey2) - 0.5))
        inv = 1.0 / area
        z0 = Q[i0, 2]
        dz1 = Q[i1, 2] - z0
        dz2 = Q[i2, 2] - z0
        gx1 = ey2 * inv
        gx2 = -ey1 * inv
        gy1 = -ex2 * inv
        gy2 = ex1 * inv
        for y in range(ya, yb + 1):
            py = y + 0.5 - y0
            for x in range(xa, xb + 1):
                px = x + 0.5 - x0
                w1 = px * gx1 + py * gy1
                w2 = px * gx2 + py * gy2
                if w1 < 0.0 or w2 < 0.0 or w1 + w2 > 1.0:
                    continue
                z = z0 + w1 * dz1 + w2 * dz2
                if z <= zmap[y, x]:
                    continue
                if cut > 0.0:
                    w0 = 1.0 - w1 - w2
                    u = w0 * UV[T[t, 0], 0] + w1 * UV[T[t, 1], 0] + w2 * UV[T[t, 2], 0]
                    v = w0 * UV[T[t, 0], 1] + w1 * UV[T[t, 1], 1] + w2 * UV[T[t, 2], 1]
                    a = fetch_channel(texels, table, tex, 0, u, v, 3) * (w0 * VA[i0] + w1 * VA[i1] + w2 * VA[i2])
                    if a < cut:
                        continue
                zmap[y, x] = z


@njit(cache=True)
def light_space(P, basis, origin, extent, size, out):
    """Map coordinates of points in the depth map of a light: texels across, height along the light."""
    k = 0.5 * size / extent
    for i in range(P.shape[0]):
        a = P[i, 0] - origin[0]
        b = P[i, 1] - origin[1]
        c = P[i, 2] - origin[2]
        out[i, 0] = (basis[0, 0] * a + basis[0, 1] * b + basis[0, 2] * c) * k + 0.5 * size
        out[i, 1] = (basis[1, 0] * a + basis[1, 1] * b + basis[1, 2] * c) * k + 0.5 * size
        out[i, 2] = basis[2, 0] * a + basis[2, 1] * b + basis[2, 2] * c


@njit(cache=True)
def lit_share(x, y, z, zmap, bias):
    """Share of light that reaches map coordinates (x, y, z): bilinear 3x3 percentage-closer filter."""
    S = zmap.shape[0]
    gx = math.floor(x - 0.5)
    gy = math.floor(y - 0.5)
    fx = x - 0.5 - gx
    fy = y - 0.5 - gy
    x0 = int(gx) - 1
    y0 = int(gy) - 1
    if x0 < 0 or y0 < 0 or x0 + 3 >= S or y0 + 3 >= S:
        return 1.0
    total = 0.0
    for j in range(4):
        wy = 1.0
        if j == 0:
            wy = 1.0 - fy
        elif j == 3:
            wy = fy
        for i in range(4):
            if zmap[y0 + j, x0 + i] <= z + bias:
                wx = 1.0
                if i == 0:
                    wx = 1.0 - fx
                elif i == 3:
                    wx = fx
                total += wx * wy
    return total / 9.0


def light_basis(direction) -> np.ndarray:
    """Orthonormal rows (across, up, towards the light) for a light direction (3,)."""
    d = np.asarray(direction, np.float64)
    d = d / math.sqrt(float(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]))
    up = np.array([0.0, 1.0, 0.0]) if abs(d[1]) < 0.95 else np.array([0.0, 0.0, 1.0])
    x = np.cross(up, d)
    x /= math.sqrt(float(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]))
    return np.stack([x, np.cross(d, x), d]).astype(np.float32)
