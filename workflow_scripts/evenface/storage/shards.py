"""Image shards: one tar file with the recipe that made it, its images, and one row each.

Members in order: ``recipe.json``, ``images/<name>`` ..., ``table.parquet``. Times, owners and
modes are fixed, so that equal content gives equal bytes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evenface.errors import UserError, raise_if_machine
from evenface.storage.archives import Archive
from evenface.storage.atomic import atomic_path
from evenface.storage.images import MAX_BYTES, decode_image
from evenface.storage.tables import read_arrow, table_bytes


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    archive.addfile(info, io.BytesIO(data))


def write_shard(
    path: str | os.PathLike,
    images: Iterable[tuple[str, bytes]],
    table: pd.DataFrame | None = None,
    recipe: dict[str, Any] | None = None,
    *,
    rows: Iterable[dict] | None = None,
) -> None:
    """Write a shard atomically.

    ``images`` yields (file name, encoded bytes) and may be a generator that is consumed while the
    file grows. The table has the columns ``image_id`` and ``member`` (the file name) plus
    provenance; pass either ``table``, or ``rows``, a list the generator fills as it goes.
    """
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, "recipe.json", json.dumps(recipe or {}, indent=1).encode() + b"\n")
        for name, data in images:
            _add(archive, f"images/{name}", data)
        frame = table if table is not None else pd.DataFrame(list(rows or ()))
        _add(archive, "table.parquet", table_bytes(frame, kind="shard"))


class Shard:
    """A shard opened for reading. Use as a context manager, or close it."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._archive, self.recipe = _opened(path)
        self.table: pd.DataFrame = _table(self._archive, path, columns=None).to_pandas()

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        del self._archive

    def image_bytes(self, name: str) -> bytes:
        """Encoded bytes of one image, by its file name."""
        return _read(self._archive, self.path, f"images/{name}")

    def image(self, name: str) -> np.ndarray:
        """RGB uint8 (H, W, 3) of one image, by its file name; raises ImageError."""
        return decode_image(self.image_bytes(name), self.reference(name))

    def reference(self, name: str) -> str:
        """Image reference of one image, by its file name."""
        return reference_of(self.path, name)

    def references(self) -> list[str]:
        """Image references in the order of the table."""
        return [self.reference(name) for name in self.table["member"]]


def _opened(path: str | os.PathLike) -> tuple[Archive, dict[str, Any]]:
    """A shard's archive and recipe."""
    try:
        archive = Archive(path)
    except (OSError, tarfile.TarError) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: not a readable shard ({error}); delete it and run again") from error
    try:
        return archive, json.loads(_read(archive, path, "recipe.json"))
    except ValueError as error:
        raise UserError(f"{path}: recipe.json is damaged ({error}); delete the shard and run again") from error


def _read(archive: Archive, path: str | os.PathLike, member: str) -> bytes:
    if member not in archive.index:
        raise UserError(f"{path}: member {member!r} is missing; delete the shard and run again")
    size = archive.index[member][1]
    if size > MAX_BYTES:
        raise UserError(f"{path}: member {member!r} has {size} bytes, more than a shard may hold")
    try:
        return archive.read(member)
    except (OSError, tarfile.TarError) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: not a readable shard ({error}); delete it and run again") from error


def _table(archive: Archive, path: str | os.PathLike, **options: Any) -> pa.Table:
    content = io.BytesIO(_read(archive, path, "table.parquet"))
    content.name = f"{path}: table.parquet"  # for the message of read_arrow
    return read_arrow(content, required=("image_id", "member"), **options)


def read_rows(
    path: str | os.PathLike, columns: Sequence[str] = (), optional: Sequence[str] = ()
) -> tuple[pa.Table, dict[str, Any]]:
    """A shard's recipe, and image_id, member, ``columns`` and, where there, ``optional`` of its table.

    It takes a third of the time of :func:`read_shard`. Raises UserError as that does.
    """
    archive, recipe = _opened(path)
    return _table(archive, path, columns=("image_id", "member", *columns), optional=optional), recipe


def read_recipe(path: str | os.PathLike) -> dict[str, Any]:
    """A shard's recipe. Raises UserError as :func:`read_shard` does, but does not look at the table."""
    return _opened(path)[1]


def reference_of(path: str | os.PathLike, name: str) -> str:
    """Image reference of an image of a shard, by its file name."""
    return f"{path}::images/{name}"


def read_shard(path: str | os.PathLike) -> Shard:
    """Open a shard; raises UserError naming the file when it is no complete shard."""
    return Shard(path)
