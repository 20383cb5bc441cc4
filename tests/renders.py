"""Fixed requests to the parametric generator, whose pictures are compared: with stored ones, and between processors."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from evenface.generators import create
from evenface.generators.parametric import ASSETS as FACE_ASSETS
from evenface.generators.parametric import camera, textures
from evenface.generators.parametric.domains import DOMAINS
from evenface.plan.requests import Request

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / FACE_ASSETS
STORED = ROOT / "tests/reference/renders"

#: name -> domain, gender, age, ethnicity, attributes, seed. Together they show waves, a receding
#: hairline, both kinds of hat, glasses, beards, make-up, a bald head, and every domain.
REQUESTS = {
    "waves": ("studio", "female", "young", "black", {"Wavy_Hair": 1, "Smiling": 1}, 7),
    "make-up": ("celebrity_photo", "female", "middle_aged", "white", {"Heavy_Makeup": 1}, 9),
    "receding": (
        "web_crop", "male", "senior", "white", {"Receding_Hairline": 1, "Gray_Hair": 1, "Eyeglasses": 1}, 1,
    ),
    "beanie": ("studio", "male", "young", "asian", {"Wearing_Hat": 1, "5_o_Clock_Shadow": 1}, 7),
    "fedora": ("web_crop", "female", "senior", "asian", {"Wearing_Hat": 1}, 1),
    "sunglasses": ("celebrity_photo", "male", "middle_aged", "black", {"Eyeglasses": 1, "Goatee": 1}, 17),
    "bald": ("studio", "male", "middle_aged", "white", {"Bald": 1, "No_Beard": -1}, 1),
    "fringe": ("web_crop", "female", "young", "asian", {"Bangs": 1, "Mouth_Slightly_Open": 1}, 1),
}  # fmt: skip


def generate(size: tuple[int, int] = (178, 218)) -> dict[str, tuple[np.ndarray, str]]:
    """Picture (height, width, 3) uint8 of every request, and the SHA-256 of what is recorded beside it."""
    made = {}
    settings = {"files": {"assets": str(ASSETS)}, "size": list(size)}
    generators = {place: create("parametric", {**settings, "domain": place}) for place in DOMAINS}
    for name, (place, gender, age, ethnicity, attributes, seed) in REQUESTS.items():
        demographics = {"gender": gender, "age": age, "ethnicity": ethnicity}
        (face,) = generators[place].generate([Request(name, "", "", demographics, attributes, seed)])
        record = json.dumps({"provenance": face.provenance, "truth": face.truth}, sort_keys=True)
        made[name] = face.image, hashlib.sha256(record.encode()).hexdigest()
    return made


def degraded(picture: np.ndarray) -> dict[str, np.ndarray]:
    """``picture`` (height, width, 3) uint8 through every path of the camera that a few requests might miss."""
    shots = {}
    for kind in ("motion", "low_resolution", "occlusion"):
        place = replace(DOMAINS["web_crop"], **{kind: 1.0})
        for seed in range(12):
            photo, quality = camera.photograph(picture, place, seed)
            shots[f"{kind}/{seed}"] = photo
            shots[f"{kind}/{seed}/jpeg"] = camera.compress(photo, quality)
    return shots


def distilled() -> dict[str, np.ndarray]:
    """Textures distilled from drawn ones: strands, spots and gradients, (128, 128, 4) uint8."""
    y, x = np.mgrid[0:256, 0:256] / 256
    rng = np.random.Generator(np.random.PCG64(5))
    fine = rng.random((256, 256))
    strands = 0.5 + 0.4 * np.sin(90 * x + 14 * np.sin(5 * y)) * fine
    rgba = np.stack([strands, 0.8 * strands, 0.5 + 0.4 * x * y, 1.0 * (x + y < 1.6)], -1)
    file = io.BytesIO()
    Image.fromarray((rgba * 255).astype(np.uint8), "RGBA").save(file, "PNG")
    rgba = textures.decode_image(file.getvalue(), 128)
    ones = np.ones((128, 128), bool)
    soft = textures.blur(rgba[..., 0], 6.0)
    ratio, relief = textures.skin_ratio(rgba, ones, 1 - soft, 0.5 * soft, np.clip(soft - 0.5, 0, 1))
    coded = np.concatenate([np.sqrt(ratio / textures.RATIO_MAX), relief[..., None]], -1)
    return {"hair": textures.hair_channels(rgba), "skin": (coded * 255 + 0.5).astype(np.uint8)}


def main(out: str) -> None:
    """Write every picture to the file ``out`` (.npz), with what the libraries say of the processor."""
    import numba
    from numpy._core._multiarray_umath import __cpu_features__

    made = {name: image for name, (image, _) in generate().items()}
    made |= {f"camera/{name}": shot for name, shot in degraded(made["waves"]).items()}
    made |= {f"textures/{name}": texture for name, texture in distilled().items()}
    processor = json.dumps({"numba": numba.config.CPU_NAME, "avx2": __cpu_features__["X86_V3"]})
    np.savez(out, processor=np.array(processor), **made)


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
