"""Renders a described face. The same description gives the same bytes in any process, on any x86-64 processor.

Operations on which processors differ are avoided. Compiled kernels neither reorder nor fuse operations.
Instead of single-precision functions of NumPy and OpenCV, we use double precision and round once, which
hides the last bits. Sums that BLAS would order are written out. ``tests/unit/test_processors.py`` proves
this with emulated instruction sets. We also measured what another mathematical library might change: with
all vertices off by their last bit, one pixel of a clean picture in 30,000 changed by more than one grey level
(48 pictures; the largest change was 31, where an edge moved by a sample). After JPEG, which spreads one level
over its 8 x 8 block, it was one pixel in 800 (largest change 23).

Pipeline: morph the head, fit and pose the parts, project, find the nearest triangle of every
sample, shade what is visible (once per output pixel and part), blend hair wisps, lashes and
lenses, composite over the backdrop, tone-map.
"""

from __future__ import annotations

import math
import os

import numpy as np
from numba import njit

from evenface.generators.parametric import ASSETS_VERSION

from . import backdrop, passes, raster, strands
from . import shading as sh
from .archives import map_arrays
from .face import Face
from .morph import TargetBank
from .parts import Library
from .scene import Scene, SceneBuilder

SHADOW_SIZE = 256
#: Half the width (decimetres) of the box around the head that casts shadows.
SHADOW_EXTENT = np.float32(2.6)
#: Slope of the shoulder of the tone curve: larger keeps bright tones linear for longer.
SHOULDER = 2.4
_CURVE_SIZE = 4096
_CURVE_MAX = 8.0


def _tone_curve() -> np.ndarray:
    """sRGB levels (0..255, float32) by sqrt(linear / _CURVE_MAX)."""
    out = np.empty(_CURVE_SIZE, np.float32)
    for k in range(_CURVE_SIZE):
        x = _CURVE_MAX * (k / (_CURVE_SIZE - 1)) ** 2
        y = x / (1 + x**SHOULDER) ** (1 / SHOULDER)
        out[k] = 255 * (12.92 * y if y <= 0.0031308 else 1.055 * y ** (1 / 2.4) - 0.055)
    return out


@njit(cache=True)
def _develop(image, cover, behind, ss, curve, limit, out, mask):
    """Average samples, composite over the backdrop and apply the tone curve."""
    H, W = out.shape[:2]
    top = curve.shape[0] - 1
    inv = 1.0 / (ss * ss)
    for y in range(H):
        for x in range(W):
            r = 0.0
            g = 0.0
            b = 0.0
            c = 0.0
            for j in range(ss):
                for i in range(ss):
                    r += image[y * ss + j, x * ss + i, 0]
                    g += image[y * ss + j, x * ss + i, 1]
                    b += image[y * ss + j, x * ss + i, 2]
                    c += cover[y * ss + j, x * ss + i]
            c *= inv
            mask[y, x] = int(min(max(c, 0.0), 1.0) * 255 + 0.5)
            for k in range(3):
                v = (r if k == 0 else g if k == 1 else b) * inv + behind[y, x, k] * (1.0 - c)
                p = math.sqrt(min(max(v, 0.0), limit) / limit) * top
                i0 = int(p)
                i1 = min(i0 + 1, top)
                v = curve[i0] + (curve[i1] - curve[i0]) * (p - i0)
                out[y, x, k] = int(v + 0.5)


class Renderer:
    """Renders faces from one asset file. It needs about 150 MB of memory and is not thread-safe.

    Raises UserError when the asset file is missing, damaged or of another version.
    """

    def __init__(self, assets_path: str | os.PathLike):
        arrays = map_arrays(assets_path)
        if int(arrays["version"][0]) != ASSETS_VERSION:
            from evenface.errors import UserError

            raise UserError(
                f"{assets_path} holds face assets of version {int(arrays['version'][0])}, this code needs "
                f"{ASSETS_VERSION}; delete the file and build it again"
            )
        self.library = Library(arrays)
        self.builder = SceneBuilder(self.library, TargetBank(arrays))
        self.curve = _tone_curve()

    def render(self, face: Face, supersample: int = 2) -> np.ndarray:
        """The picture of ``face``: uint8 (height, width, 3) sRGB, ``supersample``² samples a pixel."""
        return self.render_with_masks(face, supersample)[0]

    def render_with_masks(self, face: Face, supersample: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """The picture and the person's coverage, uint8 (height, width), 255 inside."""
        frame, ss = face.framing, supersample
        scene = self.builder.build(face)
        camera, focal, cx, cy = self._camera(face, scene)
        view = np.array([cx * ss, cy * ss, focal * ss], np.float64)
        W, H = frame.width * ss, frame.height * ss
        screen = np.empty((len(scene.points), 3), np.float32)
        raster.project(scene.points, camera, view[2], view[0], view[1], screen)
        lights = self._lights(face)
        zmap, in_light = self._shadows(face, scene, lights)
        opaque, wisps, lists = self._triangles(scene, screen, W, H, ss)
        FI, TI, part_of, level = lists
        kinds, textures, cuts = (
            np.array([p.kind for p in scene.pieces], np.int64),
            np.array([p.texture for p in scene.pieces], np.int64),
            np.array([p.cut for p in scene.pieces], np.float64),
        )
        texels, table = self.library.texels, self.library.table
        zbuf = np.zeros((H, W), np.float32)
        nearest = np.full((H, W), -1, np.int32)
        b1, b2 = np.empty((H, W), np.float32), np.empty((H, W), np.float32)
        for start, end in opaque:
            raster.depth_pass(
                screen,
                FI,
                TI,
                part_of,
                level,
                scene.uv,
                scene.alpha,
                start,
                end,
                textures,
                cuts,
                texels,
                table,
                zbuf,
                nearest,
                b1,
                b2,
            )
        diffuse, shine = np.zeros_like(scene.points), np.zeros_like(scene.points)
        for piece in scene.pieces:
            if piece.kind == sh.HAIR:
                self._light_hair(piece, scene, camera, lights, zmap, in_light, diffuse, shine)
        image = np.zeros((H, W, 3), np.float32)
        triangles = passes.Triangles(*lists)
        points = passes.Points(
            screen, scene.uv, scene.normals, in_light, scene.occlusion, scene.extra, diffuse, shine, scene.alpha
        )
        surfaces = passes.Surfaces(kinds, textures, scene.materials, texels, table)
        lighting = passes.Lighting(lights, zmap, 0.05)
        samples = passes.Samples(zbuf, nearest, b1, b2)
        passes.shade_opaque(ss, samples, triangles, points, surfaces, lighting, view, image)
        cover = (nearest >= 0).astype(np.float32)
        if wisps:
            order = np.concatenate([np.arange(a, b) for a, b in wisps])
            depth = screen[FI[order], 2].sum(1)
            order = order[np.argsort(depth, kind="stable")]
            passes.blend_translucent(order, triangles, points, surfaces, lighting, view, zbuf, image, cover)
        behind = backdrop.paint(face.backdrop, frame.width, frame.height)
        out = np.empty((frame.height, frame.width, 3), np.uint8)
        mask = np.empty((frame.height, frame.width), np.uint8)
        _develop(image, cover, behind, ss, self.curve, _CURVE_MAX, out, mask)
        return out, mask

    def landmarks(self, face: Face) -> np.ndarray:
        """Pixel positions (5, 2) float32 of the left-in-image eye, right eye, nose tip, mouth corners."""
        scene = self.builder.build(face)
        camera, focal, cx, cy = self._camera(face, scene)
        out = np.empty((5, 3), np.float32)
        raster.project(scene.landmarks, camera, focal, cx, cy, out)
        return out[:, :2]

    # -- steps -----------------------------------------------------------------------------------

    def _camera(self, face: Face, scene: Scene) -> tuple[np.ndarray, float, float, float]:
        """Camera position, focal length (px) and principal point that put the eyes where framing says."""
        frame = face.framing
        focal = frame.height / 2 / math.tan(frame.field_of_view / 2)
        left, right = scene.landmarks[0].astype(np.float64), scene.landmarks[1].astype(np.float64)
        middle = (left + right) / 2
        apart = right - left
        # A head turned away is enlarged at most 1.5 times.
        full = math.sqrt(float((apart * apart).sum()))
        seen = max(math.sqrt(float(apart[0] ** 2 + apart[1] ** 2)), full / 1.5)
        distance = focal * seen / frame.eye_distance
        camera = np.array([middle[0], middle[1], middle[2] + distance], np.float32)
        # If one eye is nearer than the other, perspective shifts their midpoint. Correct this.
        xs = [(p[0] - middle[0]) * focal / (camera[2] - p[2]) for p in (left, right)]
        ys = [(p[1] - middle[1]) * focal / (camera[2] - p[2]) for p in (left, right)]
        return camera, focal, frame.eye_x - (xs[0] + xs[1]) / 2, frame.eye_y + (ys[0] + ys[1]) / 2

    @staticmethod
    def _lights(face: Face) -> np.ndarray:
        light = face.light
        out = np.empty((6, 3), np.float64)
        for row, azimuth, elevation in (
            (strands.KEY_DIRECTION, light.key_azimuth, light.key_elevation),
            (strands.FILL_DIRECTION, light.fill_azimuth, light.fill_elevation),
        ):
            flat = math.cos(elevation)
            out[row] = (math.sin(azimuth) * flat, math.sin(elevation), math.cos(azimuth) * flat)
        out[strands.KEY_COLOUR], out[strands.FILL_COLOUR] = light.key_colour, light.fill_colour
        out[strands.SKY], out[strands.GROUND] = light.sky_colour, light.ground_colour
        return out

    def _shadows(self, face: Face, scene: Scene, lights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        basis = raster.light_basis(lights[strands.KEY_DIRECTION])
        in_light = np.empty_like(scene.points)
        raster.light_space(scene.points, basis, scene.centre, SHADOW_EXTENT, SHADOW_SIZE, in_light)
        zmap = np.full((SHADOW_SIZE, SHADOW_SIZE), -1e9, np.float32)
        at = 0
        for piece in scene.pieces:
            if piece.casts:
                raster.shadow_pass(
                    in_light,
                    piece.faces,
                    piece.uv_faces + at,
                    scene.uv,
                    piece.start,
                    piece.texture,
                    0.5 if piece.kind == sh.HAIR else 0.0,
                    scene.alpha,
                    self.library.texels,
                    self.library.table,
                    zmap,
                )
            at += len(piece.uv)
        return zmap, in_light

    def _triangles(self, scene: Scene, screen, W: int, H: int, ss: int):
        """Visible triangles in shared lists, with the ranges to draw solid and to blend."""
        total = sum(len(p.faces) for p in scene.pieces)
        FI, TI = np.empty((total, 3), np.int32), np.empty((total, 3), np.int32)
        part_of, level = np.empty(total, np.int16), np.empty(total, np.int8)
        solid, blended = [], []
        count = at = 0
        # Mip levels are chosen for output pixels, samples being ss times finer.
        for k, piece in enumerate(scene.pieces):
            w, h = self.library.table[piece.texture, 0, 1:]
            begin = count
            count = raster.setup(
                screen,
                piece.faces,
                piece.uv_faces,
                piece.uv,
                piece.start,
                at,
                float(w * h) * ss * ss * (0.25 if piece.kind == sh.HAIR else 0.6),
                k,
                int(piece.cull),
                float(W),
                float(H),
                0,
                FI,
                TI,
                part_of,
                level,
                count,
            )
            at += len(piece.uv)
            if not piece.translucent or piece.cut > 0:
                solid.append((begin, count))
            if piece.translucent:
                blended.append((begin, count))
        return solid, blended, (FI, TI, part_of, level)

    @staticmethod
    def _light_hair(piece, scene: Scene, camera, lights, zmap, in_light, diffuse, shine) -> None:
        start, end = piece.start, piece.start + len(piece.points)
        strength = {"hair": 0.9, "brows": 0.1, "lashes": 0.0}[piece.name]
        bias = 0.14 if piece.name == "hair" else 0.08
        strands.light_hair(
            start,
            end,
            scene.points,
            scene.normals,
            scene.tangents,
            scene.occlusion,
            in_light,
            camera,
            lights,
            zmap,
            bias,
            strength,
            diffuse,
            shine,
        )
