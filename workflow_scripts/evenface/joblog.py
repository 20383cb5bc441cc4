"""One log per job: everything the job prints, its progress, and how it failed."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from evenface.errors import UserError

log = logging.getLogger("evenface")
Item = TypeVar("Item")


@contextmanager
def job_log(path: str, threads: int = 1) -> Iterator[None]:
    """Send file descriptors 1 and 2 to ``path`` for the rest of the process.

    A UserError becomes one sentence in the log and exit status 1; any other exception leaves its
    traceback there. ``threads`` bounds OpenMP, BLAS and numba pools started from here on.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except MemoryError:
        print("error: out of memory; give the rule more mem_mb or fewer images at a time", file=sys.stderr, flush=True)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        sys.exit(1)


def progress(items: Iterable[Item], total: int, label: str, *, every: float = 5.0) -> Iterator[Item]:
    """Yield ``items`` and log count, rate and time left every ``every`` seconds and at the end."""
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= every or done == total:
            rate = done / max(now - start, 1e-9)
            left = (total - done) / rate if rate else 0.0
            log.info("%s: %d of %d, %.1f/s, %.0f s left", label, done, total, rate, left)
            last = now
