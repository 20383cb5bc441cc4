"""Tensors in a file: first described and checked, and read only when needed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from evenface.errors import Malformed
from evenface.storage.safetensors import DTYPES, MAX_DIMENSIONS

if TYPE_CHECKING:
    import torch

#: Element types a checkpoint may hold, by torch's name, and their bytes.
ITEM_BYTES = dict(DTYPES.values())
_CHUNK = 1 << 20


class Refused(Malformed):
    """A file holds something that could run code, or that no network needs."""


@dataclass
class Storage:
    """``nbytes`` of a file from byte ``start`` on, with their CRC-32 if the container has one."""

    path: Path
    start: int
    nbytes: int
    crc32: int | None = None
    verified: bool = field(default=False, repr=False)

    def read_into(self, target: memoryview, first: int) -> None:
        """Fill ``target`` with bytes of the storage, starting at its byte ``first``.

        Raises Malformed when the file has become shorter or the checksum is wrong. The checksum
        covers the whole storage and is computed once.
        """
        with open(self.path, "rb", buffering=0) as file:
            whole = first == 0 and len(target) == self.nbytes
            file.seek(self.start + first)
            done = 0
            while done < len(target):
                count = file.readinto(target[done:])
                if not count:
                    raise Malformed("the file ends inside a tensor; it is cut short, download it again")
                done += count
            if self.crc32 is not None and not self.verified:
                found = zlib.crc32(target) if whole else self._checksum(file)
                if found != self.crc32:
                    raise Malformed("wrong checksum: the file is damaged; download it again")
            self.verified = True

    def _checksum(self, file) -> int:
        file.seek(self.start)
        found, left = 0, self.nbytes
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise Malformed("the file ends inside a tensor; it is cut short, download it again")
            found = zlib.crc32(chunk, found)
            left -= len(chunk)
        return found


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of ``shape`` and ``dtype`` (a key of ITEM_BYTES) in ``storage``; offset and strides in elements."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage

    def __post_init__(self):
        numbers = (*self.shape, *self.strides, self.offset)
        if any(type(n) is not int or not 0 <= n < 1 << 48 for n in numbers):
            raise Malformed("a tensor's size, stride or offset is not a plausible number")
        if len(self.shape) > MAX_DIMENSIONS or len(self.strides) != len(self.shape):
            raise Malformed(f"a tensor has {len(self.shape)} sizes and {len(self.strides)} strides")
        if self.dtype not in ITEM_BYTES:
            raise Malformed(f"a tensor's element type {self.dtype!r} is unknown")
        if self.numel and (self.offset + self._extent) * ITEM_BYTES[self.dtype] > self.storage.nbytes:
            raise Malformed(f"a tensor of shape {self.shape} reaches beyond its {self.storage.nbytes} stored bytes")

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * ITEM_BYTES[self.dtype]

    @property
    def _extent(self) -> int:
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))

    @property
    def _dense(self) -> bool:
        """Whether the elements fill their part of the storage, each place once, in any order."""
        expected = 1
        for stride, size in sorted((t, s) for s, t in zip(self.shape, self.strides) if s != 1):
            if stride != expected:
                return False
            expected *= size
        return True

    def read(self) -> torch.Tensor:
        """The tensor in new memory, laid out as stored. Raises Malformed as :meth:`Storage.read_into` does."""
        import torch

        dtype = getattr(torch, self.dtype)
        if not self.numel:
            return torch.empty(self.shape, dtype=dtype)
        extent = self._extent
        if self.nbytes > self.storage.nbytes:
            raise Malformed(f"a tensor of shape {self.shape} claims more elements than the file stores")
        flat = torch.empty(extent, dtype=dtype)
        target = memoryview(flat.view(torch.uint8).numpy()).cast("B")
        self.storage.read_into(target, self.offset * ITEM_BYTES[self.dtype])
        if self.dtype == "bool" and bytes(target).strip(b"\x00\x01"):
            raise Malformed("a truth value is neither 0 nor 1")
        tensor = flat.as_strided(self.shape, self.strides)
        return tensor if self._dense else tensor.contiguous()


@dataclass(frozen=True)
class MemoryTensor:
    """A tensor that was read and renamed already, described like a stored one."""

    tensor: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> str:
        return str(self.tensor.dtype).removeprefix("torch.")

    def read(self) -> torch.Tensor:
        """The tensor itself."""
        return self.tensor


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a tensor in row order."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
