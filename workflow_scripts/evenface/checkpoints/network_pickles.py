"""The pickles in which StyleGAN3's trainer saves networks (``network-snapshot-*.pkl`` and the published files).

Such a file is a pickle of a dictionary of whole network objects. Each object carries the program
text of the module that defines it, which the original runs on loading. Each storage of numbers is a second
pickle inside the first. Here the text stays an unused string. The machine of ``pickled`` turns the objects into
records of attributes and describes the inner pickles as storages. Only the tensors of the averaged generator and
the arguments of its constructor are taken.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evenface.checkpoints.pickled import INERT, Machine, Name, TypedStorage, interpret, read_pickle
from evenface.checkpoints.stored import ITEM_BYTES, Malformed, Storage, StoredTensor
from evenface.checkpoints.torch_files import LEGACY_MAGIC, LEGACY_PROTOCOL

#: Bounds; published networks need less than a tenth of each.
MAX_INSTRUCTIONS = 1_000_000
_MAX_TEXT_BYTES = 32 << 20
_MAX_PARTS = 20_000
_MAX_DEPTH = 16
#: Bound, in bytes, of what precedes the numbers in a storage's own pickle; it takes about 300.
_MAX_STORAGE_HEAD = 2048
_STORAGE_COST = 64

_OBJECT = ("torch_utils.persistence", "_reconstruct_persistent_obj")
_STORAGE = ("torch.storage", "_load_from_bytes")
_EASY_DICT = ("dnnlib.util", "EasyDict")
_ARRAYS = {
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
#: Packages of the original; names in them, as discriminators or augmentations use, are inert here.
_PACKAGES = ("torch_utils", "training", "dnnlib", "metrics")
_TENSORFLOW = ("dnnlib.tflib", "tflib", "tensorflow")
_POSITIONAL = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")


@dataclass(frozen=True)
class NetworkObject:
    """A saved object: the name of its class and its attributes. The object itself is not created."""

    class_name: str
    state: Mapping[str, Any]


@dataclass(frozen=True)
class _Bytes:
    """A byte string of the pickle, left in the file."""

    start: int
    length: int


class _NetworkMachine(Machine):
    known: ClassVar = Machine.known | {_OBJECT, _STORAGE, _EASY_DICT} | _ARRAYS
    max_instructions: ClassVar = MAX_INSTRUCTIONS

    def __init__(self, data: mmap.mmap, path: Path):
        super().__init__(data, 0, None)
        self.path = path
        self.text_left = _MAX_TEXT_BYTES
        self.storages: dict[int, TypedStorage] = {}

    def take(self, count: int) -> bytes:
        self.text_left -= count
        if self.text_left < 0:
            raise Malformed(f"its pickle has more than {_MAX_TEXT_BYTES} bytes beside the numbers of its tensors")
        return super().take(count)

    def skip(self, count: int) -> None:
        """Skip a byte string without copying it; byte strings are almost all of the file."""
        if count > len(self.data) - self.position:
            raise Malformed("the file ends inside a tensor; it is cut short, download it again")
        self.push(_Bytes(self.position, count))
        self.position += count

    def name(self, module: Any, name: Any) -> None:
        if type(module) is str and type(name) is str:
            if module.startswith(_TENSORFLOW):
                raise Malformed("a StyleGAN pickle for TensorFlow; only StyleGAN3's own PyTorch pickles are read")
            if module.partition(".")[0] in _PACKAGES:
                self.push(Name((module, name)))
                return
        super().name(module, name)

    def new_object(self, count: int) -> None:
        values = [self.value() for _ in range(count)]
        made = values[-1]
        self.push({} if type(made) is Name and made.pair == _EASY_DICT else INERT)

    def made(self, pair: tuple[str, str], arguments: tuple) -> Any:
        if pair == _EASY_DICT:
            return self.dictionary(arguments)
        if pair == _OBJECT:
            return _network_object(*arguments)
        if pair == _STORAGE:
            return self.storage(*arguments)
        if pair in _ARRAYS:
            return INERT
        return super().made(pair, arguments)

    def storage(self, data: Any) -> TypedStorage:
        """The storage whose own pickle is ``data``: five small pickles, a count, the numbers."""
        if type(data) is not _Bytes:
            raise Malformed("a storage is described wrongly")
        if data.start not in self.storages:
            self.spend(_STORAGE_COST)
            self.storages[data.start] = self._storage(data)
        return self.storages[data.start]

    def _storage(self, data: _Bytes) -> TypedStorage:
        head = self.data[data.start : data.start + min(data.length, _MAX_STORAGE_HEAD)]
        found: dict[str, Storage] = {}

        def find_storage(dtype: str, key: str, elements: int, rest: tuple) -> Storage:
            return found.setdefault(key, Storage(self.path, 0, elements * ITEM_BYTES[dtype]))

        magic, end = read_pickle(head, 0)
        protocol, end = read_pickle(head, end)
        machine, end = read_pickle(head, end)
        typed, end = read_pickle(head, end, find_storage)
        keys, end = read_pickle(head, end)
        if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL or type(typed) is not TypedStorage:
            raise Malformed("the numbers of a tensor are not laid down as torch does")
        if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
            raise Malformed("it was written on a big-endian machine; load and save it again on a little-endian one")
        if keys != list(found):
            raise Malformed("the numbers of a tensor are not laid down as torch does")
        storage = typed.storage
        elements = int.from_bytes(head[end : end + 8], "little")
        if elements * ITEM_BYTES[typed.dtype] != storage.nbytes or end + 8 + storage.nbytes != data.length:
            raise Malformed("a storage's length contradicts its description")
        storage.start = data.start + end + 8
        return typed


_NetworkMachine.actions = {
    **Machine.actions,
    b"C": lambda m: m.skip(m.number("<B")),
    b"B": lambda m: m.skip(m.number("<I")),
    # Sets hold names of attributes at most.
    b"\x8f": lambda m: m.push(INERT),
    b"\x90": lambda m: m.append(m.since_mark()),
    b"\x91": lambda m: (m.since_mark(), m.push(INERT)),
}


def _network_object(meta: Any) -> NetworkObject:
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise Malformed("a network object is described wrongly")
    name = meta.get("class_name")
    return NetworkObject(name if type(name) is str else "", meta["state"])


def read_network_pickle(path: Path) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """The tensors of ``G_ema`` by dotted name, and the arguments of its constructor.

    The tensors' numbers are not read yet. Raises Malformed for a file of another kind, including pickles of StyleGAN2
    and TensorFlow. Raises Refused, with the names, if the file refers to more than networks, arrays and plain values.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        machine = _NetworkMachine(data, path)
        content = interpret(machine)
        if machine.position != len(data):
            raise Malformed(f"{len(data) - machine.position} bytes follow its pickle")
    if not isinstance(content, dict) or "G_ema" not in content:
        held = ", ".join(ascii(str(key)[:40]) for key in list(content)[:5]) if isinstance(content, dict) else ""
        raise Malformed(
            "the published file is a dictionary with the key 'G_ema', "
            + (f"this one has {held or 'nothing'}" if isinstance(content, dict) else "this one is none")
        )
    network = content["G_ema"]
    if not isinstance(network, NetworkObject):
        raise Malformed("its entry 'G_ema' is not a network")
    tensors = dict(_tensors(network, "", [_MAX_PARTS], _MAX_DEPTH))
    if "synthesis.b4.const" in tensors:
        raise Malformed("a network of StyleGAN2, which is another generator; only StyleGAN3's networks are read")
    return tensors, _arguments(network)


def _tensors(network: NetworkObject, prefix: str, left: list[int], depth: int) -> Iterator[tuple[str, StoredTensor]]:
    if depth < 0:
        raise Malformed(f"its modules are nested more than {_MAX_DEPTH} deep")
    for kind in ("_parameters", "_buffers", "_modules"):
        entries = network.state.get(kind)
        if not isinstance(entries, dict):
            raise Malformed(f"the module {prefix.rstrip('.')[:80]!a} has no {kind}")
        for name, value in entries.items():
            left[0] -= 1
            if left[0] < 0:
                raise Malformed(f"its network has more than {_MAX_PARTS} parts")
            if value is None:
                continue
            whole = f"{prefix}{name}"
            if type(name) is not str or not isinstance(value, NetworkObject if kind == "_modules" else StoredTensor):
                raise Malformed(f"the part {whole[:120]!a} of its network is neither tensor nor module")
            if kind == "_modules":
                yield from _tensors(value, f"{whole}.", left, depth - 1)
            else:
                yield whole, value


def _arguments(network: NetworkObject) -> dict[str, Any]:
    """The constructor's arguments, including those given by position."""
    named, positional = network.state.get("_init_kwargs", {}), network.state.get("_init_args", ())
    if not isinstance(named, dict) or not isinstance(positional, tuple) or len(positional) > len(_POSITIONAL):
        raise Malformed("its network does not say how it was constructed")
    return {**dict(zip(_POSITIONAL, positional, strict=False)), **named}
