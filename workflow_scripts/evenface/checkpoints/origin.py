"""Whether a file of weights is the one that its authors published, as far as hash, known answers and name can tell.

Networks of the same tensors may have another meaning. Every file of published weights that a job opens is judged here,
and the job stores the verdict in its table, see :func:`recorded`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.storage.hashes import sha256_of

#: The states of a file.
BY_HASH, BY_ANSWER, UNVERIFIED = "verified by hash", "verified by known answer", "unverified"

#: The list of published files with their hashes.
REGISTRY = Path(__file__).resolve().parents[3] / "models" / "registry.yaml"

_RECORDS: ContextVar[tuple[list[Origin], ...]] = ContextVar("records", default=())


@dataclass(frozen=True)
class Origin:
    """The verdict on one file: the ``network`` it is read as, its path and SHA-256, its state, and a clause that says why."""

    network: str
    file: str
    sha256: str
    state: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}, read as {self.network}: {self.state}; {self.why}"


@dataclass(frozen=True)
class PublishedFile:
    """A file of the registry: the asset and network it belongs to, its name, and its SHA-256 or first digits (or empty)."""

    asset: str
    network: str
    name: str
    sha256: str


@contextmanager
def recorded() -> Iterator[list[dict[str, str]]]:
    """Collects the verdicts on all files that are opened inside, as mappings for a table's metadata."""
    found: list[Origin] = []
    told: list[dict[str, str]] = []
    token = _RECORDS.set((*_RECORDS.get(), found))
    try:
        yield told
    finally:
        _RECORDS.reset(token)
        told += [asdict(origin) for origin in dict.fromkeys(found)]


def record(origin: Origin) -> None:
    """Add a verdict to all lists that are open."""
    for found in _RECORDS.get():
        found.append(origin)


def gathered(tables: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The verdicts in the metadata (``weights``) of several tables, each once."""
    every = (Origin(**one) for meta in tables for one in meta.get("weights", ()))
    return [asdict(origin) for origin in dict.fromkeys(every)]


@cache
def published_files() -> tuple[PublishedFile, ...]:
    """The registry's files that say which network they belong to."""
    import yaml

    assets = yaml.load(REGISTRY.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["assets"]
    return tuple(
        PublishedFile(name, file["network"], Path(file["path"]).name, file.get("sha256") or "")
        for name, asset in assets.items()
        for file in asset.get("files", ())
        if file.get("network")
    )


def by_hash(network: str, digest: str, path: str | os.PathLike) -> PublishedFile | None:
    """The published file of ``network`` with this SHA-256; UserError if it is that of another network's file."""
    for file in published_files():
        if file.sha256 and digest.startswith(file.sha256):
            if file.network != network:
                raise UserError(
                    f"{path}: its SHA-256 is that of {file.asset}, the published file of {file.network!r}, not of "
                    f"{network!r}; name the file of {network!r}"
                )
            return file
    return None


def judge_file(network: str, path: str | os.PathLike) -> Origin:
    """Record the verdict on a file that only its hash can prove, such as dlib's models; UserError as :func:`by_hash`."""
    digest = sha256_of(path)
    file = by_hash(network, digest, path)
    why = f"it is the published file {file.asset}" if file else "its SHA-256 is not that of a published file"
    origin = Origin(network, str(path), digest, BY_HASH if file else UNVERIFIED, why)
    record(origin)
    return origin
