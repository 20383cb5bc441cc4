"""Render one shard of the plan with any generator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from evenface import __version__
from evenface.generators import create
from evenface.joblog import progress
from evenface.planning.shards import recipe_digest, requests_of
from evenface.storage.images import encode_png
from evenface.storage.shards import write_shard

#: IPTC digital source types: https://cv.iptc.org/newscodes/digitalsourcetype/
SOURCE_TYPES = {
    "parametric": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation",
}
TRAINED_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def generate_shard(recipe: dict[str, Any], out: str | os.PathLike, resources: dict[str, Any]) -> None:
    """Generate the images of ``recipe`` and write them, one row each, to the shard ``out``.

    ``resources`` is what a machine adds to a recipe without changing a byte: ``device``,
    ``threads`` and the paths of weights or assets. Each row holds image_id, member, what was asked
    (prompt, negative_prompt, cell, gender, age, ethnicity, seed), who made it (generator,
    generator_version, provenance as JSON), identity_id, and, where the generator knows it,
    ``truth`` as JSON.
    """
    generator = create(recipe["generator"], {**recipe["settings"], **resources})
    requests = requests_of(recipe)
    source_type = SOURCE_TYPES.get(recipe["generator"], TRAINED_MEDIA)
    rows: list[dict[str, Any]] = []

    def images() -> Iterator[tuple[str, bytes]]:
        faces = progress(generator.generate(requests), len(requests), f"{recipe['generator']} {recipe['cell']}")
        for face in faces:
            request = face.request
            member = f"{request.request_id}.png"
            rows.append(
                {
                    "image_id": f"{recipe['generator']}/{request.request_id}",
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
                    "digital_source_type": source_type,
                    "provenance": json.dumps(face.provenance, sort_keys=True),
                    "truth": json.dumps(face.truth, sort_keys=True) if face.truth is not None else "",
                }
            )
            text = {
                "DigitalSourceType": source_type,
                "Software": f"evenface {__version__}, generator {recipe['generator']} {recipe['generator_version']}",
                "Description": request.prompt,
                "Seed": str(request.seed),
                "Recipe": recipe_digest(recipe),
            }
            yield member, encode_png(face.image, text=text)

    write_shard(out, images(), recipe=recipe, rows=rows)
