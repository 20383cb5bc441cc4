"""One log per job: everything the job prints, its progress, and how it failed."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from evenface.errors import UserError

log = logging.getLogger("evenface")
Item = TypeVar("Item")


def limit_threads(threads: int) -> None:
    """Bound the pools of OpenMP, BLAS and numba that start afterwards."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    # Waiting threads must sleep; spinning, they would slow down everything else. OpenMP reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def job_log(path: str, threads: int = 1) -> Iterator[None]:
    """Send file descriptors 1 and 2 to ``path`` for the rest of the process.

    A UserError becomes one sentence in the log, and exit status 1. Any other exception leaves its traceback
    there. If the log cannot be written (full disk, no permission), the sentence goes to the terminal.
    ``threads`` bounds the pools of OpenMP, BLAS and numba that start afterwards.
    """
    limit_threads(threads)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError as error:
        _fail(f"cannot write the log {path}: {os.strerror(error.errno)}", terminal)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    try:
        yield
    except UserError as error:
        _fail(str(error), terminal)
    except MemoryError:
        _fail("out of memory; give the rule more mem_mb or fewer images at a time", terminal)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error}", terminal, traceback.format_exc())
    finally:
        os.close(terminal)


def _fail(sentence: str, terminal: int, details: str = "") -> NoReturn:
    """Write ``details``, or else ``sentence``, to the log, or ``sentence`` to the descriptor ``terminal``; exit 1."""
    text = (details or f"error: {sentence}\n").encode()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        if os.write(2, text) < len(text):
            raise OSError
    except OSError:
        os.write(terminal, f"error: {sentence} (and the log cannot be written)\n".encode())
    sys.exit(1)


def progress(
    items: Iterable[Item],
    total: int,
    label: str,
    *,
    unit: str = "images",
    every: float = 5.0,
    count: Callable[[Item], int] = lambda item: 1,
) -> Iterator[Item]:
    """Yield ``items`` and log count, rate and time left every ``every`` seconds and at the end.

    ``unit`` is the plural of what is counted; an item holds ``count(item)`` of them, and all items hold ``total``.
    """
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += count(item)
        now = time.monotonic()
        if now - last >= every or done == total:
            rate = done / max(now - start, 1e-9)
            left = (total - done) / rate if rate else 0.0
            log.info("%s: %d of %d %s, %.1f/s, %.0f s left", label, done, total, unit, rate, left)
            last = now


class Progress(NamedTuple):
    """The last progress line of a log. ``images`` of ``of`` are done (0 for other units); ``left`` is in seconds."""

    text: str
    images: int
    of: int
    left: float


def progress_in(path: str | Path, since: float = 0.0) -> Progress | None:
    """The last progress in a job's log; None if it has none, is older than ``since``, or cannot be read."""
    for line in reversed(_tail(path, since)):
        if left := re.match(r"[\d:]{8} (.*, (\d+) s left)", line):
            images = re.search(r": (\d+) of (\d+) images, ", line)
            return Progress(left[1], *(map(int, images.groups()) if images else (0, 0)), float(left[2]))
    return None


def error_in(path: str | Path, since: float = 0.0) -> str | None:
    """The error with which a job ended, or the last line of its traceback; None as for :func:`progress_in`."""
    lines = _tail(path, since)
    found = [line for line in lines if line.startswith("error: ")]
    if not found and any(line.startswith("Traceback (most recent call last)") for line in lines):
        found = [line for line in lines if re.match(r"[\w.]+(: |$)", line)]
    return found[-1] if found else None


def _tail(path: str | Path, since: float, size: int = 16_384) -> list[str]:
    """The last lines of a file; empty if it cannot be read or was last written before ``since`` (epoch seconds)."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            file.seek(max(status.st_size - size, 0))
            return file.read().decode(errors="replace").splitlines() if status.st_mtime >= since else []
    except OSError:
        return []
