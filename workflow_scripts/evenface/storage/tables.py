"""Parquet tables that say what they are: a kind, a schema version and where they came from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from evenface import __version__
from evenface.errors import UserError
from evenface.storage.atomic import atomic_path

if TYPE_CHECKING:
    import pandas as pd  # imported by those who use frames: it takes longer than all the rest of a small job

#: Raised whenever a reader of an older table would misread it.
SCHEMA_VERSION = 1

_KEY = b"evenface"


def _encode(frame: pd.DataFrame | pa.Table, kind: str, meta: dict[str, Any] | None) -> pa.Table:
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    header = {"kind": kind, "schema_version": SCHEMA_VERSION, "evenface": __version__, **(meta or {})}
    return table.replace_schema_metadata({_KEY: json.dumps(header, sort_keys=True).encode()})


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows of plain values as a table; NaN, and what a row lacks, become null.

    Through JSON, since the first array that pyarrow makes of Python's values imports pandas.
    """
    if not rows:
        return schema.empty_table()
    lines = (json.dumps({k: v for k, v in row.items() if v == v and v is not None}) for row in rows)
    data = "\n".join(lines).encode()
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    return pj.read_json(pa.BufferReader(data), pj.ReadOptions(block_size=len(data) + 1), options).select(schema.names)


def write_table(
    frame: pd.DataFrame | pa.Table, path: str | os.PathLike, *, kind: str, meta: dict[str, Any] | None = None
) -> None:
    """Write ``frame`` atomically as Parquet (zstd). The same frame and meta give the same bytes.

    ``kind`` names the table's role ("faces", "screening", ...); ``meta`` is any JSON-ready dict.
    """
    table = _encode(frame, kind, meta)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def table_bytes(frame: pd.DataFrame | pa.Table, *, kind: str, meta: dict[str, Any] | None = None) -> bytes:
    """The bytes :func:`write_table` would write."""
    sink = pa.BufferOutputStream()
    pq.write_table(_encode(frame, kind, meta), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def read_table(
    path: str | os.PathLike | Any, *, columns: list[str] | None = None, required: Iterable[str] = ()
) -> pd.DataFrame:
    """Read a Parquet table (a path or a binary file object) as :func:`read_arrow` does."""
    return read_arrow(path, columns=columns, required=required).to_pandas()


def read_arrow(
    path: str | os.PathLike | Any, *, columns: list[str] | None = None, required: Iterable[str] = ()
) -> pa.Table:
    """Read a Parquet table (a path or a binary file object) without pandas.

    Raises UserError naming the file when it is missing, is no Parquet file, or lacks a column of
    ``columns`` or ``required``.
    """
    name = path if isinstance(path, (str, os.PathLike)) else getattr(path, "name", "table")
    if isinstance(path, (str, os.PathLike)) and not Path(path).is_file():
        raise UserError(f"{path}: no such table; run the rule that writes it")
    try:
        file = pq.ParquetFile(path)
        present = set(file.schema_arrow.names)
        missing = [c for c in (*(columns or ()), *required) if c not in present]
        if missing:
            raise UserError(f"{name}: column {missing[0]!r} is missing; it has {', '.join(sorted(present))}")
        table = file.read(columns=columns)
        table.validate(full=True)  # a flipped bit in a text would only show when the text is used
        return table
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: not a readable Parquet table ({error}); delete it and run again") from error


def table_meta(path: str | os.PathLike) -> dict[str, Any]:
    """The header written by :func:`write_table` ({} for a Parquet file of other origin)."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(_KEY, b"{}"))
