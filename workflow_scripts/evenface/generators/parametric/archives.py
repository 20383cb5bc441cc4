"""Bounded reading of downloaded archives, and a memory-mappable, reproducible ``.npz``.

Members are read into memory one by one and never written to disk, so no path inside an archive
can reach a file outside it.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evenface.errors import UserError, raise_if_machine
from evenface.storage.atomic import atomic_path

#: Largest size, in bytes, of a single member and of all read members together.
MEMBER_LIMIT = 64 * 2**20
TOTAL_LIMIT = 512 * 2**20


def _account(path: Path, name: str, size: int, total: int) -> int:
    if size > MEMBER_LIMIT or total + size > TOTAL_LIMIT:
        raise UserError(f"{path}: member {name} is implausibly large ({size} bytes); fetch the archive again")
    return total + size


def read_zip_members(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Contents of the members of a zip archive whose names satisfy ``wanted``."""
    out, total = {}, 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir() and wanted(info.filename):
                total = _account(path, info.filename, info.file_size, total)
                out[info.filename] = archive.read(info)
    return out


def read_tar_members(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Contents of the regular files of a gzipped tar archive whose names satisfy ``wanted``, in one pass."""
    out, total = {}, 0
    try:
        with tarfile.open(path, "r|gz") as archive:
            for info in archive:
                if info.isfile() and wanted(info.name):
                    total = _account(path, info.name, info.size, total)
                    out[info.name] = archive.extractfile(info).read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise_if_machine(error, path)
        raise UserError(f"cannot read {path} ({error}); fetch the assets again") from error
    return out


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write ``arrays`` as an uncompressed ``.npz`` whose bytes depend on the arrays alone."""
    with atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(arrays):
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.ascontiguousarray(arrays[name]), allow_pickle=False)
                info = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
                info.external_attr = 0o644 << 16
                archive.writestr(info, buffer.getvalue())


def map_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read-only arrays of a file made by :func:`write_arrays`, mapped from disk (pages are shared).

    Raises UserError naming the file when it is missing or damaged.
    """
    try:
        data = np.memmap(path, np.uint8, "r")
        out = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{info.filename} is compressed")
                local = info.header_offset
                name_length = int(data[local + 26]) + 256 * int(data[local + 27])
                extra_length = int(data[local + 28]) + 256 * int(data[local + 29])
                begin = local + 30 + name_length + extra_length
                head = io.BytesIO(data[begin : begin + min(info.file_size, 512)].tobytes())
                version = np.lib.format.read_magic(head)
                reader = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, fortran, dtype = reader(head)
                body = data[begin + head.tell() : begin + info.file_size]
                array = body.view(np.ndarray)
                if body.ctypes.data % dtype.alignment:
                    array = np.frombuffer(array.tobytes(), dtype)
                else:
                    array = array.view(dtype)
                out[info.filename.removesuffix(".npy")] = array.reshape(shape, order="F" if fortran else "C")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the workflow's rule that fetches the face assets") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path} is not a face asset file ({error}); delete it and build it again") from error
    return out
