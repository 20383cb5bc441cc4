"""The training faces: who is drawn, how faces are framed, and the shards that hold them.

Every cell of ethnicity, gender, age and hair colour has the same number of faces. Within a cell, faces vary like the
renderer's population. Many faces get one or two traits of the prompt vocabulary on purpose, because most traits are
rare by chance.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenface import __version__
from evenface.generators.parametric import PART as PARAMETRIC
from evenface.generators.parametric import camera, sampling, truth
from evenface.generators.parametric.domains import domain
from evenface.generators.parametric.face import Face, Framing
from evenface.joblog import progress
from evenface.seeds import seed_from
from evenface.storage.images import encode_jpeg
from evenface.storage.metadata import ALGORITHMIC, Metadata
from evenface.storage.shards import write_shard
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS

#: The demographic cells, in the order in which faces are assigned to them.
CELLS: tuple[tuple[str, str, str, str], ...] = tuple(
    itertools.product(DIMENSIONS["ethnicity"], DIMENSIONS["gender"], DIMENSIONS["age"], HAIR_COLOURS)
)

#: Side of the drawn square, in pixels of aligned CelebA, and the place of the eyes in it (share of its height from the
#: top): close to the face, with room for high and long hair.
FIELD, EYE_HEIGHT = 180.0, 0.54

#: Traits of the face that are added on purpose, with their relative frequencies.
FACE_TRAITS: dict[str, float] = {
    "Smiling": 1.5, "Eyeglasses": 1.5, "Mouth_Slightly_Open": 1.0, "High_Cheekbones": 1.0, "Pointy_Nose": 1.0,
    "Big_Lips": 1.0, "Chubby": 1.0, "Narrow_Eyes": 1.0, "Big_Nose": 0.5, "Oval_Face": 0.5, "Double_Chin": 0.4,
    "Bags_Under_Eyes": 0.4, "Bushy_Eyebrows": 0.5, "Arched_Eyebrows": 0.5, "Rosy_Cheeks": 0.4, "Pale_Skin": 0.4,
}  # fmt: skip

#: The same for hair, beard and make-up, by gender.
STYLE_TRAITS: dict[str, dict[str, float]] = {
    "female": {"Bangs": 1, "Straight_Hair": 1, "Wavy_Hair": 1, "Wearing_Lipstick": 0.7, "Heavy_Makeup": 0.7},
    "male": {
        "Bangs": 0.5, "Straight_Hair": 0.7, "Wavy_Hair": 0.7, "Receding_Hairline": 0.6, "No_Beard": 0.7, "Goatee": 0.6,
        "Mustache": 0.6, "5_o_Clock_Shadow": 0.6, "Sideburns": 0.3,
    },
}  # fmt: skip

#: Shares of faces that get a trait of each kind.
FACE_TRAIT_SHARE, STYLE_TRAIT_SHARE = 0.6, 0.4


@dataclass(frozen=True)
class Wanted:
    """One face to draw: its levels, the attributes that are asked for, and its seed."""

    index: int
    demographics: dict[str, str]
    attributes: dict[str, int]
    seed: int


def wanted(index: int, seed: int) -> Wanted:
    """Face ``index`` of the endless series of ``seed``; any 72 in a row contain one face of each cell."""
    ethnicity, gender, age, hair = CELLS[index % len(CELLS)]
    own = seed_from(seed, "text to face", index)
    random = np.random.Generator(np.random.PCG64(seed_from(own, "traits")))
    # A hat would hide the hair, and every prompt asks for its colour.
    attributes = {HAIR_COLOURS[hair]: 1, "Wearing_Hat": -1}
    kinds = ((FACE_TRAITS, FACE_TRAIT_SHARE), (STYLE_TRAITS[gender], STYLE_TRAIT_SHARE))
    for weights, share in kinds:
        asked, chosen = random.random() < share, _pick(random, weights)
        if asked and not (chosen == "Pale_Skin" and ethnicity == "black"):
            attributes[chosen] = 1
    return Wanted(index, {"ethnicity": ethnicity, "gender": gender, "age": age}, attributes, own)


def _pick(random: np.random.Generator, weights: Mapping[str, float]) -> str:
    shares = np.array(list(weights.values()), float)
    return list(weights)[int(random.choice(len(shares), p=shares / shares.sum()))]


def framing(size: int) -> Framing:
    """A square of ``size`` pixels that shows ``FIELD`` pixels of aligned CelebA."""
    return Framing(
        width=size,
        height=size,
        eye_x=size / 2,
        eye_y=size * EYE_HEIGHT,
        eye_distance=Framing().eye_distance * size / FIELD,
    )


def describe(face: Wanted, size: int) -> Face:
    """The complete description of a wanted face."""
    identity = sampling.sample_identity(face.demographics, face.attributes, seed_from(face.seed, "identity"))
    return sampling.sample_face(
        identity, face.attributes, seed_from(face.seed, "scene"), place=domain("studio"), framing=framing(size)
    )


def render_faces(
    settings: Mapping[str, Any], seed: int, part: int, assets: str | os.PathLike, out: str | os.PathLike
) -> None:
    """Render every ``parts``-th of ``faces`` training faces, starting at ``part``, into a shard of JPEG files.

    ``settings`` has ``faces``, ``parts`` and ``render_size`` (pixels). A face depends on the seed and its
    index, never on the part. The shard's rows: image_id (the index as text), member, index, seed, and
    ``truth`` (JSON: attributes, demographic levels, years).
    """
    from evenface.generators.parametric.render import Renderer

    renderer = Renderer(assets)
    place = domain("studio")
    indices = range(part, settings["faces"], settings["parts"])
    rows: list[dict[str, Any]] = []

    def images() -> Iterator[tuple[str, bytes]]:
        for index in progress(indices, len(indices), f"training faces, part {part}"):
            request = wanted(index, seed)
            face = describe(request, settings["render_size"])
            image, _ = camera.photograph(renderer.render(face), place, seed_from(request.seed, "camera"))
            known = truth.truth_of(face)
            kept = {key: known[key] for key in ("attributes", *DIMENSIONS, "years")}
            member = f"{index:06d}.jpg"
            rows.append(
                {
                    "image_id": str(index),
                    "member": member,
                    "index": index,
                    "seed": request.seed,
                    "truth": json.dumps(kept, sort_keys=True),
                }
            )
            metadata = Metadata(
                ALGORITHMIC,
                tool=f"evenface {__version__}, training face of the text-to-face model",
                generator="parametric",
                generator_version=str(PARAMETRIC.version),
                seed=str(request.seed),
                image_id=f"text_to_face/{index}",
            )
            yield member, encode_jpeg(image, 95, subsampling=0, metadata=metadata)

    recipe = {"seed": seed, "part": part, "settings": dict(settings)}
    write_shard(out, images(), recipe=recipe, rows=rows)
