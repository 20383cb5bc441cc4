"""Image shards: one tar file with the recipe that made it, its images, and one row each.

Members in order: ``recipe.json``, ``images/<name>`` ..., ``table.parquet``. Times, owners and
modes are fixed, so that equal content gives equal bytes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.errors import MachineError, UserError, raise_if_machine
from evenface.storage.archives import Archive
from evenface.storage.atomic import atomic_path
from evenface.storage.images import MAX_BYTES, decode_image
from evenface.storage.tables import read_table, table_bytes


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
        try:
            self._archive = Archive(self.path)
        except (OSError, tarfile.TarError) as error:
            raise_if_machine(error, path)
            raise UserError(f"{path}: not a readable shard ({error}); delete it and run again") from error
        try:
            self.recipe: dict[str, Any] = json.loads(self._read("recipe.json"))
            table = io.BytesIO(self._read("table.parquet"))
            table.name = "table.parquet"  # for the message of read_table
            self.table: pd.DataFrame = read_table(table, required=("image_id", "member"))
        except ValueError as error:
            raise UserError(f"{path}: recipe.json is damaged ({error}); delete the shard and run again") from error
        except MachineError:
            raise
        except UserError as error:
            raise UserError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        del self._archive

    def _read(self, member: str) -> bytes:
        if member not in self._archive.index:
            raise UserError(f"{self.path}: member {member!r} is missing; delete the shard and run again")
        size = self._archive.index[member][1]
        if size > MAX_BYTES:
            raise UserError(f"{self.path}: member {member!r} has {size} bytes, more than a shard may hold")
        try:
            return self._archive.read(member)
        except (OSError, tarfile.TarError) as error:
            raise_if_machine(error, self.path)
            raise UserError(f"{self.path}: not a readable shard ({error}); delete it and run again") from error

    def image_bytes(self, name: str) -> bytes:
        """Encoded bytes of one image, by its file name."""
        return self._read(f"images/{name}")

    def image(self, name: str) -> np.ndarray:
        """RGB uint8 (H, W, 3) of one image, by its file name; raises ImageError."""
        return decode_image(self.image_bytes(name), f"{self.path}::images/{name}")

    def reference(self, name: str) -> str:
        """Image reference of one image, by its file name."""
        return f"{self.path}::images/{name}"

    def references(self) -> list[str]:
        """Image references in the order of the table."""
        return [self.reference(name) for name in self.table["member"]]


def read_shard(path: str | os.PathLike) -> Shard:
    """Open a shard; raises UserError naming the file when it is no complete shard."""
    return Shard(path)
