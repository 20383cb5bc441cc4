"""Headers of safetensors files, which say what tensors a file holds and where they lie, and models of several files.

The format: 8 bytes with the header's length (little-endian), the header as JSON, the data. Every tensor's range must
have the length that its shape and type say, and the ranges must cover the data without gap or overlap. The header alone
therefore tells whether the file is whole.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from evenface.errors import Malformed, UserError, raise_if_machine
from evenface.names import inside

#: Element types of safetensors, by torch's name, and their bytes.
DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
#: Largest number of dimensions; no network's tensor has more.
MAX_DIMENSIONS = 16
_MAX_TENSORS = 20_000
#: Bounds of the header in bytes. Trainers write their captions into it, so large files may have a longer one.
_MAX_HEADER_BYTES, _MAX_LARGE_HEADER_BYTES, _DATA_PER_HEADER = 2 << 20, 16 << 20, 64


#: Programs that download reserve the whole file first. No network of at least ``_LARGE`` bytes ends in so many zeros.
_LARGE, _END = 1 << 20, 1 << 16

#: Stems of the files of weights, as diffusers and transformers write them.
STEMS = ("diffusion_pytorch_model", "model")
_REMEDY = "get the folder again"


class Entry(NamedTuple):
    """A tensor: torch's name of its type, its shape, and its range of bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


def read_header(path: Path, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """Tensor name -> entry in the header's order, and the texts beside them, of a file of ``size`` bytes.

    Raises Malformed if the header is none, contradicts itself, or describes another number of bytes than the file has.
    """
    header, metadata, first = _parsed(path, size)
    entries = {name: _entry(name, entry, first) for name, entry in header.items()}
    end = first
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        if entry.start != end:
            what = "overlaps another" if entry.start < end else "leaves a gap before it"
            raise Malformed(f"the range of the tensor {name[:120]!a} {what}")
        end += entry.nbytes
    if end > size:
        raise Malformed(f"the file is cut short (it has {size} of {end} bytes), get it again")
    if end != size:
        raise Malformed(f"{size - end} bytes of its data belong to no tensor; it is damaged, get it again")
    return entries, metadata


def files_of_network(folder: Path, variant: str | None = None) -> list[Path]:
    """The safetensors files that diffusers and transformers read in a network's folder; none if there are none.

    Raises UserError for a file that is cut short or otherwise damaged, and if files and their index do not agree.
    """
    for stem in STEMS:
        single = folder / f"{stem}.{variant}.safetensors" if variant else folder / f"{stem}.safetensors"
        index = folder / f"{stem}.safetensors.index{f'.{variant}' if variant else ''}.json"
        # diffusers looks for an index first, transformers for a single file.
        if index.is_file() and (stem == STEMS[0] or not single.is_file()):
            return _indexed(index)
        if single.is_file():
            checked_header(single)
            return [single]
    return []


def checked_header(path: Path) -> dict[str, Entry]:
    """Tensor name -> entry of a file.

    Raises UserError naming a file that is damaged, cut short or no safetensors, or whose end was reserved and never written.
    """
    try:
        size = path.stat().st_size
        entries = read_header(path, size)[0]
        if size > _LARGE:
            with open(path, "rb") as file:
                file.seek(size - _END)
                if not any(file.read(_END)):
                    raise Malformed(f"its last {_END} bytes are zeros, the download was not finished; get it again")
        return entries
    except Malformed as error:
        raise UserError(f"{path}: not a readable safetensors file: {error}") from error
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from error


def _indexed(index: Path) -> list[Path]:
    """The files that an index names, each of which holds the tensors it is said to hold."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        wanted = {str(name): inside(index.parent, file, index) for name, file in places.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise_if_machine(error, index)
        raise UserError(f"{index}: not an index of files of weights; {_REMEDY}") from error
    files = sorted(set(wanted.values()))
    found: dict[str, Path] = {}
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: missing, {index.name} names it; {_REMEDY}")
        found |= dict.fromkeys(checked_header(file), file)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in wanted:
            raise UserError(f"{found[name]}: tensor {name!r} is not in {index.name}; {_REMEDY}")
        if found.get(name) != wanted[name]:
            raise UserError(f"{wanted[name]}: tensor {name!r} is missing, {index.name} names it; {_REMEDY}")
    return files


def _parsed(path: Path, size: int) -> tuple[dict[str, Any], dict[str, str], int]:
    """The entries of the tensors, the metadata, and where the data begin."""
    limit = max(_MAX_HEADER_BYTES, min(_MAX_LARGE_HEADER_BYTES, size // _DATA_PER_HEADER))
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= size - 8:
            raise Malformed(
                f"its header claims {length} bytes, the file has {max(size - 8, 0)} after the length; it is damaged or "
                "cut short, get it again"
            )
        if length > limit:
            raise Malformed(f"its header is {length} bytes long; no checkpoint needs more than {limit}")
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


def _entry(name: str, entry: Any, first: int) -> Entry:
    shown = ascii(name[:120])
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Malformed(f"the tensor {shown} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise Malformed(f"the tensor {shown} has the unknown element type {ascii(dtype)[:40]}")
    dtype, item_bytes = DTYPES[dtype]
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_count, shape)):
        raise Malformed(f"the shape of the tensor {shown} is no short list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise Malformed(f"the range of the tensor {shown} is no pair of positions")
    begin, end = offsets
    if end - begin != prod(shape) * item_bytes:
        raise Malformed(
            f"the range of the tensor {shown} has {end - begin} bytes, its shape {shape} needs another number"
        )
    return Entry(dtype, tuple(shape), first + begin, end - begin)
