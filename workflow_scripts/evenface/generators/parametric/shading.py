"""Shading kernels. All light is linear; colours are albedos; light intensities absorb 1/pi."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .raster import fetch, lit_share

# Kinds of surface.
SKIN, EYE, HAIR, CLOTH, TEETH, PLASTIC, LENS = range(7)

# Columns of a part's material row.
COLOUR, GRAY, SPECULAR, GLOSS, ALPHA, SECOND_TEX, SECOND_SHARE = 0, 3, 4, 5, 6, 7, 8
LIPSTICK, LIP_COLOUR, SHADOW, SHADOW_COLOUR = 9, 10, 13, 14
RELIEF, BEARD_COLOUR, BEARD_GRAY, NORMALIZER, MASK_TEX, KEEP_COLOUR, SCALP_COLOUR = 17, 18, 21, 22, 23, 24, 25
WRINKLES, PORES, MATERIAL_SIZE = 28, 29, 32

# Rows of the light table (6, 3).
KEY_DIRECTION, KEY_COLOUR, FILL_DIRECTION, FILL_COLOUR, SKY, GROUND = range(6)

#: Interpolated attributes of a sample: u, v, normal, light-space position, occlusion, extras,
#: lit diffuse and specular of vertex-lit parts.
_U, _V, _N, _Q, _AO, _EX, _VD, _VS, _COUNT = 0, 2 - 1, 2, 5, 8, 9, 12, 15, 18


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
    g = gray + (strand - 0.5) * 1.8 * gray * (1.0 - gray)
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


@njit(cache=True)
def _skin(a, level, tex, material, texels, table, rgba, rgb):
    """Skin albedo into ``rgb`` with everything painted on it; bends the normal in ``a`` by relief."""
    u = a[_U]
    v = a[_V]
    fetch(texels, table, tex, level, u, v, rgba)
    share = material[SECOND_SHARE]
    r0 = rgba[0] * rgba[0] * 4.0
    r1 = rgba[1] * rgba[1] * 4.0
    r2 = rgba[2] * rgba[2] * 4.0
    if share > 0.0:
        fetch(texels, table, int(material[SECOND_TEX]), level, u, v, rgba)
        r0 += share * (rgba[0] * rgba[0] * 4.0 - r0)
        r1 += share * (rgba[1] * rgba[1] * 4.0 - r1)
        r2 += share * (rgba[2] * rgba[2] * 4.0 - r2)
    relief = material[RELIEF]
    if relief > 0.0:
        # The head's UV island lies on its side: u runs down the face, v to the image's right.
        step = 1.5 / table[tex, level, 1]
        source = int(material[SECOND_TEX]) if share > 0.5 else tex
        if share <= 0.5 and share > 0.0:
            fetch(texels, table, tex, level, u, v, rgba)
        here = rgba[3]
        fetch(texels, table, source, level, u + step, v, rgba)
        a[_N + 1] += (rgba[3] - here) * relief * 1.4
        fetch(texels, table, source, level, u, v + step, rgba)
        a[_N] -= (rgba[3] - here) * relief * 1.4
    pores = material[PORES]
    grain = value_noise(u * 900.0, v * 900.0) - 0.5
    mottle = value_noise(u * 160.0 + 31.0, v * 160.0) - 0.5
    k = 1.0 + pores * (0.16 * grain + 0.10 * mottle)
    rgb[0] = material[COLOUR] * r0 * k
    rgb[1] = material[COLOUR + 1] * r1 * k * (1.0 - 0.04 * mottle)
    rgb[2] = material[COLOUR + 2] * r2 * k * (1.0 - 0.05 * mottle)
    fetch(texels, table, int(material[MASK_TEX]), level, u, v, rgba)
    lips = rgba[0]
    lids = rgba[1]
    mouth = rgba[2]
    aged = material[WRINKLES]
    if aged > 0.0:
        crease = rgba[3]
        step = 1.0 / table[int(material[MASK_TEX]), level, 1]
        fetch(texels, table, int(material[MASK_TEX]), level, u + step, v, rgba)
        a[_N + 1] -= (rgba[3] - crease) * aged * 0.9
        fetch(texels, table, int(material[MASK_TEX]), level, u, v + step, rgba)
        a[_N] += (rgba[3] - crease) * aged * 0.9
        k = 1.0 - 0.30 * aged * crease
        rgb[0] *= k
        rgb[1] *= k * (1.0 - 0.06 * aged * crease)
        rgb[2] *= k * (1.0 - 0.06 * aged * crease)
    flush = a[_EX + 2]
    if flush != 0.0:
        rgb[0] *= 1.0 + 0.10 * flush
        rgb[1] *= 1.0 - 0.22 * flush
        rgb[2] *= 1.0 - 0.16 * flush
    if lips > 0.0:
        # Natural lips: a little darker and redder than the skin around them.
        rgb[0] *= 1.0 - 0.16 * lips
        rgb[1] *= 1.0 - 0.30 * lips
        rgb[2] *= 1.0 - 0.25 * lips
        k = lips * material[LIPSTICK] * 0.8
        if k > 0.0:
            light = (0.35 + 0.5 * (r0 + r1 + r2) / 3.0) * (0.55 + 0.9 * material[COLOUR])
            for c in range(3):
                rgb[c] += k * (material[LIP_COLOUR + c] * light - rgb[c])
    k = lids * material[SHADOW]
    if k > 0.0:
        for c in range(3):
            rgb[c] += k * (material[SHADOW_COLOUR + c] - rgb[c])
    if mouth > 0.0:
        k = mouth * (1.0 - lips)
        rgb[0] += k * (0.20 - rgb[0])
        rgb[1] += k * (0.055 - rgb[1])
        rgb[2] += k * (0.05 - rgb[2])
    density = a[_EX] * (1.0 - lips)
    if density > 0.004:
        # Strands of a beard: noise stretched along the growth direction, cut at the density.
        strand = 0.6 * value_noise(u * 420.0, v * 1500.0) + 0.4 * value_noise(u * 900.0 + 7.0, v * 2300.0)
        cover = (strand - (0.92 - 1.05 * density)) / 0.35
        cover = min(max(cover, 0.0), 1.0) * min(density * 3.0, 1.0)
        # Stubble is too short to show strands: fine grain over a shadow.
        short = density * (0.55 + 1.1 * hash01(int(u * 2600.0), int(v * 2600.0)))
        k = min(max((density - 0.35) * 4.0, 0.0), 1.0)
        cover = short + (cover - short) * k
        hair_albedo(material[BEARD_COLOUR : BEARD_COLOUR + 3], material[BEARD_GRAY], 0.7 + 0.6 * grain + 0.2, strand, rgba)
        for c in range(3):
            rgb[c] += cover * (rgba[c] - rgb[c])
    density = a[_EX + 1]
    if density > 0.004:
        strand = 0.5 * value_noise(u * 700.0, v * 700.0) + 0.5 * value_noise(u * 1700.0, v * 1700.0 + 5.0)
        cover = min(max((strand - (0.9 - 1.2 * density)) / 0.5, 0.0), 1.0) * min(density * 2.0, 1.0)
        hair_albedo(material[SCALP_COLOUR : SCALP_COLOUR + 3], material[GRAY], 0.8 + 0.4 * grain, strand, rgba)
        for c in range(3):
            rgb[c] += cover * (rgba[c] - rgb[c])
    return lips


@njit(cache=True)
def shade(kind, a, level, tex, material, texels, table, lights, zmap, bias, vx, vy, vz, rgba, rgb):
    """Radiance of one spot into ``rgb`` from its interpolated attributes ``a``."""
    lips = 0.0
    if kind == HAIR:
        fetch(texels, table, tex, level, a[_U], a[_V], rgba)
        hair_albedo(material[COLOUR : COLOUR + 3], material[GRAY], rgba[0] * 2.0, rgba[1], rgb)
        glint = 0.4 + 1.2 * rgba[1]
        for c in range(3):
            # The sharp lobe is white, half of the highlight is tinted by the strand.
            tint = 0.03 + 0.55 * math.sqrt(max(rgb[c], 0.0))
            rgb[c] = rgb[c] * a[_VD + c] + a[_VS + c] * glint * tint
        return
    if kind == SKIN:
        lips = _skin(a, level, tex, material, texels, table, rgba, rgb)
    elif kind == PLASTIC:
        for c in range(3):
            rgb[c] = material[COLOUR + c]
    else:
        fetch(texels, table, tex, level, a[_U], a[_V], rgba)
        if kind == CLOTH:
            light = 0.3 * rgba[0] * rgba[0] + 0.59 * rgba[1] * rgba[1] + 0.11 * rgba[2] * rgba[2]
            light = light / material[NORMALIZER]
            light = min(0.35 + 0.65 * light, 1.8)
            keep = material[KEEP_COLOUR]
            for c in range(3):
                own = rgba[c] * rgba[c]
                rgb[c] = material[COLOUR + c] * light * (1.0 - keep) + own * keep
        else:
            light = 0.3 * rgba[0] * rgba[0] + 0.59 * rgba[1] * rgba[1] + 0.11 * rgba[2] * rgba[2]
            light0 = light
            keep = material[KEEP_COLOUR]
            if kind == EYE:
                # The photographed irises are lit from inside; the white is what should be bright.
                light *= 0.74 + 0.26 * min(max((light - 0.25) * 4.0, 0.0), 1.0)
            for c in range(3):
                rgb[c] = (light + keep * (rgba[c] * rgba[c] - light0)) * material[COLOUR + c]
    nx = a[_N]
    ny = a[_N + 1]
    nz = a[_N + 2]
    r = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    nx *= r
    ny *= r
    nz *= r
    ao = a[_AO]
    lit = lit_share(a[_Q], a[_Q + 1], a[_Q + 2], zmap, bias)
    up = 0.5 + 0.5 * ny
    nv = max(nx * vx + ny * vy + nz * vz, 0.0)
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    d0 = lights[GROUND, 0] * (1.0 - up) + lights[SKY, 0] * up
    d1 = lights[GROUND, 1] * (1.0 - up) + lights[SKY, 1] * up
    d2 = lights[GROUND, 2] * (1.0 - up) + lights[SKY, 2] * up
    edge = 1.0 - nv
    edge = edge * edge * edge * edge * edge
    specular = material[SPECULAR]
    if kind == SKIN:
        specular *= 1.0 + 1.2 * lips
    mirror = specular * (0.03 + 0.20 * edge) * 0.35 * ao
    s0 = d0 * mirror
    s1 = d1 * mirror
    s2 = d2 * mirror
    if kind == SKIN:
        # Light that has been inside the skin comes out red: creases darken less in red.
        d0 *= ao * (1.0 + 0.30 * (1.0 - ao))
        d1 *= ao
        d2 *= ao * (1.0 - 0.08 * (1.0 - ao))
        w0 = 0.30
        w1 = 0.14
        w2 = 0.10
    else:
        d0 *= ao
        d1 *= ao
        d2 *= ao
        w0 = 0.06
        w1 = 0.06
        w2 = 0.06
    gloss = material[GLOSS]
    for k in range(2):
        d = KEY_DIRECTION if k == 0 else FILL_DIRECTION
        lx = lights[d, 0]
        ly = lights[d, 1]
        lz = lights[d, 2]
        nl = nx * lx + ny * ly + nz * lz
        share = lit if k == 0 else 0.35 + 0.65 * ao
        k0 = max((nl + w0) / (1.0 + w0), 0.0)
        k1 = max((nl + w1) / (1.0 + w1), 0.0)
        k2 = max((nl + w2) / (1.0 + w2), 0.0)
        red = share
        if kind == SKIN:
            red = share + 0.10 * math.sqrt(share) * (1.0 - share)
        d0 += lights[d + 1, 0] * k0 * red
        d1 += lights[d + 1, 1] * k1 * share
        d2 += lights[d + 1, 2] * k2 * share
        if specular > 0.0 and nl > 0.0:
            hx = lx + vx
            hy = ly + vy
            hz = lz + vz
            r = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-12)
            nh = max((nx * hx + ny * hy + nz * hz) * r, 0.0)
            f = 1.0 - (vx * hx + vy * hy + vz * hz) * r
            f = max(f, 0.0)
            f = f * f * f * f * f
            lobe = math.exp(-gloss * (1.0 - nh)) * (gloss + 8.0) / 25.0
            if kind == SKIN:
                lobe += 0.35 * math.exp(-4.0 * gloss * (1.0 - nh)) * (4.0 * gloss + 8.0) / 25.0
            if kind == EYE:
                share = 0.5 + 0.5 * share
            lobe *= specular * (0.03 + 0.3 * f) * share * math.sqrt(nl)
            s0 += lights[d + 1, 0] * lobe
            s1 += lights[d + 1, 1] * lobe
            s2 += lights[d + 1, 2] * lobe
    rgb[0] = rgb[0] * d0 + s0
    rgb[1] = rgb[1] * d1 + s1
    rgb[2] = rgb[2] * d2 + s2


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
    a[_U] += q0 * UV[j0, 0] + q1 * UV[j1, 0] + q2 * UV[j2, 0]
    a[_V] += q0 * UV[j0, 1] + q1 * UV[j1, 1] + q2 * UV[j2, 1]
    if hair:
        for c in range(3):
            a[_VD + c] += q0 * VD[i0, c] + q1 * VD[i1, c] + q2 * VD[i2, c]
            a[_VS + c] += q0 * VS[i0, c] + q1 * VS[i1, c] + q2 * VS[i2, c]
    else:
        for c in range(3):
            a[_N + c] += q0 * N[i0, c] + q1 * N[i1, c] + q2 * N[i2, c]
            a[_Q + c] += q0 * Q[i0, c] + q1 * Q[i1, c] + q2 * Q[i2, c]
            a[_EX + c] += q0 * EX[i0, c] + q1 * EX[i1, c] + q2 * EX[i2, c]
        a[_AO] += q0 * AO[i0] + q1 * AO[i1] + q2 * AO[i2]


@njit(cache=True)
def shade_opaque(
    ss, zbuf, idbuf, b1, b2, S, FI, TI, PART, LOD, UV, N, Q, AO, EX, VD, VS, part_kind, part_tex, materials, texels, table,
    lights, zmap, bias, view, image,
):
    """Shade what is nearest. Samples of one output pixel that show the same part are shaded once.

    ``view`` is (cx, cy, focal) in samples; ``image`` (H, W, 3) receives radiance per sample.
    """
    H, W = idbuf.shape
    limit = ss * ss
    a = np.zeros(_COUNT, np.float64)
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
                    kind, a, LOD[t], part_tex[part], materials[part], texels, table, lights, zmap, bias, vx * r, vy * r, r,
                    rgba, rgb,
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
    order, S, FI, TI, PART, LOD, UV, N, Q, AO, EX, VD, VS, VA, part_kind, part_tex, part_cut, materials, texels, table,
    lights, zmap, bias, view, zbuf, image, cover,
):
    """Blend triangles, listed far to near, over ``image`` where nothing opaque is nearer."""
    H, W = zbuf.shape
    a = np.zeros(_COUNT, np.float64)
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
        xa = max(0, int(math.ceil(min(x0, x0 + ex1, x0 + ex2) - 0.5)))
        xb = min(W - 1, int(math.floor(max(x0, x0 + ex1, x0 + ex2) - 0.5)))
        ya = max(0, int(math.ceil(min(y0, y0 + ey1, y0 + ey2) - 0.5)))
        yb = min(H - 1, int(math.floor(max(y0, y0 + ey1, y0 + ey2) - 0.5)))
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
                if z0 + w1 * dz1 + w2 * dz2 <= zbuf[y, x]:
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
                    shade(PLASTIC, a, LOD[t], tex, material, texels, table, lights, zmap, bias, vx * r, vy * r, r, rgba, rgb)
                    alpha = material[ALPHA]
                for c in range(3):
                    image[y, x, c] += alpha * (rgb[c] - image[y, x, c])
                cover[y, x] += alpha * (1.0 - cover[y, x])
