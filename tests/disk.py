"""A full disk for tests: a tmpfs of a few kilobytes, mounted where this process alone sees it."""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


@functools.cache
def _mounts() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def run_with_small_disks(
    command: list[str], disks: dict[Path, str], *, cwd: Path, env: dict[str, str], before: str = ":"
) -> subprocess.CompletedProcess:
    """Run ``command`` while each folder of ``disks`` is a tmpfs with the given mount options.

    ``before`` is a shell line run after mounting. What lies on the disks afterwards stands at the
    end of the output, one path per line after the word FILES. Skips the test where user namespaces
    may not mount.
    """
    if not _mounts():
        pytest.skip("this system lets no user namespace mount a tmpfs, so there is no small disk to fill")
    for folder in disks:
        folder.mkdir(parents=True, exist_ok=True)
    mounts = [f"mount -t tmpfs -o {options} tmpfs {shlex.quote(str(folder))}" for folder, options in disks.items()]
    found = shlex.join(["find", *map(str, disks), "-type", "f"])
    script = (
        " && ".join([*mounts, f"{{ {before}; }}"])
        + f"; {shlex.join(command)}; code=$?; echo FILES; {found}; exit $code"
    )
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def files_left(done: subprocess.CompletedProcess) -> list[str]:
    """Paths on the small disks after the command."""
    return done.stdout.rsplit("FILES\n", 1)[1].split()
