"""Files and folders that are either complete or absent: they are written beside their place, then renamed.

Two processes may write the same file. Each creates its own temporary file, and the last one to finish wins. Where
unfinished files are continued, only one process may (:func:`exclusive`). A link in place of such a file is refused.
:func:`sweep` removes the temporary files of killed processes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from evenface.errors import UserError

try:
    import fcntl
except ImportError:  # not a POSIX system: two processes may hold the same lock
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("evenface")

#: A file whose writer cannot be checked (it runs on another machine) counts as abandoned after this many seconds
#: without a change.
ABANDONED_AFTER = 7 * 86400

#: Stands for the start of a process if the machine does not tell it.
_UNKNOWN = "0"

#: A temporary name: the target's, machine, process, its start, and a random number.
_TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}\.partial(\.[^.]*)?")


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path`` with its suffix; rename it there on success.

    Parents are created. On any exception the temporary file is removed, and ``path`` does not change.
    A full disk or a missing permission becomes a UserError that names ``path``.
    """
    path = Path(path)
    with _temporary(path) as temporary:
        os.close(open_own(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        yield temporary
        descriptor = open_own(temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it replaces the folder ``path`` as a whole, if there is one.

    Errors are handled as in :func:`atomic_path`.
    """
    path = Path(path)
    with _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        while True:
            with _temporary(path) as old:
                with suppress(FileNotFoundError):
                    os.rename(path, old)
                try:
                    os.rename(temporary, path)
                    return
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise
                    # Another process was quicker: what it wrote is complete, but older than this folder.


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Yield a new name beside ``path``; afterwards, remove what still has this name."""
    temporary = path.with_name(f".{path.stem[:40]}.{this_process()}-{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno is None:
            raise
        raise UserError(f"cannot write {path}: {os.strerror(error.errno)}; nothing was left there") from error
    finally:
        _remove(temporary)


def open_own(path: str | os.PathLike, flags: int) -> int:
    """:func:`os.open` for a file that evenface alone makes; a link in its place is refused. Also an ``opener``."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextmanager
def exclusive(path: str | os.PathLike, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock named after ``path`` (a file ``.<name>.guard`` beside it) while the block runs.

    Yields whether it is held. With ``wait`` false, it yields False instead of waiting for another holder.
    """
    guard = Path(path).with_name(f".{Path(path).name}.guard")
    try:
        guard.parent.mkdir(parents=True, exist_ok=True)
        held = _hold(guard, wait)
    except OSError as error:
        raise UserError(f"cannot write to {guard.parent}: {error.strerror}") from error
    if held is None:
        yield False
        return
    try:
        yield True
    finally:
        guard.unlink(missing_ok=True)
        os.close(held)


def _hold(guard: Path, wait: bool) -> int | None:
    """The guard file, open and locked; None if another process holds it and ``wait`` is false."""
    while True:
        file = open_own(guard, os.O_RDWR | os.O_CREAT)
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Who held it before has deleted it: lock the file that bears the name now.
            if os.path.samestat(os.fstat(file), os.stat(guard)):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(file)
            return None
        except OSError as error:
            os.close(file)
            guard.unlink(missing_ok=True)
            raise NoLocks(f"{guard.parent}: this disk has no file locks ({error.strerror}); use another one") from error
        os.close(file)


class NoLocks(UserError):
    """The disk of a file cannot lock files."""


@contextmanager
def resumable(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the path whose hidden files (``.<its name>.*``) this process alone may write, and may continue.

    It is ``path``; other processes wait for its lock. On a disk without locks it is a name of this process, and its
    hidden files are removed afterwards, so nothing is continued there.
    """
    path = Path(path)
    with ExitStack() as stack:
        try:
            if not stack.enter_context(exclusive(path, wait=False)):
                log.info("%s is being written by another process; waiting for it", path)
                stack.enter_context(exclusive(path))
        except NoLocks:
            own = path.with_name(f"{path.name}.{this_process()}-{secrets.token_hex(4)}")
            try:
                yield own
            finally:
                for hidden in [p for p in path.parent.iterdir() if p.name.startswith(f".{own.name}.")]:
                    _remove(hidden)
            return
        yield path


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sweep(*folders: str | os.PathLike) -> int:
    """Remove unfinished files of killed processes in ``folders`` and below; returns the number of files and folders."""
    removed = 0
    for folder in folders:
        for place, inner, files in os.walk(folder):
            for name in [*inner, *files]:
                owner = _TEMPORARY.fullmatch(name)
                path = Path(place, name)
                with suppress(OSError):  # finished in the meantime
                    if owner and _is_gone(owner, path.stat().st_mtime):
                        _remove(path)
                        removed += 1
    return removed


def _is_gone(owner: re.Match[str], changed: float) -> bool:
    """Whether the writer of a temporary file has ended; ``changed`` is the time of the file's last change."""
    machine, process, start, _ = owner.groups()
    if machine == _machine():
        return _started(int(process)) not in (start, _UNKNOWN)
    return time.time() - changed > ABANDONED_AFTER


def this_process() -> str:
    """Names this process among all that ever ran on all machines, for names of temporary files."""
    return f"{_machine()}-{os.getpid()}-{_started(os.getpid())}"


@cache
def _machine() -> str:
    """Identifies where a process number is unique: the machine, its start, and the container."""
    known = [socket.gethostname()]
    with suppress(OSError):
        known += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def _started(process: int) -> str:
    """When a process started, in ticks of its machine (process numbers are reused); empty if it does not exist."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return _UNKNOWN


def check_writable(*folders: str | os.PathLike) -> None:
    """Raise UserError naming the first folder that cannot be created or written to; creates none."""
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
