"""Screen passes: shading what is nearest in every sample, then blending translucent triangles over it."""

from __future__ import annotations

import math

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


@njit(cache=True)
def gather(a, t, w1, w2, S, FI, TI, UV, N, Q, AO, EX, VD, VS, hair):
    """Perspective-correct attributes of triangle ``t`` at screen barycentrics w1, w2, added to ``a``."""
    i0 = FI[t, 0]
    i1 = FI[t, 1]
    i2 = FI[t, 2]
    q0 = (1.0 - w1 - w2) * S[i0, 2]
    q1 = w1 * S[i1, 2]
    q2 = w2 * S[i2, 2]
    r = 1.0 / (q0 + q1 + q2)
    q0 *= r
    q1 *= r
    q2 *= r
    j0 = TI[t, 0]
    j1 = TI[t, 1]
    j2 = TI[t, 2]
    a[AT_U] += q0 * UV[j0, 0] + q1 * UV[j1, 0] + q2 * UV[j2, 0]
    a[AT_V] += q0 * UV[j0, 1] + q1 * UV[j1, 1] + q2 * UV[j2, 1]
    if hair:
        for c in range(3):
            a[AT_DIFFUSE + c] += q0 * VD[i0, c] + q1 * VD[i1, c] + q2 * VD[i2, c]
            a[AT_SHINE + c] += q0 * VS[i0, c] + q1 * VS[i1, c] + q2 * VS[i2, c]
    else:
        for c in range(3):
            a[AT_NORMAL + c] += q0 * N[i0, c] + q1 * N[i1, c] + q2 * N[i2, c]
            a[AT_LIGHT + c] += q0 * Q[i0, c] + q1 * Q[i1, c] + q2 * Q[i2, c]
        for c in range(EXTRAS):
            a[AT_EXTRA + c] += q0 * EX[i0, c] + q1 * EX[i1, c] + q2 * EX[i2, c]
        a[AT_OCCLUSION] += q0 * AO[i0] + q1 * AO[i1] + q2 * AO[i2]


@njit(cache=True)
def shade_opaque(
    ss,
    zbuf,
    idbuf,
    b1,
    b2,
    S,
    FI,
    TI,
    PART,
    LOD,
    UV,
    N,
    Q,
    AO,
    EX,
    VD,
    VS,
    part_kind,
    part_tex,
    materials,
    texels,
    table,
    lights,
    zmap,
    bias,
    view,
    image,
):
    """Shade what is nearest. Samples of one output pixel that show the same part are shaded once.

    ``view`` is (cx, cy, focal) in samples; ``image`` (H, W, 3) receives radiance per sample.
    """
    H, W = idbuf.shape
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
                t = idbuf[Y * ss + s // ss, X * ss + s % ss]
                if done[s] or t < 0:
                    continue
                # Samples of this part at this depth share the colour found at the centre of those
                # that hit the same triangle.
                part = PART[t]
                near = zbuf[Y * ss + s // ss, X * ss + s % ss]
                w1 = 0.0
                w2 = 0.0
                n = 0
                for k in range(s, limit):
                    y = Y * ss + k // ss
                    x = X * ss + k % ss
                    other = idbuf[y, x]
                    if other == t:
                        w1 += b1[y, x]
                        w2 += b2[y, x]
                        n += 1
                kind = part_kind[part]
                a[:] = 0.0
                gather(a, t, w1 / n, w2 / n, S, FI, TI, UV, N, Q, AO, EX, VD, VS, kind == HAIR)
                shade(
                    kind,
                    a,
                    LOD[t],
                    part_tex[part],
                    materials[part],
                    texels,
                    table,
                    lights,
                    zmap,
                    bias,
                    vx * r,
                    vy * r,
                    r,
                    rgba,
                    rgb,
                )
                for k in range(s, limit):
                    y = Y * ss + k // ss
                    x = X * ss + k % ss
                    other = idbuf[y, x]
                    if other < 0 or done[k] or PART[other] != part:
                        continue
                    if other == t or abs(zbuf[y, x] - near) < 0.004 * near:
                        done[k] = True
                        for c in range(3):
                            image[y, x, c] = rgb[c]


@njit(cache=True)
def blend_translucent(
    order,
    S,
    FI,
    TI,
    PART,
    LOD,
    UV,
    N,
    Q,
    AO,
    EX,
    VD,
    VS,
    VA,
    part_kind,
    part_tex,
    part_cut,
    materials,
    texels,
    table,
    lights,
    zmap,
    bias,
    view,
    zbuf,
    image,
    cover,
):
    """Blend triangles, listed far to near, over ``image`` where nothing opaque is nearer."""
    H, W = zbuf.shape
    a = np.zeros(ATTRIBUTES, np.float64)
    rgba = np.zeros(4, np.float64)
    rgb = np.zeros(3, np.float64)
    for k in range(order.shape[0]):
        t = order[k]
        i0 = FI[t, 0]
        i1 = FI[t, 1]
        i2 = FI[t, 2]
        x0 = S[i0, 0]
        y0 = S[i0, 1]
        ex1 = S[i1, 0] - x0
        ey1 = S[i1, 1] - y0
        ex2 = S[i2, 0] - x0
        ey2 = S[i2, 1] - y0
        xa = max(0, math.ceil(min(x0, x0 + ex1, x0 + ex2) - 0.5))
        xb = min(W - 1, math.floor(max(x0, x0 + ex1, x0 + ex2) - 0.5))
        ya = max(0, math.ceil(min(y0, y0 + ey1, y0 + ey2) - 0.5))
        yb = min(H - 1, math.floor(max(y0, y0 + ey1, y0 + ey2) - 0.5))
        if xa > xb or ya > yb:
            continue
        inv = 1.0 / (ex1 * ey2 - ex2 * ey1)
        z0 = S[i0, 2]
        dz1 = S[i1, 2] - z0
        dz2 = S[i2, 2] - z0
        part = PART[t]
        kind = part_kind[part]
        tex = part_tex[part]
        material = materials[part]
        for y in range(ya, yb + 1):
            py = y + 0.5 - y0
            for x in range(xa, xb + 1):
                px = x + 0.5 - x0
                w1 = (px * ey2 - ex2 * py) * inv
                w2 = (ex1 * py - px * ey1) * inv
                if w1 < 0.0 or w2 < 0.0 or w1 + w2 > 1.0:
                    continue
                if z0 + w1 * dz1 + w2 * dz2 <= zbuf[y, x] * NEARER:
                    continue
                if kind == HAIR:
                    w0 = 1.0 - w1 - w2
                    u = w0 * UV[TI[t, 0], 0] + w1 * UV[TI[t, 1], 0] + w2 * UV[TI[t, 2], 0]
                    v = w0 * UV[TI[t, 0], 1] + w1 * UV[TI[t, 1], 1] + w2 * UV[TI[t, 2], 1]
                    fetch(texels, table, tex, LOD[t], u, v, rgba)
                    alpha = rgba[3] * (w0 * VA[i0] + w1 * VA[i1] + w2 * VA[i2]) * material[ALPHA]
                    if alpha < 0.02:
                        continue
                    hair_albedo(material[COLOUR : COLOUR + 3], material[GRAY], rgba[0] * 2.0, rgba[1], rgb)
                    glint = 0.4 + 1.2 * rgba[1]
                    for c in range(3):
                        tint = 0.03 + 0.55 * math.sqrt(max(rgb[c], 0.0))
                        lit = w0 * VD[i0, c] + w1 * VD[i1, c] + w2 * VD[i2, c]
                        high = w0 * VS[i0, c] + w1 * VS[i1, c] + w2 * VS[i2, c]
                        rgb[c] = rgb[c] * lit + high * glint * tint
                else:
                    a[:] = 0.0
                    gather(a, t, w1, w2, S, FI, TI, UV, N, Q, AO, EX, VD, VS, False)
                    vx = (view[0] - x - 0.5) / view[2]
                    vy = (y + 0.5 - view[1]) / view[2]
                    r = 1.0 / math.sqrt(vx * vx + vy * vy + 1.0)
                    shade(
                        PLASTIC,
                        a,
                        LOD[t],
                        tex,
                        material,
                        texels,
                        table,
                        lights,
                        zmap,
                        bias,
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
