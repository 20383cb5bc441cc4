"""Fill one shard of the plan: copy pictures that earlier files have, and draw the rest with any generator."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenface import __version__
from evenface.errors import UserError
from evenface.generators import create, protocol
from evenface.generators.earlier import newest, shards_with
from evenface.generators.encoding import encode_ahead
from evenface.generators.protocol import GeneratedFace
from evenface.joblog import log, progress
from evenface.parts import Generator, part
from evenface.plan.paths import DRAWN
from evenface.plan.requests import Request
from evenface.plan.shards import draws_of, recipe_digest, requests_of
from evenface.storage import metadata
from evenface.storage.atomic import this_process
from evenface.storage.images import ImageError, ImageReader, decode_image, encode_png
from evenface.storage.metadata import Metadata
from evenface.storage.shards import read_shard, reference_of, write_shard
from evenface.taxonomy import UNKNOWN, study


def source_type_of(generator: str, face: GeneratedFace) -> str:
    """The face's digital source type: the one in its provenance, or the usual one of its generator.

    A picture that a network made from another picture counts as an edit.
    """
    if stated := face.provenance.get("source_type"):
        return metadata.source_type(stated)
    usual = metadata.OF_PARTS[part(Generator, generator, "generation.generator").source_type]
    return metadata.EDITED if usual == metadata.TRAINED and face.request.initial_image else usual


def metadata_of(recipe: dict[str, Any], face: GeneratedFace) -> Metadata:
    """The metadata of a generated image."""
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


def columns() -> tuple[str, ...]:
    """The columns of a shard's table."""
    return (
        "image_id", "member", "identity_id", "cell", "prompt", "negative_prompt", *study(), "requested",
        "seed", "generator", "generator_version", "digital_source_type", "recipe", "provenance", "truth",
    )  # fmt: skip


#: Drawn pictures are saved to a separate file at least this often, in seconds and bytes. A repeated job continues from
#: there.
SAVE_EVERY, SAVE_BYTES = 10.0, 64 * 1024 * 1024


@dataclass(frozen=True)
class Picture:
    """An encoded picture with its row. If ``data`` is None, the picture is in the file that ``reference`` names."""

    row: dict[str, Any]
    data: bytes | None = None
    reference: str = ""


def generate_shard(recipe: dict[str, Any], out: str | os.PathLike, resources: dict[str, Any]) -> None:
    """Write the images of ``recipe``, one row each, to the shard ``out``: copied from earlier files or drawn.

    ``recipe`` is that of a shard (:class:`evenface.plan.shards.Plan`). ``resources`` holds what depends on the machine
    and does not change any byte: ``device``, ``threads`` and ``files``, the paths of weights or assets. Each row
    (:func:`columns`) holds image_id, member, what was asked for (prompt, negative_prompt, cell, the study's dimensions,
    seed), what made it (generator, generator_version, digital_source_type, the digest of its prompt's recipe, provenance
    as JSON), identity_id, and ``truth`` as JSON if the generator knows it. The images' metadata say the same.
    """
    out = Path(out)
    wanted = {
        f"{recipe['generator']}/{r.request_id}": (r, draw) for draw in draws_of(recipe) for r in requests_of(draw)
    }
    ready = drawn_before(out, wanted, newest((resources.get("files") or {}).values()))
    missing = [asked for image_id, asked in wanted.items() if image_id not in ready]
    if ready:
        log.info("%d of %d pictures are in earlier files and are copied", len(ready), len(wanted))
    if missing:
        generator = create(recipe["generator"], {**recipe["settings"], **resources})
        _draw_missing(generator, missing, recipe, out, ready)
    with ImageReader() as reader:
        images = (
            (picture.row["member"], picture.data if picture.data is not None else reader.read_bytes(picture.reference))
            for picture in (ready[image_id] for image_id in wanted)
        )
        write_shard(out, images, recipe=recipe, rows=[ready[image_id].row for image_id in wanted])
    for path in out.parent.glob(f"{out.stem}.*{DRAWN}"):
        path.unlink(missing_ok=True)


def _draw_missing(
    generator: protocol.Generator,
    missing: Sequence[tuple[Request, dict[str, Any]]],
    recipe: dict[str, Any],
    out: Path,
    ready: dict[str, Picture],
) -> None:
    """Draw the missing pictures into ``ready``, and regularly save them in files beside ``out``."""
    draws = {request.request_id: draw for request, draw in missing}
    faces = progress(generator.generate([request for request, _ in missing]), len(missing), recipe["generator"])

    def encode(face: GeneratedFace) -> Picture:
        draw = draws[face.request.request_id]
        image_metadata = metadata_of(draw, face)
        try:
            return Picture(_row(draw, face, image_metadata), encode_png(face.image, metadata=image_metadata))
        except UserError as error:
            raise UserError(f"{image_metadata.image_id}: {error}") from error

    unsaved: list[Picture] = []
    files, size, saved = 0, 0, time.monotonic()
    with closing(encode_ahead(faces, encode, lambda face: face.image.nbytes)) as pictures:
        for picture in pictures:
            ready[picture.row["image_id"]] = picture
            unsaved.append(picture)
            size += len(picture.data)
            if time.monotonic() - saved < SAVE_EVERY and size < SAVE_BYTES:
                continue
            # Named by the process: one that was thought dead may still be at work on the same shard.
            path = out.with_name(f"{out.stem}.{this_process()}-{files}{DRAWN}")
            rows = [picture.row for picture in unsaved]
            write_shard(path, ((picture.row["member"], picture.data) for picture in unsaved), recipe=recipe, rows=rows)
            for row in rows:
                ready[row["image_id"]] = Picture(row, reference=reference_of(path, row["member"]))
            files, size, saved, unsaved = files + 1, 0, time.monotonic(), []


def _row(draw: dict[str, Any], face: GeneratedFace, image_metadata: Metadata) -> dict[str, Any]:
    request = face.request
    return {
        "image_id": image_metadata.image_id,
        "member": f"{request.request_id}.png",
        "identity_id": f"{draw['generator']}/{draw.get('identity') or face.provenance.get('identity', request.request_id)}",
        "cell": draw["cell"],
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        **{d: request.demographics.get(d, UNKNOWN) for d in study()},
        "requested": json.dumps(request.attributes, sort_keys=True),
        "seed": request.seed,
        "generator": draw["generator"],
        "generator_version": draw["generator_version"],
        "digital_source_type": image_metadata.source_type,
        "recipe": image_metadata.recipe,
        "provenance": image_metadata.provenance,
        "truth": json.dumps(face.truth, sort_keys=True) if face.truth is not None else "",
    }


def drawn_before(out: Path, wanted: Mapping[str, tuple[Request, dict[str, Any]]], since: int) -> dict[str, Picture]:
    """Pictures of ``wanted``, image_id -> (request, recipe), in the other files beside ``out``.

    A picture counts if it has the same recipe, can be decoded, started from the same image, and its file is not older
    than ``since`` (nanoseconds), the time when the generator's files last changed.
    """
    digests = {image_id: recipe_digest(draw) for image_id, (_, draw) in wanted.items()}
    found: dict[str, Picture] = {}
    with ImageReader() as reader:
        for path in shards_with(out, set(digests.values()), since):
            try:
                with read_shard(path) as shard:
                    rows, one = shard.rows(), "" if "draws" in shard.recipe else recipe_digest(shard.recipe)
            except UserError as error:
                log.warning("%s", error)
                continue
            for row in rows:
                image_id, reference = row["image_id"], reference_of(path, row["member"])
                made = row.get("recipe") or one
                if image_id in found or digests.get(image_id) != made:
                    continue
                if _is_sound(reader, reference, wanted[image_id][0], row):
                    row = {column: row.get(column) for column in columns()} | {"recipe": made}
                    found[image_id] = Picture(row, reference=reference)
    return found


def _is_sound(reader: ImageReader, reference: str, request: Request, row: Mapping[str, Any]) -> bool:
    """Whether a picture can be decoded, and started from the same image as it would now."""
    try:
        decode_image(reader.read_bytes(reference), reference)
        if request.initial_image:
            begun = json.loads(row["provenance"] or "{}").get("initial_sha256")
            return begun == hashlib.sha256(reader.read_bytes(request.initial_image)).hexdigest()
    except ImageError as error:
        log.warning("%s; it is drawn again", error)
        return False
    return True
