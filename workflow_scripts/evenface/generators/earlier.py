"""Earlier shards in a folder. A new shard copies pictures from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.plan.paths import ALIGNED, DRAWN, IMAGES, SCREENING, noted_file, set_file
from evenface.plan.shards import draws_of, recipe_digest
from evenface.storage.atomic import write_json
from evenface.storage.shards import read_recipe


def note_earlier(name: str, planned: Mapping[str, Mapping[str, Any]]) -> None:
    """Note which other files of the set ``name`` hold pictures for each planned shard that is not yet drawn and screened.

    ``planned`` maps all shards to their recipes. They have no picture in common, so only files of no planned shard
    matter. Without the note every job looks into every file of its folder, and the time of a run grows with the square
    of the number of shards.
    """
    folder = _folder(name)
    known = set(os.listdir(folder)) if folder.is_dir() else set()
    missing = [shard for shard in planned if not {f"{shard}{IMAGES}", f"{shard}{SCREENING}"} <= known]
    noted: dict[str, list[str]] = {shard: [] for shard in planned}
    others = [file for file in sorted(known) if _holds_pictures(file) and file.partition(".")[0] not in planned]
    if missing and others:
        wanted: dict[str, list[str]] = {}
        for shard in missing:
            for digest in _digests(planned[shard]):
                wanted.setdefault(digest, []).append(shard)
        for file in others:
            found = _digests_in(folder / file) & wanted.keys()
            for shard in {shard for digest in found for shard in wanted[digest]}:
                noted[shard].append(file)
    write_json(noted_file(name), noted)


def shards_with(out: Path, digests: Set[str], since: int = 0) -> Iterator[Path]:
    """Image shards beside ``out``, of any version, that hold pictures of one of the recipes ``digests``.

    Shards last changed before ``since`` (nanoseconds) are left out. If a run noted which files may hold some
    (:func:`note_earlier`), only those are looked into, and what an interrupted job for ``out`` has left.
    """
    for path in _candidates(out):
        try:
            old = path.stat().st_mtime_ns < since
        except OSError:  # a job that ended has removed it
            continue
        if path != out and not old and _digests_in(path) & digests:
            yield path


def _candidates(out: Path) -> list[Path]:
    """Files that may hold pictures for the shard ``out``, in the order of their names."""
    name = out.parent.name
    try:
        noted = json.loads(Path(noted_file(name)).read_text(encoding="utf-8")) if out.parent == _folder(name) else {}
    except (OSError, ValueError):
        noted = {}
    if out.stem not in noted:
        return sorted(path for path in out.parent.glob("*.tar") if _holds_pictures(path.name))
    return sorted({*out.parent.glob(f"{out.stem}.*{DRAWN}"), *(out.parent / name for name in noted[out.stem])})


def _folder(name: str) -> Path:
    return Path(set_file(name, ""))


def _holds_pictures(name: str) -> bool:
    return name.endswith(IMAGES) and not name.startswith(".") and not name.endswith(ALIGNED)


def _digests(recipe: Mapping[str, Any]) -> set[str]:
    return {recipe_digest(draw) for draw in draws_of(recipe)}


def _digests_in(path: Path) -> set[str]:
    """Digests of the recipes whose pictures a file holds; none where it is damaged or gone."""
    try:
        return _digests(read_recipe(path))
    except (OSError, UserError):
        return set()


def newest(paths: Iterable[str]) -> int:
    """The latest modification time of the files and folders and all they contain, in nanoseconds; 0 if none exists."""
    every = (p for path in map(Path, paths) for p in (path, *path.rglob("*")))
    return max((p.stat().st_mtime_ns for p in every if p.exists()), default=0)
