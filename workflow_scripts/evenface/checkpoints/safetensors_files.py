"""Safetensors files: a JSON header that says where each tensor lies, then their bytes.

The format: 8 bytes with the header's length (little-endian), the header, the data. Every tensor's
range must have the length its shape and type say, and the ranges must cover the data without gap
or overlap.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from evenface.checkpoints.stored import (
    ITEM_BYTES,
    MAX_DIMENSIONS,
    Malformed,
    Storage,
    StoredTensor,
    contiguous_strides,
)

MAX_HEADER_BYTES = 2 << 20
_MAX_TENSORS = 20_000
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


def read_safetensors(path: Path, size: int) -> dict[str, StoredTensor]:
    """Tensor name -> StoredTensor of a file of ``size`` bytes, in the header's order. Raises Malformed."""
    header, _, first = _read_header(path, size)
    tensors = {name: _tensor(path, name, entry, first, size) for name, entry in header.items()}
    end = first
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].storage.start, item[1].storage.nbytes)):
        if tensor.storage.start != end:
            what = "overlaps another" if tensor.storage.start < end else "leaves a gap before it"
            raise Malformed(f"the range of the tensor {name[:120]!a} {what}")
        end += tensor.storage.nbytes
    if end != size:
        raise Malformed(f"{size - end} bytes of its data belong to no tensor")
    return tensors


def read_metadata(path: Path, size: int) -> dict[str, str]:
    """The texts beside the tensors of a file of ``size`` bytes. Raises Malformed."""
    return _read_header(path, size)[1]


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], dict[str, str], int]:
    """The entries of the tensors, the metadata, and where the data begin."""
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= size - 8:
            raise Malformed(f"its header claims {length} bytes, the file has {max(size - 8, 0)} after the length")
        if length > MAX_HEADER_BYTES:
            raise Malformed(f"its header is {length} bytes long; no checkpoint needs more than {MAX_HEADER_BYTES}")
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed("its header is not a JSON text") from error
    if not isinstance(header, dict):
        raise Malformed("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise Malformed("its metadata is not a table of texts")
    if len(header) > _MAX_TENSORS:
        raise Malformed(f"its header lists {len(header)} tensors; no checkpoint has more than {_MAX_TENSORS}")
    return header, metadata, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("its header has a key twice")
    return found


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _tensor(path: Path, name: str, entry: Any, first: int, size: int) -> StoredTensor:
    shown = ascii(name[:120])
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Malformed(f"the tensor {shown} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise Malformed(f"the tensor {shown} has the unknown element type {ascii(dtype)[:40]}")
    dtype = _DTYPES[dtype]
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_count, shape)):
        raise Malformed(f"the shape of the tensor {shown} is no short list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise Malformed(f"the range of the tensor {shown} is no pair of positions")
    begin, end = offsets
    if not begin <= end <= size - first:
        raise Malformed(f"the range of the tensor {shown} lies outside the file; it is damaged or cut short")
    if end - begin != prod(shape) * ITEM_BYTES[dtype]:
        raise Malformed(
            f"the range of the tensor {shown} has {end - begin} bytes, its shape {shape} needs another number"
        )
    storage = Storage(path, first + begin, end - begin)
    return StoredTensor(dtype, tuple(shape), contiguous_strides(tuple(shape)), 0, storage)
