"""Files of ``torch.save``: zip archives (torch 1.6 and later) and the older sequence of pickles.

Only the structure is read here; tensors stay in the file. A zip archive must be as torch writes it:
uncompressed entries in one folder, which do not overlap and have the lengths that they state.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from evenface.checkpoints.pickled import MAX_PICKLE_BYTES, read_pickle
from evenface.checkpoints.stored import ITEM_BYTES, Malformed, Storage
from evenface.errors import raise_if_machine

#: Largest number of entries, far more than the largest published checkpoint with optimiser state has.
MAX_ENTRIES = 20_000
_MAX_DIRECTORY_BYTES = 4 << 20
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


class _Bounded(io.RawIOBase):
    """A file that refuses to read more bytes at once than a zip directory can have."""

    def __init__(self, file: io.BufferedReader, limit: int):
        self._file, self._limit = file, limit

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._limit + 1 if size < 0 else min(size, self._limit + 1))
        if len(data) > self._limit:
            raise Malformed("its zip directory is too large for a checkpoint")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def read_zip(path: Path, size: int) -> Any:
    """The content of a zip-format file of ``size`` bytes, tensors as StoredTensor. Raises Malformed, Refused."""
    entries = _zip_entries(path, size)
    roots = {name.partition("/")[0] for name in entries}
    root = roots.pop()
    if roots or f"{root}/data.pkl" not in entries:
        raise Malformed("a zip archive, but not one that torch.save wrote (it has no single folder with data.pkl)")
    order = entries.get(f"{root}/byteorder")
    if order is not None and _whole(order, 16) != b"little":
        raise Malformed("it was written on a big-endian machine; load and save it again on a little-endian one")

    def find_storage(dtype: str, key: str, elements: int, rest: tuple) -> Storage:
        entry = entries.get(f"{root}/data/{key}")
        nbytes = elements * ITEM_BYTES[dtype]
        if entry is None and not nbytes:
            return Storage(path, 0, 0)
        if entry is None:
            raise Malformed(f"the entry data/{key[:40]} with a tensor's numbers is missing")
        if entry.nbytes != nbytes:
            raise Malformed(f"the entry data/{key} has {entry.nbytes} bytes, its description says {nbytes}")
        return entry

    data = _whole(entries[f"{root}/data.pkl"], MAX_PICKLE_BYTES)
    content, end = read_pickle(data, 0, find_storage)
    if end != len(data):
        raise Malformed("its pickle is followed by something else")
    return content


def _whole(entry: Storage, limit: int) -> bytes:
    """All bytes of a small entry, checksum compared."""
    if entry.nbytes > limit:
        raise Malformed(f"its description is {entry.nbytes} bytes long; no checkpoint needs more than {limit}")
    target = bytearray(entry.nbytes)
    entry.read_into(memoryview(target), 0)
    return bytes(target)


def _zip_entries(path: Path, size: int) -> dict[str, Storage]:
    """Where every entry's bytes lie. Raises Malformed for archives that torch would not write."""
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(_Bounded(file, _MAX_DIRECTORY_BYTES))
        except Malformed:
            raise
        except Exception as error:  # the module fails in many ways on a damaged directory
            raise_if_machine(error, path)
            raise Malformed("its zip directory is damaged or missing; it is cut short, download it again") from error
        infos = archive.infolist()
        if not 0 < len(infos) <= MAX_ENTRIES:
            raise Malformed(f"its zip archive has {len(infos)} entries; a checkpoint has 1 to {MAX_ENTRIES}")
        if any(info.orig_filename.split("/")[1:2] in (["code"], ["constants.pkl"]) for info in infos):
            raise Malformed("a TorchScript archive holds program code; the plain dictionary of tensors is needed")
        entries: dict[str, Storage] = {}
        occupied = []
        for info in infos:
            name = info.orig_filename
            parts = name.split("/")
            if "\\" in name or "\0" in name or not all(parts) or {".", ".."} & set(parts):
                raise Malformed(f"its zip archive has an entry with the forbidden name {name[:80]!a}")
            if name in entries:
                raise Malformed(f"its zip archive has the entry {name[:80]!a} twice")
            entry = _zip_entry(path, file, info, archive.start_dir)
            entries[name] = entry
            occupied.append((info.header_offset, entry.start + entry.nbytes))
    occupied.sort()
    for (_, end), (start, _) in pairwise(occupied):
        if start < end:
            raise Malformed("entries of its zip archive overlap; it was made to look larger than it is")
    return entries


def _zip_entry(path: Path, file: io.BufferedReader, info: zipfile.ZipInfo, directory: int) -> Storage:
    """The bytes of one entry, its own header compared with the directory's."""
    shown = ascii(info.orig_filename[:80])
    if info.flag_bits & 0x1:
        raise Malformed(f"the entry {shown} of its zip archive is encrypted")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise Malformed(
            f"the entry {shown} of its zip archive is compressed ({info.compress_size} to {info.file_size} bytes), "
            "which torch.save never does; take the file as published"
        )
    if not 0 <= info.header_offset <= directory - _LOCAL_HEADER.size:
        raise Malformed(f"the entry {shown} of its zip archive lies outside the file")
    file.seek(info.header_offset)
    header = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    name_bytes, extra_bytes = header[9], header[10]
    local_name = file.read(name_bytes)
    expected = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437", "replace")
    if header[0] != b"PK\x03\x04" or header[3] != zipfile.ZIP_STORED or local_name != expected:
        raise Malformed(f"the entry {shown} of its zip archive contradicts the directory")
    start = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    if start + info.file_size > directory:
        raise Malformed(f"the entry {shown} of its zip archive claims {info.file_size} bytes, more than there are")
    # torch can be told not to compute checksums and then writes zero.
    return Storage(path, start, info.file_size, info.CRC or None)


def read_legacy(path: Path, size: int) -> Any:
    """The content of a file as torch before 1.6 wrote it, tensors as StoredTensor. Raises Malformed, Refused.

    Five pickles (magic number, protocol, machine, content, storage keys), then every storage as its
    number of elements (int64) and its bytes.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_PICKLE_BYTES)
    position = 0
    magic, position = read_pickle(data, position)
    if magic != LEGACY_MAGIC:
        raise Malformed("a pickle, but not one that torch.save wrote")
    protocol, position = read_pickle(data, position)
    if protocol != LEGACY_PROTOCOL:
        raise Malformed(f"it claims the unknown protocol {ascii(protocol)[:40]}")
    machine, position = read_pickle(data, position)
    if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
        raise Malformed("it was written on a big-endian machine; load and save it again on a little-endian one")

    storages: dict[str, tuple[str, Storage]] = {}

    def find_storage(dtype: str, key: str, elements: int, rest: tuple) -> Storage:
        if rest not in ((), (None,)):
            raise Malformed("it holds views of storages as only the first versions of torch wrote them")
        nbytes = elements * ITEM_BYTES[dtype]
        known = storages.setdefault(key, (dtype, Storage(path, 0, nbytes)))
        if known[0] != dtype or known[1].nbytes != nbytes:
            raise Malformed(f"the storage {key[:40]} is described in two ways")
        return known[1]

    content, position = read_pickle(data, position, find_storage)
    keys, position = read_pickle(data, position)
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(storages):
        raise Malformed("its list of storages is not the one its tensors refer to")
    with open(path, "rb") as file:
        for key in keys:
            dtype, storage = storages[key]
            file.seek(position)
            count = file.read(8)
            if len(count) < 8 or position + 8 + storage.nbytes > size:
                raise Malformed("the file ends before its tensors do; it is cut short, download it again")
            if int.from_bytes(count, "little") * ITEM_BYTES[dtype] != storage.nbytes:
                raise Malformed(f"the storage {key[:40]} has another length than its description says")
            storage.start = position + 8
            position = storage.start + storage.nbytes
    if position != size:
        raise Malformed(f"{size - position} bytes follow its last tensor")
    return content
