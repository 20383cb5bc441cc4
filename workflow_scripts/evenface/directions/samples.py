"""Random faces of a latent generator, with their latents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface import __version__
from evenface.errors import UserError
from evenface.generators.latent import LatentGenerator, create_latent, space_of
from evenface.joblog import progress
from evenface.parts import Generator, part
from evenface.seeds import seed_from
from evenface.storage.images import encode_png
from evenface.storage.metadata import OF_PARTS, Metadata
from evenface.storage.shards import read_shard, write_shard


def sample_part(recipe: Mapping[str, Any], out: str | os.PathLike, resources: Mapping[str, Any]) -> None:
    """Draw every ``parts``-th of ``samples`` random faces, starting at ``part``, into a shard.

    ``recipe`` has generator, settings (of the generator), space (None: its first), seed, samples, parts, part, and
    ``pictures``; without pictures, only the rows are written, for annotators that do not read pictures. A face depends
    on the seed and its index, never on the part. The rows are those of :func:`write_faces`.
    """
    generator = create_latent(recipe["generator"], {**recipe["settings"], **resources})
    space = space_of(generator, recipe["space"])
    indices = np.arange(recipe["part"], recipe["samples"], recipe["parts"])
    latents = generator.sample(recipe["samples"], seed_from(recipe["seed"], "latent samples"), space)[indices]
    names = [f"{generator.name}/sample-{index:06d}" for index in indices]
    records = [{"seed": recipe["seed"], "sample": int(index)} for index in indices]
    write_faces(
        out, generator, space, latents, names, records, recipe={**recipe, "space": space}, pictures=recipe["pictures"]
    )


def write_faces(
    out: str | os.PathLike,
    generator: LatentGenerator,
    space: str,
    latents: np.ndarray,
    names: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    *,
    recipe: Mapping[str, Any] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    pictures: bool = True,
    drawn: Sequence[bytes | None] | None = None,
) -> None:
    """Draw latents (n, d) into a shard of PNG files; pictures that ``drawn`` already has are not drawn again.

    ``records`` says how each was found (JSON-ready), for the pictures' metadata. Columns of the table: image_id
    (``names``), member, identity_id, latent (float32 list), generator, digital_source_type, provenance (JSON), ``truth``
    (JSON) if the generator knows it, and ``columns``.
    """
    table = pd.DataFrame({"image_id": list(names), "member": [f"{name.split('/')[-1]}.png" for name in names]})
    table["identity_id"] = table["image_id"]
    table["latent"] = list(np.asarray(latents, np.float32))
    origins = [origin_of(generator, space, *face) for face in zip(latents, names, records, strict=True)]
    table["generator"] = generator.name
    table["digital_source_type"] = [origin.source_type for origin in origins]
    table["provenance"] = [origin.provenance for origin in origins]
    truths = known_truths(generator, latents, space)
    if truths is not None:
        table["truth"] = truths
    table = table.assign(**(columns or {}))

    ready = list(drawn) if drawn is not None else [None] * len(table)
    missing = np.array([one is None for one in ready], bool)

    def images() -> Iterator[tuple[str, bytes]]:
        new: Iterator[np.ndarray] = iter(generator.draw(np.asarray(latents)[missing], space))
        faces = list(zip(table["member"], ready, origins, strict=True))
        for member, one, origin in progress(faces, len(faces), f"{generator.name} faces"):
            yield member, encode_png(next(new), metadata=origin) if one is None else one

    write_shard(out, images() if pictures else (), table, dict(recipe or {}))


def origin_of(
    generator: LatentGenerator, space: str, latent: np.ndarray, image_id: str, record: Mapping[str, Any]
) -> Metadata:
    """Metadata of the picture of a latent; its provenance has the latent's SHA-256 (float32, little-endian)."""
    about = part(Generator, generator.name, "latent_directions.generator")
    version = str(about.version)
    known = getattr(generator, "provenance", {})
    digest = hashlib.sha256(np.asarray(latent, "<f4").tobytes()).hexdigest()
    return Metadata(
        source_type=OF_PARTS[about.source_type],
        tool=f"evenface {__version__}, generator {generator.name} {version}",
        generator=generator.name,
        generator_version=version,
        model=str(known.get("model", "")),
        seed=str(record.get("seed", "")),
        image_id=image_id,
        provenance=json.dumps({**known, "space": space, "latent_sha256": digest, **record}, sort_keys=True),
    )


def known_truths(generator: LatentGenerator, latents: np.ndarray, space: str) -> list[str] | None:
    """The truth about each latent's face, as JSON without its description; None if the generator does not know it."""
    truths = getattr(generator, "truths", None)
    if truths is None:
        return None
    kept = ("attributes", "gender", "age", "ethnicity", "years")
    return [json.dumps({key: t[key] for key in kept if key in t}, sort_keys=True) for t in truths(latents, space)]


def latents_of(table: pd.DataFrame, where: str) -> np.ndarray:
    """Float32 (n, d) of the column ``latent``; UserError if it is missing or its rows differ in length."""
    if "latent" not in table or not len(table):
        raise UserError(f"{where}: it holds no latents; run the rule sample_latents again")
    widths = {len(latent) for latent in table["latent"]}
    if len(widths) != 1:
        raise UserError(f"{where}: its latents have several sizes; run the rule sample_latents again")
    return np.stack([np.asarray(latent, np.float32) for latent in table["latent"]])


def read_samples(paths: Sequence[str | os.PathLike]) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of all parts in the order of their image ids, and their latents (n, d)."""
    tables = []
    for path in paths:
        with read_shard(path) as shard:
            tables.append(shard.table)
    table = pd.concat(tables, ignore_index=True).sort_values("image_id", ignore_index=True)
    if table["image_id"].duplicated().any():
        raise UserError(f"{paths[0]}: its faces are in another part too; delete the samples and run again")
    return table, latents_of(table, str(paths[0]))
