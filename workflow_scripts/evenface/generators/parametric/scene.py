"""Assembles the parts of one face into flat vertex and triangle arrays with materials."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import aging
from . import shading as sh
from .face import MACRO_ETHNICITY, Face
from .geometry import add_normals, normalize, pose_points, rotation, round_normals
from .headdress import HeadDress, Piece, material_row
from .morph import TargetBank, shape_head
from .parts import Library, hair_style
from .pigment import luminance
from .regions import smoothstep

#: Linear albedo of facial skin by ethnicity level: lightest, middle and darkest usual tone.
SKIN_TONES = {
    "white": ((0.60, 0.425, 0.345), (0.50, 0.330, 0.248), (0.365, 0.220, 0.145)),
    "asian": ((0.58, 0.425, 0.320), (0.47, 0.322, 0.228), (0.325, 0.207, 0.130)),
    "black": ((0.270, 0.158, 0.098), (0.150, 0.082, 0.050), (0.062, 0.034, 0.023)),
}


@dataclass
class Scene:
    """Everything posed and concatenated; see ``render`` for its use."""

    pieces: list[Piece]
    points: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    occlusion: np.ndarray
    alpha: np.ndarray
    extra: np.ndarray
    materials: np.ndarray
    landmarks: np.ndarray  # (5, 3): eyes left and right in the image, nose tip, mouth corners
    centre: np.ndarray
    tangents: np.ndarray  # (n, 3): strand directions of hair, zero elsewhere


def skin_tone(face: Face) -> np.ndarray:
    """Mean linear albedo of the face's skin, (3,)."""
    person = face.person
    log = np.zeros(3)
    weights = person.skin or person.ethnicity
    total = sum(weights.values()) or 1.0
    t = min(max(person.skin_tone, 0.0), 1.0) * 2
    for level, share in weights.items():
        light, middle, dark = SKIN_TONES[level]
        for c in range(3):
            low, high = (light[c], middle[c]) if t < 1 else (middle[c], dark[c])
            log[c] += share / total * (math.log(low) + (math.log(high) - math.log(low)) * (t if t < 1 else t - 1))
    tone = np.array([math.exp(v) for v in log])
    # Old skin is paler in red and yellower: thinner blood supply, fewer and unevener pigment cells.
    grey = 0.3 * tone[0] + 0.59 * tone[1] + 0.11 * tone[2]
    faded = np.array([grey + 0.70 * (tone[0] - grey), grey + 0.70 * (tone[1] - grey), grey + 0.85 * (tone[2] - grey)])
    return tone + aging.amount("sallow", face.age) * (0.97 * faded - tone)


class SceneBuilder(HeadDress):
    """Builds scenes from faces over one asset library."""

    def __init__(self, library: Library, bank: TargetBank):
        self.library, self.bank = library, bank

    # -- pieces ----------------------------------------------------------------------------------

    def build(self, face: Face) -> Scene:
        lib = self.library
        head = shape_head(self.bank, face)
        width = lib.anchor["width"]
        scale = abs(float(head[width[0], 0] - head[width[1], 0])) / lib.head_width
        self.head, self.scale, self.face = head, scale, face
        self.style = hair_style(face.hair.style)
        self.left = head[lib.anchor["left_eye"]].mean(0)
        self.right = head[lib.anchor["right_eye"]].mean(0)
        pieces = [self._skin(), self._clothes(), self._eyes()]
        e = face.expression
        if e.smile + e.teeth + e.mouth_open > 0.02:
            pieces.append(self._teeth())
        pieces += [self._brows(), self._lashes()]
        if self.style and self.style.asset:
            pieces.append(self._hair())
        if face.look.hat != "none":
            pieces.append(self._hat())
        if face.look.glasses != "none":
            pieces += self._glasses()
        return self._assemble(pieces)

    def _skin(self) -> Piece:
        face, lib, hair, look = self.face, self.library, self.face.hair, self.face.look
        region = lib.region
        asset = self.style.asset if self.style else ""
        occlusion = lib.body_occlusion(asset, look.hat)
        if hair.receding > 0 and look.hat == "none":
            # Where hair has receded from the forehead, its baked shade is removed too.
            relative = lib.rest - lib.eyes
            open_front = smoothstep(0.30, 0.45, relative[:, 1]) * smoothstep(0.75, 0.35, -relative[:, 2])
            share = (min(1.5 * hair.receding, 1.0) * open_front).astype(np.float32)
            occlusion = occlusion + (lib.body_occlusion() - occlusion) * share
        occlusion = occlusion * (1 - (0.10 + 0.30 * aging.eye_bags(face)) * region["eye_bag"])
        occlusion = occlusion * (1 - np.float32(0.55 * aging.amount("hollows", face.age)) * region["hollow"])
        facial = np.maximum(region["beard"] * hair.beard, region["moustache"] * max(hair.moustache, hair.beard))
        facial = np.maximum(facial, region["goatee"] * hair.goatee)
        facial = np.maximum(facial, region["sideburns"] * hair.sideburns)
        shadow = np.maximum(np.maximum(region["beard"], region["moustache"]), region["goatee"])
        facial = np.maximum(facial, 0.40 * hair.stubble * shadow)
        tone = skin_tone(face)
        darkness = (0.30 - luminance(tuple(tone))) / 0.24
        bloom = 0.42 - 0.34 * min(aging.amount("sallow", face.age), 1.0)
        extra = np.zeros((len(lib.rest), sh.EXTRAS), np.float32)
        extra[:, sh.EXTRA_BEARD] = facial
        extra[:, sh.EXTRA_SCALP] = self._scalp_density()
        extra[:, sh.EXTRA_FLUSH] = (bloom + 2.2 * look.blush) * region["cheek"] + 0.2 * region["nose"]
        extra[:, sh.EXTRA_FOLDS], extra[:, sh.EXTRA_LINES] = aging.crease_amounts(face, lib.crease_zones, darkness)
        faces, uv_faces = lib.body_faces(look.clothes)
        first, second, share = self._skin_textures()
        turn = rotation(face.pose.body_yaw, 0.0, 0.0) @ rotation(
            face.pose.yaw - face.pose.body_yaw, face.pose.pitch, face.pose.roll
        )
        material = material_row(
            COLOUR=tone,
            SPECULAR=0.90 - 0.25 * aging.amount("sallow", face.age),
            GLOSS=16.0,
            SECOND_TEX=second,
            SECOND_SHARE=share,
            LIPSTICK=look.lipstick,
            LIP_COLOUR=look.lipstick_colour,
            SHADOW=look.eyeshadow,
            SHADOW_COLOUR=look.eyeshadow_colour,
            RELIEF=0.22 + 0.6 * min(aging.amount("lines", face.age), 1.0),
            CREASE_TEX=lib.texture["creases/folds"],
            SPOTS=aging.amount("spots", face.age),
            BLOTCHES=aging.amount("blotches", face.age),
            PATTERN=float(face.person.shape_seed % 89),
            LIP_FADE=0.75 * aging.amount("sallow", face.age) - 0.15,
            HEAD_RIGHT=turn[:, 0],
            HEAD_UP=turn[:, 1],
            FINE=min(max(face.framing.eye_distance / 130.0, 0.25), 1.0),
            BEARD_COLOUR=tuple(0.75 * c for c in hair.colour),
            BEARD_GRAY=min(0.75 * hair.gray + 0.7 * aging.amount("gray_brows", face.age), 1.0),
            MASK_TEX=lib.texture["masks"],
            SCALP_COLOUR=hair.colour,
            GRAY=hair.gray,
            PORES=(1.0 if face.person.gender == "male" else 0.7) * (0.45 + 0.65 * aging.amount("blotches", face.age)),
        )
        return Piece("skin", sh.SKIN, self.head, faces, uv_faces, lib.uv, first, material, occlusion, extra=extra)

    def _skin_textures(self) -> tuple[int, int, float]:
        """Textures to blend (younger, older) and the share of the older one."""
        face, person = self.face, self.face.person
        level = max(sorted(person.ethnicity), key=lambda k: person.ethnicity[k])
        macro = MACRO_ETHNICITY[level]
        gender = "male" if person.masculinity >= 0.5 else "female"
        stages = {a: self.library.skin_textures(a, macro, gender) for a in ("young", "middleage", "old")}
        pick = {a: t[person.shape_seed % len(t)] for a, t in stages.items()}
        stage = aging.amount("skin", face.age)
        if stage < 1:
            return pick["young"], pick["middleage"], stage
        return pick["middleage"], pick["old"], stage - 1

    def _scalp_density(self) -> np.ndarray:
        if self.style is None:
            return np.zeros(len(self.library.rest), np.float32)
        relative = self.library.rest - self.library.eyes
        x = np.abs(relative[:, 0])
        front = smoothstep(0.75, 0.35, -relative[:, 2])
        height = self.library.region["hairline"] - self._recession(x) * front
        amount = 0.95 if self.style.asset == "" else 0.85
        # Receding hair becomes thin before it disappears, so the edge of the hairline is wide.
        soft = 0.14 * self.face.hair.receding * front
        return (amount * smoothstep(-0.07 - soft, 0.10 + soft, height)).astype(np.float32)

    def _clothes(self) -> Piece:
        look = self.face.look
        part = self.library.part(look.clothes)
        material = material_row(
            COLOUR=look.clothes_tint,
            NORMALIZER=part.extra["brightness"],
            KEEP_COLOUR=0.12,
            SPECULAR=0.12,
            GLOSS=6.0,
        )
        return Piece(
            "clothes",
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

    def _eyes(self) -> Piece:
        part = self.library.part("HighPolyEyes")
        texture = self.library.texture[f"eyes/{self.face.person.eye_colour}"]
        dull = aging.amount("sallow", self.face.age)
        white = (1.03 - 0.14 * dull, 1.04 - 0.18 * dull, 1.07 - 0.27 * dull)
        material = material_row(COLOUR=white, SPECULAR=9.0, GLOSS=110.0, KEEP_COLOUR=0.6)
        return Piece(
            "eyes",
            sh.EYE,
            self._fit(part.name),
            part.faces,
            part.uv_faces,
            part.uv,
            texture,
            material,
            part.occlusion,
            casts=False,
        )

    def _teeth(self) -> Piece:
        part = self.library.part("Teeth_Base")
        material = material_row(COLOUR=(1.15, 1.13, 1.08), SPECULAR=0.8, GLOSS=60.0, KEEP_COLOUR=0.85)
        # The modelled teeth are too far back: a dark gap would show under a smiling lip.
        points = self._fit(part.name) + np.array([0, -0.015, 0.03], np.float32) * np.float32(self.scale)
        return Piece(
            "teeth",
            sh.TEETH,
            points,
            part.faces,
            part.uv_faces,
            part.uv,
            part.texture,
            material,
            part.occlusion,
            casts=False,
        )

    # -- assembly --------------------------------------------------------------------------------

    def _assemble(self, pieces: list[Piece]) -> Scene:
        lib, head, pose = self.library, self.head, self.face.pose
        neck, skull = head[lib.anchor["neck"]].mean(0), head[lib.anchor["head"]].mean(0)
        pivot = ((neck + skull) * np.float32(0.5)).astype(np.float32)
        low, high = np.float32(neck[1] - 0.45), np.float32(skull[1] - 0.15)
        turn = rotation(pose.yaw - pose.body_yaw, pose.pitch, pose.roll)
        body = rotation(pose.body_yaw, 0.0, 0.0)
        total = sum(len(p.points) for p in pieces)
        points = np.empty((total, 3), np.float32)
        normals = np.zeros((total, 3), np.float32)
        occlusion = np.ones(total, np.float32)
        alpha = np.ones(total, np.float32)
        extra = np.zeros((total, sh.EXTRAS), np.float32)
        start = 0
        centre = np.empty((1, 3), np.float32)
        pose_points((skull + np.array([0, 0.45, 0.1], np.float32))[None], turn, body, pivot, low, high, centre)
        for piece in pieces:
            piece.start = start
            end = start + len(piece.points)
            pose_points(piece.points, turn, body, pivot, low, high, points[start:end])
            occlusion[start:end] = piece.occlusion
            if piece.alpha is not None:
                alpha[start:end] = piece.alpha
            if piece.extra is not None:
                extra[start:end] = piece.extra
            add_normals(points, lib.faces if piece.name == "skin" else piece.faces, start, normals)
            start = end
        normalize(normals)
        tangents = np.zeros((total, 3), np.float32)
        for piece in pieces:
            end = piece.start + len(piece.points)
            if piece.name == "eyes":
                self._sphere_normals(points, normals, piece)
            if piece.radial:
                round_normals(points, normals, piece.start, end, centre[0], piece.radial)
            if piece.kind == sh.HAIR:
                tangents[piece.start : end] = self._strand_directions(
                    points[piece.start : end], normals[piece.start : end], centre[0]
                )
        marks = np.empty((5, 3), np.float32)
        forward = np.array([0, 0, 0.14], np.float32)
        corners = lib.anchor["mouth_corners"]
        rest = np.stack([self.right + forward, self.left + forward, head[lib.anchor["nose_tip"][0]], *head[corners]])
        pose_points(np.ascontiguousarray(rest, np.float32), turn, body, pivot, low, high, marks)
        uv = np.concatenate([p.uv for p in pieces])
        materials = np.stack([p.material for p in pieces])
        return Scene(pieces, points, normals, uv, occlusion, alpha, extra, materials, marks, centre[0], tangents)

    def _sphere_normals(self, points: np.ndarray, normals: np.ndarray, piece: Piece) -> None:
        """Eyes shine like spheres; their iris is modelled hollow."""
        end = piece.start + len(piece.points)
        span, out = points[piece.start : end], normals[piece.start : end]
        side = piece.points[:, 0] > 0.5 * (self.left[0] + self.right[0])
        for mask in (side, ~side):
            # The mesh lacks the cornea and is denser in front: take its box, not its mean.
            low, high = span[mask].min(0), span[mask].max(0)
            middle = (low + high) / np.float32(2)
            middle[2] = high[2] - (high[0] - low[0]) / np.float32(2)
            away = span[mask] - middle
            length = np.sqrt((away * away).sum(1, keepdims=True))
            out[mask] = away / np.maximum(length, 1e-6)

    @staticmethod
    def _strand_directions(points, normals, centre) -> np.ndarray:
        """Direction of hair growth: away from the crown along the surface, then down."""
        crown = centre + np.array([0, 0.75, -0.25], np.float32)
        flow = points - crown
        flow[:, 1] -= 0.35 + 0.3 * np.maximum(crown[1] - points[:, 1], 0)
        flow -= normals * (flow * normals).sum(1, keepdims=True)
        length = np.sqrt((flow * flow).sum(1, keepdims=True))
        return (flow / np.maximum(length, 1e-6)).astype(np.float32)
