"""Per-image geometry kernels: fitting proxies, posing, normals; and glasses built from tubes."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True)
def fit_proxy(base, ref, weight, offset, scale, out):
    """Positions of a proxy's vertices over ``base`` (see ``meshes.Proxy``) into ``out`` (n, 3)."""
    for i in range(ref.shape[0]):
        for k in range(3):
            total = offset[i, k] * scale
            for j in range(3):
                total += base[ref[i, j], k] * weight[i, j]
            out[i, k] = total


@njit(cache=True)
def pose_points(P, head, body, pivot, low, high, out):
    """Turn points: all by ``body`` (3, 3), those above the neck also by ``head``, blended between heights."""
    for i in range(P.shape[0]):
        t = (P[i, 1] - low) / (high - low)
        t = min(max(t, 0.0), 1.0)
        t = t * t * (3.0 - 2.0 * t)
        x = P[i, 0] - pivot[0]
        y = P[i, 1] - pivot[1]
        z = P[i, 2] - pivot[2]
        hx = x + t * (head[0, 0] * x + head[0, 1] * y + head[0, 2] * z - x)
        hy = y + t * (head[1, 0] * x + head[1, 1] * y + head[1, 2] * z - y)
        hz = z + t * (head[2, 0] * x + head[2, 1] * y + head[2, 2] * z - z)
        out[i, 0] = body[0, 0] * hx + body[0, 1] * hy + body[0, 2] * hz + pivot[0]
        out[i, 1] = body[1, 0] * hx + body[1, 1] * hy + body[1, 2] * hz + pivot[1]
        out[i, 2] = body[2, 0] * hx + body[2, 1] * hy + body[2, 2] * hz + pivot[2]


@njit(cache=True)
def add_normals(P, F, voff, N):
    """Add area-weighted face normals of faces ``F`` (vertices shifted by ``voff``) to ``N``."""
    for t in range(F.shape[0]):
        a = F[t, 0] + voff
        b = F[t, 1] + voff
        c = F[t, 2] + voff
        ux = P[b, 0] - P[a, 0]
        uy = P[b, 1] - P[a, 1]
        uz = P[b, 2] - P[a, 2]
        vx = P[c, 0] - P[a, 0]
        vy = P[c, 1] - P[a, 1]
        vz = P[c, 2] - P[a, 2]
        nx = uy * vz - uz * vy
        ny = uz * vx - ux * vz
        nz = ux * vy - uy * vx
        for i in (a, b, c):
            N[i, 0] += nx
            N[i, 1] += ny
            N[i, 2] += nz


@njit(cache=True)
def normalize(N):
    for i in range(N.shape[0]):
        length = math.sqrt(N[i, 0] * N[i, 0] + N[i, 1] * N[i, 1] + N[i, 2] * N[i, 2])
        if length > 1e-12:
            N[i, 0] /= length
            N[i, 1] /= length
            N[i, 2] /= length


@njit(cache=True)
def round_normals(P, N, start, end, centre, radial):
    """Blend normals of vertices start..end with the direction away from ``centre``, facing outwards."""
    for i in range(start, end):
        x = P[i, 0] - centre[0]
        y = P[i, 1] - centre[1]
        z = P[i, 2] - centre[2]
        length = math.sqrt(x * x + y * y + z * z) + 1e-9
        x /= length
        y /= length
        z /= length
        sign = 1.0 if N[i, 0] * x + N[i, 1] * y + N[i, 2] * z >= 0.0 else -1.0
        sign *= 1.0 - radial
        nx = N[i, 0] * sign + x * radial
        ny = N[i, 1] * sign + y * radial
        nz = N[i, 2] * sign + z * radial
        length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        N[i, 0] = nx / length
        N[i, 1] = ny / length
        N[i, 2] = nz / length


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Head rotation (3, 3) float32: yaw to the image's right, pitch up, roll clockwise in the image."""
    cy, sy = math.cos(yaw), math.sin(yaw)
    cp, sp = math.cos(-pitch), math.sin(-pitch)
    cr, sr = math.cos(-roll), math.sin(-roll)
    turn = [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]
    nod = [[1, 0, 0], [0, cp, -sp], [0, sp, cp]]
    tilt = [[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]
    return np.array(_product(tilt, _product(turn, nod)), np.float32)


def _product(a, b):
    return [[sum(a[i][k] * b[k][j] for k in range(3)) for j in range(3)] for i in range(3)]


def tube(path: np.ndarray, radius: np.ndarray, sides: int, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a tube of per-point ``radius`` around ``path`` (n, 3)."""
    n = len(path)
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead = ahead / np.sqrt((ahead * ahead).sum(1, keepdims=True))
    side = np.cross(ahead, np.array([0.0, 0.3, 1.0]))
    side = side / np.sqrt((side * side).sum(1, keepdims=True))
    up = np.cross(side, ahead)
    angles = [2 * math.pi * k / sides for k in range(sides)]
    ring = [side * math.cos(a) + up * math.sin(a) for a in angles]
    vertices = np.stack([path + r * radius[:, None] for r in ring], 1).reshape(-1, 3)
    faces = []
    for i in range(n if closed else n - 1):
        j = (i + 1) % n
        for k in range(sides):
            m = (k + 1) % sides
            a, b, c, d = i * sides + k, i * sides + m, j * sides + m, j * sides + k
            faces += [(a, b, c), (a, c, d)]
    return vertices.astype(np.float32), np.array(faces, np.int32)


def glasses(kind: str, left, right, ear_x: float, ear_z: float, front_z: float):
    """Frame and lenses around the eyes; returns (frame vertices, faces), (lens vertices, faces).

    ``left`` and ``right`` are the eye centres in the image's sense of the unrotated head,
    ``ear_x`` half the head's width, ``ear_z`` the depth of the ears, ``front_z`` that of the lenses.
    """
    a, b, power, thick = {"round": (0.235, 0.225, 2.0, 0.014), "square": (0.265, 0.180, 4.0, 0.017)}.get(
        kind, (0.262, 0.205, 2.6, 0.016)
    )
    steps = 28
    rims, frame_v, frame_f, lens_v, lens_f = [], [], [], [], []

    def add(vertices, faces):
        frame_f.append(faces + sum(len(v) for v in frame_v))
        frame_v.append(vertices)

    for eye in (left, right):
        outward = 1.0 if eye[0] > 0 else -1.0
        points = []
        for k in range(steps):
            t = 2 * math.pi * k / steps
            c, s = math.cos(t), math.sin(t)
            x = a * math.copysign(abs(c) ** (2 / power), c)
            y = b * math.copysign(abs(s) ** (2 / power), s)
            # Lenses are slightly narrower below and wrap back towards the temples.
            x *= 1 + 0.06 * y / b
            across = eye[0] + outward * 0.01 + x
            points.append((across, eye[1] - 0.035 + y, front_z - 0.16 * max(0.0, abs(across) - 0.12) ** 2))
        rim = np.array(points)
        rims.append(rim)
        add(*tube(rim, np.full(steps, thick), 6, True))
        centre = rim.mean(0) + np.array([0, 0, 0.02])
        base = sum(len(v) for v in lens_v)
        lens_v.append(np.concatenate([rim, centre[None]]).astype(np.float32))
        lens_f.append(np.array([(base + steps, base + k, base + (k + 1) % steps) for k in range(steps)], np.int32))
        hinge = rim[np.argmax(rim[:, 0] * outward)] + np.array([0.01 * outward, 0.06, -0.02])
        ear = np.array([outward * ear_x, eye[1] + 0.06, ear_z])
        bend = np.array([outward * ear_x * 0.98, eye[1] + 0.02, ear_z - 0.12])
        along = np.linspace(0, 1, 7)[:, None]
        bow = np.sin(along * math.pi) * np.array([outward * 0.05, 0, 0])
        temple = np.concatenate([hinge * (1 - along) + ear * along + bow, bend[None]])
        add(*tube(temple, np.linspace(thick, thick * 0.8, len(temple)), 5, False))
    inner = [rim[np.argmin(np.abs(rim[:, 0]) + 3 * np.abs(rim[:, 1] - left[1] - 0.02))] for rim in rims]
    along = np.linspace(0, 1, 6)[:, None]
    bridge = inner[0] * (1 - along) + inner[1] * along + np.sin(along * math.pi) * np.array([0, 0.025, 0.03])
    add(*tube(bridge, np.full(6, thick * 0.9), 5, False))
    return (np.concatenate(frame_v), np.concatenate(frame_f)), (
        np.concatenate(lens_v),
        np.concatenate(lens_f),
    )
