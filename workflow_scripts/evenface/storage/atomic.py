"""Files that are either complete or absent: written beside their place, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evenface.errors import UserError


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path`` with its suffix; rename it there on success.

    Parents are created. On any exception the temporary file is removed and ``path`` is left as
    it was. A full disk or a missing right becomes a UserError that names ``path``.
    """
    path = Path(path)
    # Always the same name: what a killed job leaves behind is overwritten by the job that repeats it.
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        descriptor = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError) or error.errno is None:
            raise
        raise UserError(f"cannot write {path}: {os.strerror(error.errno)}; nothing was left there") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(*folders: str | os.PathLike) -> None:
    """Raise UserError naming the first folder that cannot be made or written to; makes none."""
    for folder in folders:
        place = Path(folder)
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            raise UserError(f"cannot write to {folder}: {place} is a file; move it away")
        if not os.access(place, os.W_OK | os.X_OK):
            raise UserError(f"cannot write to {folder}: no right to, or {place} is on a read-only disk")


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` atomically as UTF-8 with LF line ends."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` atomically as indented JSON; NaN is refused (ValueError)."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
