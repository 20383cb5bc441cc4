"""Image shards: one tar file with the recipe that made it, its images, and one row each.

Members in order: ``recipe.json``, ``images/<name>`` ..., ``table.parquet``. Times, owners and
modes are fixed, so equal content gives equal bytes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from evenface.errors import UserError, raise_if_machine
from evenface.names import member_reference
from evenface.storage.archives import Archive
from evenface.storage.atomic import atomic_path
from evenface.storage.images import MAX_BYTES, decode_image
from evenface.storage.tables import read_arrow, table_bytes, table_of

if TYPE_CHECKING:
    import pandas as pd


_NO_ROWS = pa.schema([("image_id", pa.string()), ("member", pa.string())])

#: Python type of a row's values -> type of the table's column.
_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def _schema_of(row: Mapping[str, Any]) -> pa.Schema:
    return pa.schema([(key, _TYPES[type(value)]) for key, value in row.items()])


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

    ``images`` yields (file name, encoded bytes); a generator is consumed while the file grows. The table has
    the columns ``image_id`` and ``member`` (the file name), even without images, and provenance. Pass either
    ``table``, or ``rows``, a list that the generator fills meanwhile.
    """
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
        _add(archive, "recipe.json", json.dumps(recipe or {}, indent=1).encode() + b"\n")
        for name, data in images:
            _add(archive, f"images/{name}", data)
        if table is None:
            rows = list(rows or ())
            table = table_of(rows, _schema_of(rows[0]) if rows else _NO_ROWS)
        _add(archive, "table.parquet", table_bytes(table, kind="shard"))


class Shard:
    """A shard opened for reading. Use as a context manager, or close it."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._archive, self.recipe = _opened(path)
        self._table = _table(self._archive, path, columns=None)

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        del self._archive

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per image."""
        return self._table.to_pandas()

    def rows(self) -> list[dict[str, Any]]:
        """The same rows, without pandas."""
        return self._table.to_pylist()

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
    """A shard's recipe, and image_id, member, ``columns`` and existing ``optional`` columns of its table.

    It takes a third of the time of :func:`read_shard`. Raises UserError in the same cases.
    """
    archive, recipe = _opened(path)
    return _table(archive, path, columns=("image_id", "member", *columns), optional=optional), recipe


def read_recipe(path: str | os.PathLike) -> dict[str, Any]:
    """A shard's recipe; nothing else is read. Raises UserError as :func:`read_shard` does."""
    try:
        with tarfile.open(path, "r:") as archive:
            first = archive.next()
            if first is None or first.name != "recipe.json":
                raise UserError(f"{path}: does not begin with recipe.json; delete the shard and run again")
            if first.size > MAX_BYTES:
                raise UserError(f"{path}: recipe.json has {first.size} bytes, more than a shard may hold")
            recipe = json.loads(archive.extractfile(first).read())
    except ValueError as error:
        raise UserError(f"{path}: recipe.json is damaged ({error}); delete the shard and run again") from error
    except (OSError, tarfile.TarError) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: not a readable shard ({error}); delete it and run again") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path}: recipe.json is damaged (it holds no mapping); delete the shard and run again")
    return recipe


def reference_of(path: str | os.PathLike, name: str) -> str:
    """Image reference of an image of a shard, by its file name."""
    return member_reference(path, f"images/{name}")


def read_shard(path: str | os.PathLike) -> Shard:
    """Open a shard; UserError naming the file when it is not a complete shard."""
    return Shard(path)
