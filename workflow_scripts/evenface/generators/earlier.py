"""Earlier shards in a folder. A new shard copies pictures from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from evenface.errors import UserError
from evenface.plan.paths import ALIGNED
from evenface.plan.shards import draws_of, recipe_digest
from evenface.storage.shards import read_recipe


def shards_with(out: Path, digests: Set[str], since: int = 0) -> Iterator[Path]:
    """Image shards beside ``out``, of any version, that hold pictures of one of the recipes ``digests``.

    Shards last changed before ``since`` (nanoseconds) are left out.
    """
    for path in sorted(out.parent.glob("*.tar")):
        if path.name.startswith(".") or path.name.endswith(ALIGNED) or path == out:
            continue
        try:
            old = path.stat().st_mtime_ns < since
            made = set() if old else {recipe_digest(draw) for draw in draws_of(read_recipe(path))}
        except (OSError, UserError):  # a job that ended has removed it, or it is damaged
            continue
        if made & digests:
            yield path


def newest(paths: Iterable[str]) -> int:
    """The latest modification time of the files and folders and all they contain, in nanoseconds; 0 if none exists."""
    every = (p for path in map(Path, paths) for p in (path, *path.rglob("*")))
    return max((p.stat().st_mtime_ns for p in every if p.exists()), default=0)
