"""Brows, lashes, hair, hats and glasses; and the pieces that scenes are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import shading as sh
from .aging import amount
from .face import Face
from .geometry import add_normals, fit_proxy, glasses, normalize
from .parts import Library, cap_height
from .regions import smoothstep
from .styles import HairStyle


@dataclass
class Piece:
    """One part as placed in a scene: unposed points and how to draw them."""

    name: str
    kind: int
    points: np.ndarray
    faces: np.ndarray
    uv_faces: np.ndarray
    uv: np.ndarray
    texture: int
    material: np.ndarray
    occlusion: np.ndarray
    alpha: np.ndarray | None = None  # per vertex
    extra: np.ndarray | None = None  # (n, 3)
    cull: bool = True
    cut: float = 0.0  # opaque where alpha is at least this
    translucent: bool = False
    casts: bool = True
    radial: float = 0.0  # how far normals lean away from the skull's centre
    start: int = 0


def material_row(**columns) -> np.ndarray:
    """A row of the material table, (MATERIAL_SIZE,) float64, from column names of ``shading``."""
    row = np.zeros(sh.MATERIAL_SIZE, np.float64)
    row[sh.ALPHA] = 1.0
    row[sh.NORMALIZER] = 1.0
    for name, value in columns.items():
        at = getattr(sh, name)
        if isinstance(value, (tuple, list, np.ndarray)):
            row[at : at + len(value)] = value
        else:
            row[at] = value
    return row


class HeadDress:
    """Builds pieces for the face at hand: shaped ``head`` vertices, eye centres, hair ``style``."""

    library: Library
    face: Face
    head: np.ndarray  # (n, 3) float32, unposed
    scale: float  # of the head against the rest head
    left: np.ndarray  # the person's left eye (right in the image)
    right: np.ndarray
    style: HairStyle | None

    def _fit(self, name: str) -> np.ndarray:
        part = self.library.part(name)
        points = np.empty((len(part.ref), 3), np.float32)
        fit_proxy(self.head, part.ref, part.weight, part.offset, self.scale, points)
        return points

    def _recession(self, x: np.ndarray) -> np.ndarray:
        """How far (dm) the hairline has moved back at distance ``x`` from the middle."""
        # In double precision: NumPy's single-precision functions differ between processors.
        temple = np.exp(-(((x.astype(np.float64) - 0.42) / 0.22) ** 2))
        return self.face.hair.receding * (0.16 + 0.34 * temple)

    def _hair_material(self, colour, gray: float, alpha: float = 1.0) -> np.ndarray:
        return material_row(COLOUR=colour, GRAY=gray, ALPHA=alpha)

    def _brows(self) -> Piece:
        person, hair = self.face.person, self.face.hair
        part = self.library.part(f"eyebrow{person.brow_style:03d}")
        points = self._fit(part.name)
        thick = person.traits.get("brow_thickness", 0.0) + 0.5 * (person.masculinity - 0.5)
        points[:, 1] += part.extra["from_line"] * np.float32(0.55 * thick)
        points[:, 1] += part.extra["arch"] * np.float32(0.05 * person.traits.get("brow_arch", 0.0))
        gray = min(0.7 * hair.gray + amount("gray_brows", self.face.age), 1.0)
        thinner = 1 - 0.35 * amount("gray_brows", self.face.age)
        lightness = sum(hair.colour) / 3
        colour = tuple(c * (0.75 - 0.35 * min(lightness * 4, 1.0)) for c in hair.colour)
        material = self._hair_material(colour, gray, min(0.95 + 0.25 * thick, 1.1) * thinner)
        return Piece(
            "brows",
            sh.HAIR,
            points,
            part.faces,
            part.uv_faces,
            part.uv,
            part.texture,
            material,
            part.occlusion,
            cull=False,
            translucent=True,
            casts=False,
            radial=0.8,
        )

    def _lashes(self) -> Piece:
        person = self.face.person
        style = person.lash_style
        part = self.library.part("Eyelashes01" if style == 1 else f"eyelashes{style:02d}")
        strength = 0.9 - 0.5 * person.masculinity
        material = self._hair_material((0.012, 0.009, 0.008), 0.0, strength)
        return Piece(
            "lashes",
            sh.HAIR,
            self._fit(part.name),
            part.faces,
            part.uv_faces,
            part.uv,
            part.texture,
            material,
            part.occlusion,
            cull=False,
            translucent=True,
            casts=False,
            radial=0.8,
        )

    def _hair(self) -> Piece:
        style, hair = self.style, self.face.hair
        part = self.library.part(style.asset)
        points = self._fit(part.name)
        extra = part.extra
        height = extra["hairline"]
        relief = np.full(len(points), style.inflate)
        if not style.afro:
            # The modelled crowns are high.
            relief *= 1 - 0.35 * smoothstep(0.85, 1.25, -extra["drop"])
        front = 0.0
        if hair.receding > 0 and not style.bangs:
            relative = part.rest - self.library.eyes
            front = smoothstep(0.75, 0.35, -relative[:, 2])
            # A modelled cap cannot open as far as a painted one before its edges hang in the air.
            height = height - 0.6 * self._recession(np.abs(relative[:, 0])) * front
            relief *= 1 - front * (1 - (0.2 + 0.8 * smoothstep(0.0, 0.35, height)))
        foot = self.head[extra["scalp"]]
        points = foot + (points - foot) * relief[:, None].astype(np.float32)
        if style.sweep:
            self._sweep(points, part.rest - self.library.eyes)
        if style.wave > 0:
            self._bend(points, extra, style.wave)
        alpha = np.ones(len(points), np.float32)
        if style.trim is not None:
            unit = float(self.left[0] - self.right[0])
            end = style.trim * unit
            alpha *= smoothstep(end, end - 0.25, extra["drop"]).astype(np.float32)
        dy = -extra["drop"]
        alpha *= 1 - extra["before_face"] * smoothstep(style.fringe + 0.08, style.fringe - 0.04, dy).astype(np.float32)
        alpha *= (1 - front * (1 - smoothstep(-0.08, 0.24, height))).astype(np.float32)
        if self.face.look.hat != "none":
            alpha *= (1 - extra["under_hat"]) * (1 - extra["before_face"])
        material = self._hair_material(hair.colour, hair.gray)
        return Piece(
            "hair",
            sh.HAIR,
            points,
            part.faces,
            part.uv_faces,
            part.uv,
            part.texture,
            material,
            part.occlusion,
            alpha=alpha,
            cull=False,
            cut=0.62,
            translucent=True,
            radial=0.9 if style.afro else 0.55,
        )

    @staticmethod
    def _sweep(points: np.ndarray, relative: np.ndarray) -> None:
        """Draw a long fringe (parted on the left, hanging to the right) aside like a curtain."""
        x, dy, back = relative[:, 0], relative[:, 1], -relative[:, 2]
        edge = 0.22 - 0.80 * smoothstep(0.70, 0.25, dy)
        shift = np.minimum(edge - x, 0.0) * (x < 0.24) * (back < 0.5)
        points[:, 0] += shift.astype(np.float32)
        points[:, 2] += (0.30 * shift).astype(np.float32)

    def _bend(self, points: np.ndarray, extra: dict, amount: float) -> None:
        """Waves that grow from the crown to the tips; each lock has its own phase."""
        drop = extra["drop"].astype(np.float64)
        reach = smoothstep(-0.7, 0.9, drop) * amount
        # In double precision: NumPy's single-precision functions differ between processors.
        x, z = points[:, 0].astype(np.float64), points[:, 2].astype(np.float64)
        around = np.arctan2(x - self.left[0] * 0.5 - self.right[0] * 0.5, z - self.left[2] + 0.9)
        phase = 2.5 * around + 0.7 * np.sin(5.0 * around) + (self.face.person.shape_seed % 97) * 0.13
        swing = np.sin(drop * 10.5 + phase)
        depth = np.cos(drop * 9.0 + 1.7 * phase)
        points[:, 0] += (np.cos(around) * swing * 0.065 * reach + np.sin(around) * depth * 0.055 * reach).astype(
            np.float32
        )
        points[:, 2] += (-np.sin(around) * swing * 0.065 * reach + np.cos(around) * depth * 0.055 * reach).astype(
            np.float32
        )

    def _hat(self) -> Piece:
        look, lib = self.face.look, self.library
        if look.hat != "beanie":
            part = lib.part(look.hat)
            material = material_row(COLOUR=look.hat_colour, NORMALIZER=0.1, SPECULAR=0.1, GLOSS=6.0)
            return Piece(
                "hat",
                sh.CLOTH,
                self._fit(part.name),
                part.faces,
                part.uv_faces,
                part.uv,
                part.texture,
                material,
                part.occlusion,
                cull=False,
            )
        used, faces = lib.beanie()
        normals = np.zeros_like(self.head)
        add_normals(self.head, lib.faces, 0, normals)
        normalize(normals)
        relative = lib.rest[used] - lib.eyes
        height = cap_height(relative[:, 1], -relative[:, 2])
        # Vertices just below the rim are drawn up to it, so that its edge is even.
        fold = smoothstep(0.34, 0.29, height)
        lift = 0.09 + 0.05 * fold + 0.10 * smoothstep(0.3, 0.9, height)
        points = self.head[used] + normals[used] * lift[:, None].astype(np.float32)
        points[:, 1] += np.maximum(-height, 0).astype(np.float32)
        around = np.arctan2(relative[:, 0].astype(np.float64), relative[:, 2].astype(np.float64) + 0.9)
        uv = np.stack([around * 1.2, height], 1).astype(np.float32)
        occlusion = 0.6 + 0.4 * smoothstep(0.0, 0.12, height) - 0.35 * np.exp(-(((height - 0.33) / 0.05) ** 2))
        material = material_row(COLOUR=look.hat_colour, NORMALIZER=0.06, SPECULAR=0.05, GLOSS=4.0)
        return Piece(
            "hat",
            sh.CLOTH,
            points.astype(np.float32),
            faces,
            faces,
            uv,
            lib.texture["hats/knit"],
            material,
            occlusion.astype(np.float32),
            cull=False,
        )

    def _glasses(self) -> list[Piece]:
        look, head, lib = self.face.look, self.head, self.library
        width = lib.anchor["width"]
        half = abs(float(head[width[0], 0] - head[width[1], 0])) / 2
        depth = float(self.left[2])
        frame, lens = glasses(
            look.glasses,
            self.right.astype(np.float64),
            self.left.astype(np.float64),
            half * 1.01,
            depth - 0.85,
            depth + 0.40,
        )
        dark = look.glasses == "sun"
        pieces = []
        for name, (points, faces), colour, alpha in (
            ("frame", frame, look.glasses_colour, 1.0),
            ("lens", lens, (0.012, 0.012, 0.014) if dark else (0.06, 0.065, 0.07), 0.97 if dark else 0.10),
        ):
            material = material_row(COLOUR=colour, SPECULAR=0.8, GLOSS=90.0, ALPHA=alpha)
            pieces.append(
                Piece(
                    name,
                    sh.PLASTIC if name == "frame" else sh.LENS,
                    points,
                    faces,
                    faces,
                    np.zeros((len(points), 2), np.float32),
                    lib.texture["masks"],
                    material,
                    np.ones(len(points), np.float32),
                    cull=False,
                    translucent=name == "lens",
                    casts=name == "frame" or dark,
                )
            )
        return pieces
