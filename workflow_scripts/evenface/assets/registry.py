"""The registry of third-party weights and data sets: ``models/registry.yaml``.

One entry per asset: what it is, who made it, what its licence allows, where it comes from, where it
goes, and which configuration keys use it. It is read while the DAG is built, so this module imports
nothing slow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from evenface.assets.places import bytes_in_words, place
from evenface.configuration.checking import load_schema, read_yaml, schema_problems
from evenface.errors import UserError, unknown_name
from evenface.names import inside

#: The layout of the registry.
SCHEMA = Path(__file__).resolve().parents[3] / "schemas" / "registry.schema.yaml"


@dataclass(frozen=True)
class AssetFile:
    """One file: its place, address and what is known about its content (None: unknown)."""

    path: str
    network: str | None = None
    url: str | None = None
    member: str | None = None
    bytes: int | None = None
    max_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Content:
    """What a data set's folder holds: one of some names, and their published MD5 sums."""

    any_of: tuple[str, ...]
    optional: bool = False
    md5: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asset:
    """One entry of the registry; fields as in ``schemas/registry.schema.yaml``."""

    name: str
    title: str
    maker: str | None
    kind: str
    licence: str
    limits: str | None
    page: str | None
    how: str
    rule: str | None
    package: Mapping[str, Any] | None
    steps: tuple[str, ...]
    about: str | None
    files: tuple[AssetFile, ...]
    folder: str | None
    contains: tuple[Content, ...]
    needed_by: tuple[str, ...]
    note: str | None

    @property
    def fetched_by(self) -> str | None:
        """The rule that fetches it; None if a person must get it."""
        return "download_asset" if self.how == "http" else self.rule

    def size(self) -> str:
        """Its size in words; ``unknown`` if no source states it."""
        if self.files and all(file.bytes for file in self.files):
            return bytes_in_words(sum(file.bytes or 0 for file in self.files))
        return self.about or "unknown"


@dataclass(frozen=True)
class Registry:
    """All assets by name; ``path`` is the file they were read from."""

    path: Path
    assets: dict[str, Asset]

    def __iter__(self) -> Iterator[Asset]:
        return iter(self.assets.values())

    def __getitem__(self, name: str) -> Asset:
        """The asset ``name``; UserError with similar names otherwise."""
        if name not in self.assets:
            near = [other for other in self.assets if name.lower() in other]
            raise UserError(unknown_name(f"assets of {self.path}", name, near or self.assets))
        return self.assets[name]

    @property
    def lock_path(self) -> Path:
        """The file that records the hashes of files in use: beside the registry. If the registry is outside the working
        directory, it is in models/ of the working directory, because the record's paths are relative to it."""
        beside = Path(place(self.path)).with_suffix(".lock")
        return Path("models") / beside.name if beside.is_absolute() else beside

    def owner(self, path: str | os.PathLike) -> tuple[Asset, AssetFile] | None:
        """The asset and file that belong at ``path``; None for a user's own file."""
        wanted = place(path)
        for asset in self:
            for file in asset.files:
                if place(file.path) == wanted:
                    return asset, file
        return None

    def fetched(self, rule: str) -> dict[str, tuple[Asset, AssetFile]]:
        """Path -> asset and file of everything the rule of that name fetches."""
        return {file.path: (asset, file) for asset in self if asset.fetched_by == rule for file in asset.files}


def load_registry(path: str | os.PathLike) -> Registry:
    """Read and check a registry; UserError with one line per mistake, naming the entry and key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: the registry of assets cannot be read ({reason})") from error
    try:
        content = read_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from error
    problems = schema_problems(content, load_schema(SCHEMA))
    if not problems:
        assets = {name: _asset(name, entry) for name, entry in content["assets"].items()}
        problems = list(_contradictions(assets))
    if problems:
        raise UserError(f"{path} cannot be used:\n  " + "\n  ".join(problems))
    return Registry(path, assets)


def _asset(name: str, entry: Mapping[str, Any]) -> Asset:
    values = {key: entry.get(key) for key in ("title", "maker", "kind", "page", "how", "rule", "package", "about",
                                              "folder", "note")}  # fmt: skip
    return Asset(
        name=name,
        licence=entry["licence"]["name"],
        limits=entry["licence"]["limits"],
        steps=tuple(entry.get("steps", ())),
        files=tuple(AssetFile(**file) for file in entry.get("files", ())),
        contains=tuple(
            Content(tuple(part["any_of"]), part.get("optional", False), part.get("md5", {}))
            for part in entry.get("contains", ())
        ),
        needed_by=tuple(entry.get("needed_by", ())),
        **values,
    )


def _contradictions(assets: Mapping[str, Asset]) -> Iterator[str]:
    """Check what the schema cannot: the entry has what its way of fetching needs; places are unique."""
    seen: dict[str, str] = {}
    for asset in assets.values():
        where = f"assets.{asset.name}"
        if asset.kind == "dataset" and not (asset.folder and asset.contains):
            yield f"{where}: a data set needs 'folder' and 'contains'"
        if asset.how == "manual" and not asset.steps:
            yield f"{where}: how is manual, so 'steps' must say what a person does"
        if asset.how == "http" and not asset.files:
            yield f"{where}: how is http, so 'files' must name what is downloaded"
        if asset.how == "package" and not (asset.rule and asset.package and asset.files):
            yield f"{where}: how is package, so 'rule', 'package' and 'files' must say what is taken out of which"
        for folder, name in _names_below(asset):
            try:
                inside(folder, name, where)
            except UserError as error:
                yield str(error)
        for file in asset.files:
            if asset.how == "http" and not file.url:
                yield f"{where}: {file.path} has no url"
            if file.url and not file.url.startswith("https://") and len(file.sha256 or "") < 64:
                yield f"{where}: {file.path} comes over plain http, so its whole sha256 must be pinned"
            if file.path in seen:
                yield f"{where}: {file.path} is also claimed by {seen[file.path]}"
            seen[file.path] = asset.name


def _names_below(asset: Asset) -> Iterator[tuple[str, str]]:
    """(folder, name below it) of everything that an entry names."""
    yield from (("the folder the workflow runs in", file.path) for file in asset.files)
    yield from (("the data set's folder", name) for content in asset.contains for name in content.any_of)
    if asset.package and asset.package.get("file"):
        yield "the folder of the download", asset.package["file"]
