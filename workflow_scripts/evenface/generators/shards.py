"""Render one shard of the plan with any generator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from evenface import __version__
from evenface.errors import UserError
from evenface.generators import create
from evenface.generators.encoding import encode_ahead
from evenface.generators.protocol import GeneratedFace
from evenface.joblog import progress
from evenface.parts import Generator, part
from evenface.plan.shards import recipe_digest, requests_of
from evenface.storage import metadata
from evenface.storage.images import encode_png
from evenface.storage.metadata import Metadata
from evenface.storage.shards import write_shard


def source_type_of(generator: str, face: GeneratedFace) -> str:
    """The face's digital source type: what its generator says of it, or what is usual.

    A picture that a network began from another one is an edit.
    """
    if said := face.provenance.get("source_type"):
        return metadata.source_type(said)
    usual = metadata.OF_PARTS[part(Generator, generator, "generation.generator").source_type]
    return metadata.EDITED if usual == metadata.TRAINED and face.request.initial_image else usual


def metadata_of(recipe: dict[str, Any], face: GeneratedFace) -> Metadata:
    """What a generated image says about itself."""
    generator, request = recipe["generator"], face.request
    return Metadata(
        source_type=source_type_of(generator, face),
        tool=f"evenface {__version__}, generator {generator} {recipe['generator_version']}",
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        generator=generator,
        generator_version=str(recipe["generator_version"]),
        model=str(face.provenance.get("model", "")),
        seed=str(request.seed),
        recipe=recipe_digest(recipe),
        image_id=f"{generator}/{request.request_id}",
        provenance=json.dumps(face.provenance, sort_keys=True),
    )


def generate_shard(recipe: dict[str, Any], out: str | os.PathLike, resources: dict[str, Any]) -> None:
    """Generate the images of ``recipe`` and write them, one row each, to the shard ``out``.

    ``resources`` is what a machine adds to a recipe without changing a byte: ``device``,
    ``threads`` and the paths of weights or assets. Each row holds image_id, member, what was asked
    (prompt, negative_prompt, cell, gender, age, ethnicity, seed), who made it (generator,
    generator_version, digital_source_type, provenance as JSON), identity_id, and, where the generator
    knows it, ``truth`` as JSON. The images say the same in their metadata.
    """
    generator = create(recipe["generator"], {**recipe["settings"], **resources})
    requests = requests_of(recipe)
    rows: list[dict[str, Any]] = []

    def faces() -> Iterator[tuple[str, GeneratedFace, Metadata]]:
        for face in progress(generator.generate(requests), len(requests), f"{recipe['generator']} {recipe['cell']}"):
            request, said = face.request, metadata_of(recipe, face)
            member = f"{request.request_id}.png"
            rows.append(
                {
                    "image_id": said.image_id,
                    "member": member,
                    "identity_id": f"{recipe['generator']}/{face.provenance.get('identity', request.request_id)}",
                    "cell": recipe["cell"],
                    "prompt": request.prompt,
                    "negative_prompt": request.negative_prompt,
                    **{d: request.demographics[d] for d in ("gender", "age", "ethnicity")},
                    "requested": json.dumps(request.attributes, sort_keys=True),
                    "seed": request.seed,
                    "generator": recipe["generator"],
                    "generator_version": recipe["generator_version"],
                    "digital_source_type": said.source_type,
                    "provenance": said.provenance,
                    "truth": json.dumps(face.truth, sort_keys=True) if face.truth is not None else "",
                }
            )
            yield member, face, said

    def encode(item: tuple[str, GeneratedFace, Metadata]) -> tuple[str, bytes]:
        member, face, said = item
        try:
            return member, encode_png(face.image, metadata=said)
        except UserError as error:
            raise UserError(f"{said.image_id}: {error}") from error

    with closing(encode_ahead(faces(), encode, lambda item: item[1].image.nbytes)) as images:
        write_shard(out, images, recipe=recipe, rows=rows)
