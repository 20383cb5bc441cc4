"""Safetensors files as stored tensors."""

from __future__ import annotations

from pathlib import Path

from evenface.checkpoints.stored import Storage, StoredTensor, contiguous_strides
from evenface.storage.safetensors import read_header


def read_safetensors(path: Path, size: int) -> dict[str, StoredTensor]:
    """Tensor name -> StoredTensor of a file of ``size`` bytes, in the header's order. Raises Malformed."""
    return {
        name: StoredTensor(
            entry.dtype, entry.shape, contiguous_strides(entry.shape), 0, Storage(path, entry.start, entry.nbytes)
        )
        for name, entry in read_header(path, size)[0].items()
    }


def read_metadata(path: Path, size: int) -> dict[str, str]:
    """The texts beside the tensors of a file of ``size`` bytes. Raises Malformed."""
    return read_header(path, size)[1]
