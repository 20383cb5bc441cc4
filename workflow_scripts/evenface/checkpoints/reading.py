"""Opens checkpoints of every kind, recognised by their first bytes, within bounds and without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from evenface.checkpoints.safetensors_files import read_safetensors
from evenface.checkpoints.stored import Malformed, StoredTensor
from evenface.checkpoints.torch_files import read_legacy, read_zip
from evenface.errors import UserError, raise_if_machine
from evenface.storage.foreign import foreign

#: Largest file, in bytes, when the caller does not give a bound.
MAX_BYTES = 4 << 30
_MAX_DEPTH = 20
_MAX_VALUES = 1_000_000
_HDF5 = b"\x89HDF\r\n\x1a\n"


def checked_size(path: str | os.PathLike, max_bytes: int) -> int:
    """Bytes of the checkpoint at ``path``. Raises UserError when it is missing, empty or larger than ``max_bytes``."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: the checkpoint does not exist; see `python -m evenface assets check`")
    try:
        size = path.stat().st_size
        with open(path, "rb"):
            pass
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: the checkpoint cannot be read ({error.strerror})") from error
    if not size:
        raise UserError(f"{path}: the file is empty; download it again")
    if size > max_bytes:
        raise UserError(
            f"{path}: the file has {size} bytes, more than the {max_bytes} a checkpoint of this network can need; "
            "take the file as its authors publish it, or raise max_bytes"
        )
    return size


def is_hdf5(path: str | os.PathLike) -> bool:
    """Whether the file begins as an HDF5 file."""
    with open(path, "rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def read_published(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> Any:
    """The content of a file of ``torch.save`` or safetensors: plain values, and tensors as StoredTensor.

    The tensors' numbers are not read yet. The first bytes decide the kind of file, never the name. Raises
    UserError naming the file when it is missing, larger than ``max_bytes``, damaged, of another
    kind, or refers to anything but tensors and plain values.
    """
    path = Path(path)
    size = checked_size(path, max_bytes)
    with open(path, "rb") as file:
        head = file.read(64)
    try:
        if head.startswith(b"PK\x03\x04"):
            return read_zip(path, size)
        if head[8:9] == b"{":
            return read_safetensors(path, size)
        if head.startswith(b"\x80"):
            return read_legacy(path, size)
        if head.startswith(_HDF5):
            raise Malformed("a Keras file; it is read by load_network for the networks published as such")
        if what := foreign(head):
            raise Malformed(what)
        raise Malformed("neither a PyTorch nor a safetensors file; take the file as its authors publish it")
    except Malformed as error:
        raise UserError(f"{path}: not a readable checkpoint: {error}") from error
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: the checkpoint cannot be read ({error.strerror})") from error


def read_state(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> Any:
    """Like :func:`read_published`, with every tensor read into memory: for states that a program wrote itself.

    Raises UserError in the same cases, and when parts used many times would need far more memory than the file.
    """
    content = read_published(path, max_bytes)
    left, values = 4 * checked_size(path, max_bytes), _MAX_VALUES

    def read(item: Any, depth: int) -> Any:
        nonlocal left, values
        values -= 1
        if depth > _MAX_DEPTH or values < 0:
            raise Malformed(f"it has more than {_MAX_VALUES} values, or they are nested more than {_MAX_DEPTH} deep")
        if isinstance(item, dict):
            return {key: read(value, depth + 1) for key, value in item.items()}
        if isinstance(item, (list, tuple)):
            return type(item)(read(value, depth + 1) for value in item)
        if not isinstance(item, StoredTensor):
            return item
        left -= item.nbytes
        if left < 0:
            raise Malformed("its tensors together are far larger than the file")
        return item.read()

    try:
        return read(content, 0)
    except Malformed as error:
        raise UserError(f"{path}: not a readable checkpoint: {error}") from error
