"""Readers of MakeHuman's mesh formats: Wavefront base mesh, morph targets, three.js proxies.

All lengths are MakeHuman units (decimetres), y up, the face looking along +z.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np


@dataclass
class Mesh:
    """Triangles with texture coordinates: ``faces`` index ``vertices``, ``uv_faces`` index ``uv``."""

    vertices: np.ndarray  # (n, 3) float32
    faces: np.ndarray  # (m, 3) int32
    uv: np.ndarray  # (k, 2) float32, v up
    uv_faces: np.ndarray  # (m, 3) int32


@dataclass
class Proxy:
    """A mesh bound to the base mesh: vertex i = sum_j weight[i,j] * base[ref[i,j]] + offset[i] * scale."""

    mesh: Mesh
    ref: np.ndarray  # (n, 3) int32
    weight: np.ndarray  # (n, 3) float32
    offset: np.ndarray  # (n, 3) float32
    hides: np.ndarray  # (base vertices,) bool: base vertices this proxy covers
    textures: list[str]  # diffuse maps, relative to the proxy's folder

    def fit(self, base: np.ndarray) -> np.ndarray:
        """Vertex positions over the base vertices ``base`` (n, 3), at scale 1."""
        return (base[self.ref] * self.weight[:, :, None]).sum(1) + self.offset


def fan(polygons: list[list[int]]) -> np.ndarray:
    """Triangle fan of polygons, (m, 3) int32."""
    return np.array([(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)], np.int32).reshape(-1, 3)


def read_base(text: str) -> tuple[Mesh, dict[str, np.ndarray]]:
    """Base mesh (skin faces only) and the vertex indices of every face group (joints, helpers)."""
    vertices, uv, polygons, uv_polygons = [], [], [], []
    groups: dict[str, set[int]] = {}
    group = ""
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append([float(x) for x in words[1:4]])
        elif words[0] == "vt":
            uv.append([float(x) for x in words[1:3]])
        elif words[0] == "g":
            group = words[1]
        elif words[0] == "f":
            corners = [w.split("/") for w in words[1:]]
            index = [int(c[0]) - 1 for c in corners]
            groups.setdefault(group, set()).update(index)
            if group == "body":
                polygons.append(index)
                uv_polygons.append([int(c[1]) - 1 for c in corners])
    mesh = Mesh(np.array(vertices, np.float32), fan(polygons), np.array(uv, np.float32), fan(uv_polygons))
    return mesh, {name: np.array(sorted(index), np.int32) for name, index in groups.items()}


def read_target(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertex indices (n,) int32 and displacements (n, 3) float32 of one morph target."""
    index, delta = [], []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 4 and words[0].isdigit():
            index.append(int(words[0]))
            delta.append([float(x) for x in words[1:]])
    return np.array(index, np.int32), np.array(delta, np.float32).reshape(-1, 3)


# three.js JSON model format 3: bits of a face's type, and how many numbers each optional field takes.
_QUAD, _MATERIAL, _FACE_UV, _VERTEX_UV = 1, 2, 4, 8
_FACE_NORMAL, _VERTEX_NORMAL, _FACE_COLOUR, _VERTEX_COLOUR = 16, 32, 64, 128


def read_proxy(text: str, base_vertices: int) -> Proxy:
    """A proxy in three.js JSON 3 with MakeHuman's binding arrays."""
    data = json.loads(text)
    stream, at = data["faces"], 0
    polygons, uv_polygons = [], []
    while at < len(stream):
        kind = stream[at]
        at += 1
        corners = 4 if kind & _QUAD else 3
        polygons.append(stream[at : at + corners])
        at += corners
        at += bool(kind & _MATERIAL) + bool(kind & _FACE_UV)
        if kind & _VERTEX_UV:
            uv_polygons.append(stream[at : at + corners])
            at += corners
        else:
            uv_polygons.append([0] * corners)
        at += bool(kind & _FACE_NORMAL) + corners * bool(kind & _VERTEX_NORMAL)
        at += bool(kind & _FACE_COLOUR) + corners * bool(kind & _VERTEX_COLOUR)
    uv = data.get("uvs") or [[]]
    uv = np.array(uv[0] or [0, 0], np.float32).reshape(-1, 2)
    ref = np.array(data["ref_vIdxs"], np.int32)
    hides = np.zeros(base_vertices, bool)
    marked = np.array(data["metadata"].get("deleteVerts") or [], bool)
    hides[: len(marked)] = marked[:base_vertices]
    return Proxy(
        Mesh(np.zeros((len(ref), 3), np.float32), fan(polygons), uv, fan(uv_polygons)),
        ref,
        np.array(data["weights"], np.float32),
        np.array(data["offsets"], np.float32),
        hides,
        [m["mapDiffuse"] for m in data["materials"] if m.get("mapDiffuse")],
    )


def crop(mesh: Mesh, keep: np.ndarray) -> tuple[Mesh, np.ndarray]:
    """Keep the faces where ``keep`` (m,) is true; also returns the old indices of kept vertices."""
    faces, uv_faces = mesh.faces[keep], mesh.uv_faces[keep]
    used, new_faces = np.unique(faces, return_inverse=True)
    used_uv, new_uv = np.unique(uv_faces, return_inverse=True)
    cropped = Mesh(
        mesh.vertices[used],
        new_faces.reshape(faces.shape).astype(np.int32),
        mesh.uv[used_uv],
        new_uv.reshape(uv_faces.shape).astype(np.int32),
    )
    return cropped, used


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals, (n, 3) float32."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    face_normal = np.cross(b - a, c - a)
    normal = np.zeros(vertices.shape)
    for k in range(3):
        np.add.at(normal, faces[:, k], face_normal)
    length = np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return (normal / length).astype(np.float32)
