"""Rewrites whole models of unknown shape from pickles to safetensors, for programs that read weights themselves."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evenface.checkpoints.reading import read_published
from evenface.checkpoints.stored import Malformed, StoredTensor, contiguous_strides
from evenface.errors import UserError
from evenface.storage.atomic import atomic_path
from evenface.storage.safetensors import DTYPES

#: Keys under which trainers put the tensors of a model, and how many of them may surround each other.
_WRAPPERS = ("state_dict", "model", "module", "weights")
_MAX_WRAPPERS = 4
_CODES = {name: code for code, (name, _) in DTYPES.items()}


def rewrite_as_safetensors(path: str | os.PathLike, out: str | os.PathLike, *, max_bytes: int) -> None:
    """Write the tensors of a file of ``torch.save`` (or safetensors) as safetensors, one at a time.

    Only the tensors are written, as :func:`read_tensors` finds them. A tensor with two names is written twice.
    Raises UserError naming the file as that function does.
    """
    tensors = read_tensors(path, max_bytes)
    with atomic_path(out) as temporary, open(temporary, "wb") as file:
        header = json.dumps(_header(tensors)).encode()
        header += b" " * (-len(header) % 8)
        file.write(struct.pack("<Q", len(header)) + header)
        for name, data in _data(tensors, path):
            if file.write(data) != tensors[name].nbytes:
                raise UserError(f"{path}: tensor {name!r} is damaged")


def read_tensors(path: str | os.PathLike, max_bytes: int) -> dict[str, StoredTensor]:
    """Name -> tensor of a file of ``torch.save`` or safetensors, without the dictionaries that trainers put around them.

    Raises UserError naming the file when it is unsafe, damaged, larger than ``max_bytes``, or without tensors.
    """
    content: Any = read_published(path, max_bytes)
    tensors: dict[str, StoredTensor] = {}
    for _ in range(_MAX_WRAPPERS):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            tensors = {n: t for n, t in content.items() if type(n) is str and isinstance(t, StoredTensor)}
            break
        content = inner
    if not tensors:
        keys = ", ".join(ascii(key)[:40] for key in list(content)[:8]) if isinstance(content, Mapping) else "none"
        raise UserError(
            f"{path}: does not hold a dictionary of tensors (its keys: {keys}); save the tensors alone, by name, or take "
            "the file as its authors publish it"
        )
    if sum(tensor.nbytes for tensor in tensors.values()) > 2 * max_bytes:
        raise UserError(f"{path}: its tensors together are far larger than the file; it is damaged")
    return tensors


def _header(tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.nbytes
        header[name] = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    return header


def _data(tensors: Mapping[str, StoredTensor], path: str | os.PathLike) -> Iterator[tuple[str, memoryview]]:
    import torch

    for name, stored in tensors.items():
        try:
            tensor = stored.read().contiguous()
        except Malformed as error:
            raise UserError(f"{Path(path)}: tensor {name!r}: {error}") from error
        flat = tensor.reshape(-1)
        assert flat.numel() == 0 or flat.stride() == contiguous_strides((flat.numel(),))
        yield name, memoryview(flat.view(torch.uint8).numpy() if flat.numel() else b"")
