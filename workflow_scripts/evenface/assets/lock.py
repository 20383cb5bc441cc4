"""``models/registry.lock``: the hashes of used files, by path.

A file's hash is recorded when it is first used and compared afterwards. Hashing gigabytes takes seconds, so
size and modification time are recorded too, and a file is read again only if they changed. The record is JSON,
rewritten as a whole under a lock; several jobs may record at the same time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from evenface.assets.places import place
from evenface.errors import UserError
from evenface.storage.atomic import exclusive, write_json

log = logging.getLogger("evenface")

_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """A recorded file: hexadecimal SHA-256, size in bytes, modification time in ns, and when it was recorded."""

    sha256: str
    size: int
    mtime_ns: int
    recorded: str


def md5_of(path: str | os.PathLike) -> str:
    """Hexadecimal MD5 of a file, for comparison with published sums; it protects only from accidents."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class Lock:
    """The recorded hashes of one working directory. A missing file counts as an empty record."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.entries = self._read()

    def _read(self) -> dict[str, Entry]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["version"] != _VERSION:
                raise ValueError(f"version {content['version']}")
            return {name: Entry(**entry) for name, entry in content["files"].items()}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(f"{self.path}: the record of hashes cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.path}: not a record of hashes ({error}); delete it, and every file is recorded again at "
                "its next use"
            ) from error

    def entry(self, path: str | os.PathLike) -> Entry | None:
        """The record of ``path``, or None."""
        return self.entries.get(place(path))

    def unchanged(self, path: str | os.PathLike) -> Entry | None:
        """The entry of ``path`` if the file has the recorded size and modification time, else None."""
        entry = self.entry(path)
        status = os.stat(path)
        same = entry and (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns)
        return entry if same else None

    def record(self, path: str | os.PathLike, sha256: str) -> None:
        """Write down the hash of a file as it is now; safe beside other processes that record.

        If the record cannot be written (weights on a read-only disk), a warning is logged. The file is then hashed at
        every start, and compared only with published hashes.
        """
        status = os.stat(path)
        recorded = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = Entry(sha256, status.st_size, status.st_mtime_ns, recorded)
        try:
            self._rewrite(place(path), entry)
        except UserError as error:
            log.warning("the hash of %s is not recorded: %s", path, error)
            self.entries[place(path)] = entry

    def forget(self, path: str | os.PathLike) -> None:
        """Remove the record of ``path``."""
        self._rewrite(place(path), None)

    def _rewrite(self, name: str, entry: Entry | None) -> None:
        with exclusive(self.path):
            self.entries = self._read()
            self.entries.pop(name, None)
            if entry:
                self.entries[name] = entry
            files = {name: asdict(self.entries[name]) for name in sorted(self.entries)}
            write_json(self.path, {"version": _VERSION, "files": files})
