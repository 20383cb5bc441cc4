"""Renders the pictures of a stand-in, in parts for several jobs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from evenface import __version__
from evenface.generators.parametric import PART as PARAMETRIC
from evenface.generators.parametric import camera, sampling, truth
from evenface.generators.parametric.domains import domain
from evenface.generators.parametric.face import Face, Framing
from evenface.joblog import progress
from evenface.parts import StandinFormat, part
from evenface.seeds import seed_from
from evenface.standins import VERSIONS
from evenface.standins.population import Member, members, settings_of
from evenface.standins.settings import StandinSettings
from evenface.storage.images import encode_jpeg
from evenface.storage.metadata import ALGORITHMIC, Metadata
from evenface.storage.shards import write_shard
from evenface.taxonomy import HAIR_COLOURS


def picture(settings: StandinSettings, member: Member, index: int) -> tuple[Face, int]:
    """The description of picture ``index`` of an identity, and the seed of its camera."""
    identity = sampling.sample_identity(member.demographics, {HAIR_COLOURS[member.hair]: 1}, member.seed)
    seed = seed_from(member.seed, "picture", index)
    format = part(StandinFormat, settings.format, "standins.*.format")
    framing = loose_framing(seed) if format.loose else Framing(**format.framing)
    expression = member.expressions[index] if member.expressions else ""
    face = sampling.sample_face(
        identity, {}, seed, place=domain(settings.domain), framing=framing, expression=expression
    )
    return face, seed_from(seed, "camera")


def loose_framing(seed: int) -> Framing:
    """A detector's box widened to twice its size, as VGGFace2's crops are: varying size, off centre."""
    random = np.random.Generator(np.random.PCG64(seed_from(seed, "framing")))
    width = int(random.integers(112, 230))
    height = int(width * random.uniform(1.12, 1.38))
    return Framing(
        width=width,
        height=height,
        eye_x=round(width * float(random.normal(0.5, 0.02)), 2),
        eye_y=round(height * float(random.normal(0.46, 0.02)), 2),
        eye_distance=round(width * float(random.uniform(0.19, 0.25)), 2),
        field_of_view=round(float(random.uniform(0.25, 0.6)), 3),
    )


def render_part(
    name: str, config: Mapping[str, Any], seed: int, part: int, assets: str | os.PathLike, out: str | os.PathLike
) -> None:
    """Render every ``parts``-th picture, starting at ``part``, into a shard of JPEG files.

    A picture depends on the stand-in's name, the seed, its identity and its index, never on the
    part. The shard's rows: image_id (``<identity>/<index>``), member, identity, index, split and
    ``truth`` (JSON).
    """
    from evenface.generators.parametric.render import Renderer

    settings = settings_of(name, config)
    renderer = Renderer(assets)
    place = domain(settings.domain)
    everyone = members(name, settings, seed)
    todo = [(m, i) for m in everyone for i in range(settings.images_per_identity)][part :: settings.parts]
    rows: list[dict[str, Any]] = []

    def images() -> Iterator[tuple[str, bytes]]:
        for member, index in progress(todo, len(todo), f"stand-in {name}, part {part}"):
            face, camera_seed = picture(settings, member, index)
            image, quality = camera.photograph(renderer.render(face), place, camera_seed)
            file = f"{member.number:06d}_{index:04d}.jpg"
            rows.append(
                {
                    "image_id": f"{member.number}/{index}",
                    "member": file,
                    "identity": member.number,
                    "index": index,
                    "split": member.split,
                    "truth": json.dumps(truth.truth_of(face), sort_keys=True),
                }
            )
            said = Metadata(
                ALGORITHMIC,
                tool=f"evenface {__version__}, stand-in {name} {VERSIONS['standins']}",
                generator="parametric",
                generator_version=str(PARAMETRIC.version),
                seed=str(member.seed),
                image_id=f"{name}/{member.number}/{index}",
            )
            yield file, encode_jpeg(image, quality, metadata=said)

    write_shard(
        out, images(), recipe={"standin": name, "seed": seed, "part": part, "settings": dict(config)}, rows=rows
    )
