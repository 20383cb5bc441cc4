"""Shading kernels. All light is linear; colours are albedos; light intensities absorb 1/pi."""

from __future__ import annotations

import math

from numba import njit

from .raster import fetch, lit_share
from .strands import FILL_DIRECTION, GROUND, KEY_DIRECTION, SKY, hair_albedo, hash01, value_noise

# Kinds of surface.
SKIN, EYE, HAIR, CLOTH, TEETH, PLASTIC, LENS = range(7)

# Columns of a part's material row.
COLOUR, GRAY, SPECULAR, GLOSS, ALPHA, SECOND_TEX, SECOND_SHARE = 0, 3, 4, 5, 6, 7, 8
LIPSTICK, LIP_COLOUR, SHADOW, SHADOW_COLOUR = 9, 10, 13, 14
RELIEF, BEARD_COLOUR, BEARD_GRAY, NORMALIZER, MASK_TEX, KEEP_COLOUR, SCALP_COLOUR = 17, 18, 21, 22, 23, 24, 25
PORES, FINE, CREASE_TEX, SPOTS, BLOTCHES, PATTERN, LIP_FADE = 28, 29, 30, 31, 32, 33, 34
#: Directions in which the creases' slopes are measured (3 columns each): the posed head's right and up.
HEAD_RIGHT, HEAD_UP, MATERIAL_SIZE = 35, 38, 42

#: Interpolated attributes of a sample: u, v, normal, light-space position, occlusion, extras,
#: lit diffuse and specular of vertex-lit parts.
AT_U, AT_V, AT_NORMAL, AT_LIGHT, AT_OCCLUSION, AT_EXTRA, AT_DIFFUSE, AT_SHINE, ATTRIBUTES = (
    0,
    1,
    2,
    5,
    8,
    9,
    14,
    17,
    20,
)
#: Columns of the extras: facial hair, scalp hair, flush, depth of folds, depth of fine lines.
EXTRA_BEARD, EXTRA_SCALP, EXTRA_FLUSH, EXTRA_FOLDS, EXTRA_LINES, EXTRAS = 0, 1, 2, 3, 4, 5

#: Where the crease textures begin in the UV square, and how often they fit into it (``textures.FACE_CORNER``).
CORNER_U, CORNER_V, FITS_U, FITS_V = 0.75, 0.25, 4.0, 2.0


@njit(cache=True)
def _age(a, level, material, texels, table, rgba, rgb):
    """Folds, fine lines, blotches and spots of age: darkens ``rgb``, bends the normal in ``a``."""
    u = a[AT_U]
    v = a[AT_V]
    folds = a[AT_EXTRA + EXTRA_FOLDS]
    lines = a[AT_EXTRA + EXTRA_LINES]
    spotted = 0.0
    if (folds > 0.0 or lines > 0.0) and u > CORNER_U and CORNER_V < v < 1.0 - CORNER_V:
        su = (u - CORNER_U) * FITS_U
        sv = (v - CORNER_V) * FITS_V
        fetch(texels, table, int(material[CREASE_TEX]), level, su, sv, rgba)
        right = folds * (rgba[0] - 0.5)
        up = folds * (rgba[1] - 0.5)
        dark = 1.2 * folds * rgba[2]
        # Thin skin under the eyes lets blood show.
        k = min(folds, 1.3) * rgba[3]
        rgb[0] *= 1.0 - 0.24 * k
        rgb[1] *= 1.0 - 0.31 * k
        rgb[2] *= 1.0 - 0.24 * k
        fetch(texels, table, int(material[CREASE_TEX]) + 1, level, su, sv, rgba)
        right += lines * (rgba[0] - 0.5)
        up += lines * (rgba[1] - 0.5)
        dark = min(dark + lines * rgba[2] * (1.0 - 0.5 * dark), 1.2)
        spotted = rgba[3]
        for c in range(3):
            # The textures hold slopes from -1.5 to 1.5.
            a[AT_NORMAL + c] -= 3.0 * (right * material[HEAD_RIGHT + c] + up * material[HEAD_UP + c])
        rgb[0] *= 1.0 - 0.26 * dark
        rgb[1] *= 1.0 - 0.36 * dark
        rgb[2] *= 1.0 - 0.40 * dark
    pattern = material[PATTERN]
    k = material[BLOTCHES]
    if k > 0.0:
        blotch = value_noise(u * 64.0 + pattern, v * 37.0) + 0.5 * value_noise(u * 150.0, v * 87.0 + pattern) - 0.75
        rgb[0] *= 1.0 + 0.10 * k * blotch
        rgb[1] *= 1.0 + 0.26 * k * blotch
        rgb[2] *= 1.0 + 0.24 * k * blotch
    k = material[SPOTS] * spotted
    if k > 0.0:
        spot = value_noise(u * 120.0 + pattern, v * 70.0 + 17.0) + 0.3 * value_noise(u * 400.0, v * 230.0) - 0.98
        k *= min(max(spot * 6.0, 0.0), 1.0)
        rgb[0] *= 1.0 - 0.20 * k
        rgb[1] *= 1.0 - 0.29 * k
        rgb[2] *= 1.0 - 0.36 * k


@njit(cache=True)
def _skin(a, level, tex, material, texels, table, rgba, rgb):
    """Skin albedo into ``rgb`` with everything painted on it; bends the normal in ``a`` by relief."""
    u = a[AT_U]
    v = a[AT_V]
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
        a[AT_NORMAL + 1] += (rgba[3] - here) * relief * 1.4
        fetch(texels, table, source, level, u, v + step, rgba)
        a[AT_NORMAL] -= (rgba[3] - here) * relief * 1.4
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
    _age(a, level, material, texels, table, rgba, rgb)
    flush = a[AT_EXTRA + EXTRA_FLUSH]
    if flush != 0.0:
        rgb[0] *= 1.0 + 0.10 * flush
        rgb[1] *= 1.0 - 0.22 * flush
        rgb[2] *= 1.0 - 0.16 * flush
    if lips > 0.0:
        # Natural lips: a little darker and redder than the skin around them.
        k = lips * (1.0 - material[LIP_FADE])
        rgb[0] *= 1.0 - 0.16 * k
        rgb[1] *= 1.0 - 0.30 * k
        rgb[2] *= 1.0 - 0.25 * k
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
    density = a[AT_EXTRA + EXTRA_BEARD] * (1.0 - lips)
    if density > 0.004:
        # Strands of a beard: noise stretched along the growth direction, cut at the density.
        strand = 0.6 * value_noise(u * 420.0, v * 1500.0) + 0.4 * value_noise(u * 900.0 + 7.0, v * 2300.0)
        strand = 0.5 + (strand - 0.5) * material[FINE]
        cover = (strand - (0.92 - 1.05 * density)) / 0.35
        cover = min(max(cover, 0.0), 1.0) * min(density * 3.0, 1.0)
        # Stubble is too short to show strands: fine grain over a shadow.
        short = density * (1.1 + 1.1 * material[FINE] * (hash01(int(u * 2600.0), int(v * 2600.0)) - 0.5))
        k = min(max((density - 0.35) * 4.0, 0.0), 1.0)
        cover = short + (cover - short) * k
        hair_albedo(
            material[BEARD_COLOUR : BEARD_COLOUR + 3],
            material[BEARD_GRAY],
            0.9 + 0.8 * grain * material[FINE],
            strand,
            rgba,
        )
        for c in range(3):
            rgb[c] += cover * (rgba[c] - rgb[c])
    density = a[AT_EXTRA + EXTRA_SCALP]
    if density > 0.004:
        strand = 0.5 * value_noise(u * 700.0, v * 700.0) + 0.5 * value_noise(u * 1700.0, v * 1700.0 + 5.0)
        strand = 0.5 + (strand - 0.5) * material[FINE]
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
        fetch(texels, table, tex, level, a[AT_U], a[AT_V], rgba)
        hair_albedo(material[COLOUR : COLOUR + 3], material[GRAY], rgba[0] * 2.0, rgba[1], rgb)
        glint = 0.4 + 1.2 * rgba[1]
        for c in range(3):
            # The sharp lobe is white, half of the highlight is tinted by the strand.
            tint = 0.03 + 0.55 * math.sqrt(max(rgb[c], 0.0))
            rgb[c] = rgb[c] * a[AT_DIFFUSE + c] + a[AT_SHINE + c] * glint * tint
        return
    if kind == SKIN:
        lips = _skin(a, level, tex, material, texels, table, rgba, rgb)
    elif kind == PLASTIC:
        for c in range(3):
            rgb[c] = material[COLOUR + c]
    else:
        fetch(texels, table, tex, level, a[AT_U], a[AT_V], rgba)
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
    nx = a[AT_NORMAL]
    ny = a[AT_NORMAL + 1]
    nz = a[AT_NORMAL + 2]
    r = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    nx *= r
    ny *= r
    nz *= r
    ao = a[AT_OCCLUSION]
    lit = lit_share(a[AT_LIGHT], a[AT_LIGHT + 1], a[AT_LIGHT + 2], zmap, bias)
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
