"""The asset file as ready-to-use parts: static meshes, bindings, texture indices, baked values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from . import styles
from .regions import before_face, hairline, smoothstep


@dataclass
class Part:
    """A mesh bound to the head, with what does not change from face to face."""

    name: str
    ref: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    faces: np.ndarray
    uv_faces: np.ndarray
    uv: np.ndarray
    texture: int
    rest: np.ndarray  # (n, 3) on the rest head
    occlusion: np.ndarray  # (n,) float32
    hides: np.ndarray | None = None  # base vertices it covers
    extra: dict = field(default_factory=dict)


class Library:
    """All parts and per-vertex data of an asset file; arrays stay memory-mapped where possible."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self.texels = arrays["texture/texels"]
        self.table = np.ascontiguousarray(arrays["texture/table"])
        names = json.loads(arrays["texture/names"].tobytes().decode())
        self.texture = {name: k for k, name in enumerate(names)}
        self.rest = np.ascontiguousarray(arrays["base/vertices"])
        self.faces = np.ascontiguousarray(arrays["body/faces"])
        self.uv_faces = np.ascontiguousarray(arrays["body/uv_faces"])
        self.uv = np.ascontiguousarray(arrays["body/uv"])
        self.region = {k.removeprefix("region/"): v for k, v in arrays.items() if k.startswith("region/")}
        self.crease_zones = {k.removeprefix("crease_"): v for k, v in self.region.items() if k.startswith("crease_")}
        self.anchor = {k.removeprefix("anchor/"): v for k, v in arrays.items() if k.startswith("anchor/")}
        eyes = np.concatenate([self.anchor["left_eye"], self.anchor["right_eye"]])
        self.eyes = self.rest[eyes].mean(0)
        width = self.anchor["width"]
        self.head_width = float(np.abs(self.rest[width[0], 0] - self.rest[width[1], 0]))
        self._parts: dict[str, Part] = {}
        self._body_faces: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._beanie: tuple[np.ndarray, np.ndarray] | None = None

    def skin_textures(self, age: str, ethnicity: str, gender: str) -> list[int]:
        prefix = f"skin/{age}_{ethnicity}_{gender}/"
        return [k for name, k in sorted(self.texture.items()) if name.startswith(prefix)]

    def body_occlusion(self, *covers: str) -> np.ndarray:
        """Occlusion of the body under the named hair and hat, (n,) float32."""
        bare = self.arrays["occlusion/body"].astype(np.float32) / np.float32(255)
        out = bare
        for name in covers:
            key = f"occlusion/body/{name}"
            if key in self.arrays:
                out = np.minimum(out, self.arrays[key].astype(np.float32) / np.float32(255))
        # Hair lets some light through.
        return np.maximum(out, np.float32(0.35) * bare)

    def body_faces(self, clothes: str) -> tuple[np.ndarray, np.ndarray]:
        """Skin triangles (and their UV triangles) that clothes leave bare."""
        if clothes not in self._body_faces:
            hides = self.part(clothes).hides
            keep = np.ones(len(self.faces), bool) if hides is None else ~hides[self.faces].any(1)
            self._body_faces[clothes] = (
                np.ascontiguousarray(self.faces[keep]),
                np.ascontiguousarray(self.uv_faces[keep]),
            )
        return self._body_faces[clothes]

    def part(self, name: str) -> Part:
        """The proxy called ``name`` (KeyError when the asset file lacks it)."""
        if name not in self._parts:
            self._parts[name] = self._load(name)
        return self._parts[name]

    def _load(self, name: str) -> Part:
        a = self.arrays
        ref, weight, offset = (np.ascontiguousarray(a[f"proxy/{name}/{k}"]) for k in ("ref", "weight", "offset"))
        rest = (self.rest[ref] * weight[:, :, None]).sum(1) + offset
        faces, uv_faces = (np.ascontiguousarray(a[f"proxy/{name}/{k}"]) for k in ("faces", "uv_faces"))
        uv = np.ascontiguousarray(a[f"proxy/{name}/uv"])
        occlusion = a.get(f"occlusion/{name}")
        occlusion = (
            np.ones(len(ref), np.float32) if occlusion is None else occlusion.astype(np.float32) / np.float32(255)
        )
        keys = (f"hair/{name}", f"clothes/{name}", f"hats/{name}", f"eyebrows/{name}", f"eyelashes/{name}")
        texture = next((self.texture[k] for k in keys if k in self.texture), self.texture["teeth"])
        part = Part(
            name,
            ref,
            weight,
            offset,
            faces,
            uv_faces,
            uv,
            texture,
            rest,
            occlusion,
            a.get(f"proxy/{name}/hides"),
        )
        self._prepare(part)
        return part

    def _prepare(self, part: Part) -> None:
        """Rest-pose features the scene needs of each kind of part."""
        relative = part.rest - self.eyes
        x, dy, back = np.abs(relative[:, 0]), relative[:, 1], -relative[:, 2]
        if f"hair/{part.name}" in self.texture:
            part.extra["hairline"] = hairline(x, dy, back).astype(np.float32)
            part.extra["drop"] = (-dy).astype(np.float32)
            part.extra["before_face"] = before_face(x, back).astype(np.float32)
            part.extra["under_hat"] = under_hat(dy, back)
            part.extra["scalp"] = np.ascontiguousarray(self.arrays[f"proxy/{part.name}/scalp"])
        elif part.name == "HighPolyEyes":
            lid = smoothstep(0.035, 0.125, dy) * 0.55 + smoothstep(-0.07, -0.13, dy) * 0.2
            part.occlusion = (1.0 - lid).astype(np.float32)
        elif part.name == "Teeth_Base":
            part.occlusion = (0.10 + 0.85 * smoothstep(0.25, -0.20, back)).astype(np.float32)
        elif part.name.startswith("eyebrow"):
            fit = np.polyfit(x.astype(np.float64), dy.astype(np.float64), 2)
            part.extra["from_line"] = (dy - np.polyval(fit, x)).astype(np.float32)
            span = (x - x.min()).astype(np.float64) / max(float(x.max() - x.min()), 1e-6)
            part.extra["arch"] = (np.sin(np.clip(span, 0, 1) ** 1.3 * np.pi) - 0.35).astype(np.float32)
        elif f"clothes/{part.name}" in self.texture:
            part.extra["brightness"] = self._mean_brightness(part)

    def _mean_brightness(self, part: Part) -> float:
        """Mean linear luminance of a texture at the part's own texture coordinates near the collar."""
        offset, w, h = (int(v) for v in self.table[part.texture, 0])
        image = np.asarray(self.texels[offset : offset + w * h * 4]).reshape(h, w, 4)[..., :3] / np.float32(255)
        high = part.rest[part.faces][:, :, 1].mean(1) > self.eyes[1] - 3.0
        corners = part.uv[part.uv_faces[high]].mean(1)
        rows = np.clip(((1 - corners[:, 1]) * h).astype(int), 0, h - 1)
        columns = np.clip((corners[:, 0] * w).astype(int), 0, w - 1)
        red, green, blue = image[rows, columns].astype(np.float64).T ** 2
        # Rounded, because the last bits depend on the order in which a processor sums.
        return max(round(float((0.3 * red + 0.59 * green + 0.11 * blue).mean()), 6), 0.01)

    def beanie(self) -> tuple[np.ndarray, np.ndarray]:
        """Base vertices and triangles (into those vertices) of the scalp patch a knitted cap covers."""
        if self._beanie is None:
            relative = self.rest - self.eyes
            height = cap_height(relative[:, 1], -relative[:, 2])
            ear = (np.abs(relative[:, 0]) > 0.84) & (height < 0.3)
            keep = (height[self.faces] > 0).any(1) & (height[self.faces] > -0.2).all(1) & ~ear[self.faces].any(1)
            used, faces = np.unique(self.faces[keep], return_inverse=True)
            self._beanie = used, faces.reshape(-1, 3).astype(np.int32)
        return self._beanie


def cap_height(dy: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Height above the rim of a knitted cap: from the forehead over the ears to the nape."""
    rim = np.interp(back, [-0.2, 0.2, 0.6, 1.0, 1.6], [0.42, 0.34, 0.20, 0.02, -0.15])
    return dy - rim


def under_hat(dy: np.ndarray, back: np.ndarray) -> np.ndarray:
    """1 where a hat hides the hair, 0 well below its rim."""
    return smoothstep(-0.10, 0.02, cap_height(dy, back)).astype(np.float32)


def hair_style(name: str) -> styles.HairStyle | None:
    """The style called ``name``; None for a bald head."""
    return None if name == styles.BALD else styles.HAIR_STYLES[name]
