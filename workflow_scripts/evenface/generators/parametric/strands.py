"""Noise, and the colour and light of hair strands. All light is linear."""

from __future__ import annotations

import math

from numba import njit

from .raster import lit_share

# Rows of the light table (6, 3).
KEY_DIRECTION, KEY_COLOUR, FILL_DIRECTION, FILL_COLOUR, SKY, GROUND = range(6)


@njit(cache=True)
def hash01(x, y):
    """Uniform value in [0, 1) from two integers."""
    n = (x * 374761393 + y * 668265263) & 0xFFFFFFFF
    n = ((n ^ (n >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((n ^ (n >> 16)) & 0xFFFF) / 65536.0


@njit(cache=True)
def value_noise(x, y):
    """Smooth noise in [0, 1) on the unit lattice."""
    fx = math.floor(x)
    fy = math.floor(y)
    ax = x - fx
    ay = y - fy
    ix = int(fx)
    iy = int(fy)
    ax = ax * ax * (3.0 - 2.0 * ax)
    ay = ay * ay * (3.0 - 2.0 * ay)
    top = hash01(ix, iy) * (1.0 - ax) + hash01(ix + 1, iy) * ax
    low = hash01(ix, iy + 1) * (1.0 - ax) + hash01(ix + 1, iy + 1) * ax
    return top * (1.0 - ay) + low * ay


@njit(cache=True)
def hair_albedo(colour, gray, shade, strand, out):
    """Albedo of a spot of hair: ``shade`` around 1, ``strand`` noise 0..1 decides which strands are gray."""
    # Sparse gray strands lie mostly buried among the others.
    g = gray * (0.35 + 0.65 * gray)
    g += (strand - 0.5) * 1.8 * g * (1.0 - g)
    g = min(max(g, 0.0), 1.0)
    k = shade * (0.8 + 0.4 * strand)
    out[0] = (colour[0] * (1.0 - g) + 0.37 * g) * k
    out[1] = (colour[1] * (1.0 - g) + 0.365 * g) * k
    out[2] = (colour[2] * (1.0 - g) + 0.355 * g) * k


@njit(cache=True)
def light_hair(start, end, P, N, T, AO, Q, camera, lights, zmap, bias, strength, VD, VS):
    """Diffuse light and two-lobe strand highlights (Kajiya-Kay) at hair vertices start..end.

    ``T`` (n, 3) are strand directions; ``VS`` holds the neutral and the coloured lobe's intensity
    summed over lights (3 columns, the coloured lobe is folded in by the caller's albedo).
    """
    for i in range(start, end):
        vx = camera[0] - P[i, 0]
        vy = camera[1] - P[i, 1]
        vz = camera[2] - P[i, 2]
        r = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
        vx *= r
        vy *= r
        vz *= r
        nx = N[i, 0]
        ny = N[i, 1]
        nz = N[i, 2]
        lit = lit_share(Q[i, 0], Q[i, 1], Q[i, 2], zmap, bias)
        ao = 0.38 + 0.62 * AO[i]
        up = 0.5 + 0.5 * ny
        for c in range(3):
            VD[i, c] = (lights[GROUND, c] * (1.0 - up) + lights[SKY, c] * up) * ao
            VS[i, c] = 0.0
        for k in range(2):
            d = KEY_DIRECTION if k == 0 else FILL_DIRECTION
            share = lit if k == 0 else 0.4 + 0.6 * AO[i]
            lx = lights[d, 0]
            ly = lights[d, 1]
            lz = lights[d, 2]
            nl = (nx * lx + ny * ly + nz * lz + 0.35) / 1.35
            if nl <= 0.0:
                continue
            hx = lx + vx
            hy = ly + vy
            hz = lz + vz
            r = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-12)
            th = (T[i, 0] * hx + T[i, 1] * hy + T[i, 2] * hz) * r
            s = max(1.0 - th * th, 0.0)
            s2 = s * s
            s4 = s2 * s2
            s8 = s4 * s4
            s16 = s8 * s8
            lobe = strength * (0.5 * s16 * s16 * s8 + 0.22 * s8) * min(nl * 2.0, 1.0)
            for c in range(3):
                VD[i, c] += lights[d + 1, c] * nl * share
                VS[i, c] += lights[d + 1, c] * lobe * share
