"""Reads the pickles that ``torch.save`` writes, without running code.

It is a small stack machine for the part of the pickle language that such files use. It imports and calls
nothing. A name in the pickle is looked up in the tables below and becomes a plain value, a described
tensor, or something inert. A file with any other name is refused, and the message lists these names. A crafted
file cannot make it allocate much memory either. An unpickler restricted to safe functions cannot prevent this:
``torch.load(weights_only=True)`` of torch 2.14 makes a gigabyte out of a 400-byte file that calls
``bytearray(10**9)``.

Sources: Python's ``pickletools`` for the language; ``torch/_utils.py`` and ``torch/serialization.py`` for how
``torch.save`` stores tensors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Set
from mmap import mmap
from typing import Any, ClassVar

from evenface.checkpoints.stored import Malformed, Refused, Storage, StoredTensor

#: Bounds that published checkpoints stay far below (the largest has some 40 000 instructions, 1 MB).
MAX_PICKLE_BYTES = 8 << 20
MAX_INSTRUCTIONS = 400_000
_MAX_NAME = 200
_MAX_LISTED = 5

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

#: Names in harmless bookkeeping of trainers. Networks do not need their values; they are read as inert.
_INERT = {
    ("torch", "device"),
    ("argparse", "Namespace"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
    ("collections", "defaultdict"),
    ("typing", "Any"),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("dict", "float", "int", "list", "str")),
}
#: Packages of trainers whose classes name or hold such bookkeeping (callbacks, loops, hyper-parameters), never tensors
#: of the network.
_INERT_PACKAGES = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.")
_DTYPES = {("torch", name) for name in (*_STORAGES.values(), "float", "double", "half", "long", "int")}
_TENSORS = {("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")}
_PARAMETER = ("torch._utils", "_rebuild_parameter")
_DICTIONARIES = {("collections", "OrderedDict"), ("collections", "Counter")}
_SIZE = ("torch", "Size")
_KNOWN = {
    *_INERT,
    *_DTYPES,
    *_TENSORS,
    *_DICTIONARIES,
    _PARAMETER,
    _SIZE,
    *(("torch", name) for name in _STORAGES),
}

#: Finds the storage of a persistent id: (kind of storage as torch names it, key, elements, rest) -> storage.
FindStorage = Callable[[str, str, int, tuple], Storage]


class Inert:
    """Stands for a value that is not needed and was not created."""

    __slots__ = ()


class Name:
    """A module and a name in it, as a pickle states them; never imported."""

    __slots__ = ("name", "pair")

    def __init__(self, pair: tuple[str, str]):
        self.pair = pair
        self.name = ".".join(pair)


class TypedStorage:
    __slots__ = ("dtype", "storage")

    def __init__(self, dtype: str, storage: Storage):
        self.dtype, self.storage = dtype, storage


class _Mark:
    __slots__ = ()


_MARK = _Mark()
INERT = Inert()


def read_pickle(data: bytes, start: int = 0, find_storage: FindStorage | None = None) -> tuple[Any, int]:
    """The value of the pickle at ``data[start:]`` and the position after it.

    Dictionaries, lists, tuples, strings, bytes, numbers, truth values and None are kept as they are. Tensors
    become StoredTensor, harmless objects :data:`INERT`. Raises Refused, with the names, if the file refers to
    anything else, and Malformed when it is not such a pickle or exceeds the bounds.
    """
    machine = Machine(data, start, find_storage)
    return interpret(machine), machine.position


def interpret(machine: Machine) -> Any:
    """The value of a machine's pickle; raises as :func:`read_pickle` does."""
    value = None
    try:
        value = machine.run()
    except Malformed:
        if not machine.refused:
            raise
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error, UnicodeError) as error:
        if not machine.refused:
            raise Malformed("its pickle is damaged") from error
    if machine.refused:
        listed = ", ".join(sorted(machine.refused)[:_MAX_LISTED])
        more = " and others" if len(machine.refused) > _MAX_LISTED else ""
        raise Refused(f"refused, it refers to {listed}{more}, and such a file can run code when it is opened; "
                      "save its tensors alone as safetensors where you trust it")  # fmt: skip
    return value


class Machine:
    """One run; ``refused`` collects the names that are in no table.

    Readers of other containers than torch's extend ``known``, ``actions`` and :meth:`made`.
    """

    known: ClassVar[Set[tuple[str, str]]] = _KNOWN
    actions: ClassVar[Mapping[bytes, Callable[[Machine], None]]]
    max_instructions: ClassVar[int] = MAX_INSTRUCTIONS

    def __init__(self, data: bytes | mmap, start: int, find_storage: FindStorage | None):
        self.data = data
        self.position = start
        self.find_storage = find_storage
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.refused: set[str] = set()
        self.left = self.max_instructions

    def run(self) -> Any:
        while True:
            self.spend(1)
            code = self.take(1)
            if code == b".":
                value = self.stack.pop()
                if self.stack or isinstance(value, _Mark):
                    raise Malformed("its pickle ends with more than one value")
                return value
            action = self.actions.get(code)
            if action is None:
                raise Malformed(f"its pickle uses the instruction {code!r}, which no checkpoint needs")
            action(self)

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise Malformed(f"its pickle has more than {self.max_instructions} instructions")

    # Reading the instruction stream.

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise Malformed("its pickle is cut short")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + _MAX_NAME)
        if end < 0:
            raise Malformed("its pickle has a name that does not end")
        return self.take(end + 1 - self.position)[:-1].decode("utf-8")

    # Stack and memo.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise Malformed("its pickle is damaged")

    def value(self) -> Any:
        """Take the top off the stack and return it. A mark is not a value."""
        value = self.stack.pop()
        if value is _MARK:
            raise Malformed("its pickle is damaged")
        return value

    def remember(self, key: int) -> None:
        if self.stack[-1] is _MARK:
            raise Malformed("its pickle is damaged")
        self.memo[key] = self.stack[-1]

    # Containers.

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if target is INERT:
            return
        if type(target) is not dict or len(items) % 2:
            raise Malformed("its pickle is damaged")
        for key, value in zip(items[::2], items[1::2]):
            if key is INERT:
                continue
            # Deeply nested tuples and huge numbers would be dangerous to hash.
            if key is not None and type(key) not in (str, bool) and not (type(key) is int and abs(key) < 1 << 60):
                raise Malformed(f"a dictionary's key is of the type {type(key).__name__}, not a string or small number")
            target[key] = value

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if target is INERT:
            return
        if type(target) is not list:
            raise Malformed("its pickle is damaged")
        target.extend(items)

    # Names and what is made of them.

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise Malformed("its pickle is damaged")
        pair = (module, name)
        if pair in _DTYPES or module.startswith(_INERT_PACKAGES):
            self.push(INERT)
            return
        if pair not in self.known:
            self.refused.add(ascii(f"{module}.{name}"[:_MAX_NAME])[1:-1])
        self.push(Name(pair))

    def call(self) -> None:
        arguments, function = self.value(), self.value()
        if function is INERT:
            self.push(INERT)
            return
        if type(function) is not Name or type(arguments) is not tuple:
            raise Malformed("its pickle calls what cannot be called")
        self.push(self.made(function.pair, arguments))

    def made(self, pair: tuple[str, str], arguments: tuple) -> Any:
        if pair in _TENSORS:
            typed, offset, shape, strides = arguments[:4]
            if type(typed) is not TypedStorage or type(shape) is not tuple or type(strides) is not tuple:
                raise Malformed("a tensor is described wrongly")
            return StoredTensor(typed.dtype, shape, strides, offset, typed.storage)
        if pair == _PARAMETER:
            if type(arguments[0]) is not StoredTensor:
                raise Malformed("a parameter is not a tensor")
            return arguments[0]
        if pair in _DICTIONARIES:
            return self.dictionary(arguments)
        if pair == _SIZE:
            (size,) = arguments
            if type(size) is not tuple:
                raise Malformed("a size is not a tuple")
            return size
        if pair not in _INERT and pair in _KNOWN:
            raise Malformed(f"its pickle calls {'.'.join(pair)}")
        return INERT

    def dictionary(self, arguments: tuple) -> dict:
        """An ordered dictionary, from nothing, another one, or a list of pairs as Python 2 wrote it."""
        if not arguments:
            return {}
        (source,) = arguments
        if type(source) is dict:
            return source
        if type(source) is not list or any(type(p) not in (list, tuple) or len(p) != 2 for p in source):
            raise Malformed("an ordered dictionary is described wrongly")
        self.spend(len(source))  # one list can be made into many dictionaries
        self.push({})
        self.set_items([part for pair in source for part in pair])
        return self.value()

    def persistent(self) -> None:
        identity = self.value()
        if type(identity) is not tuple or len(identity) < 5 or self.find_storage is None:
            raise Malformed("its pickle refers to something outside itself")
        kind, storage_type, key, _, elements = identity[:5]
        if isinstance(key, int) and not isinstance(key, bool):
            key = str(key)
        named = type(storage_type) is Name and storage_type.pair[0] == "torch"
        if kind != "storage" or not named or storage_type.pair[1] not in _STORAGES:
            raise Malformed("its pickle refers to something that is not a storage of plain numbers")
        if type(key) is not str or type(elements) is not int or not 0 <= elements < 1 << 48:
            raise Malformed("a storage is described wrongly")
        dtype = _STORAGES[storage_type.pair[1]]
        self.push(TypedStorage(dtype, self.find_storage(dtype, key, elements, identity[5:])))

    def instance(self) -> None:
        """``i``: an object of a named class from the items since the mark."""
        module, name = self.line(), self.line()
        self.since_mark()
        self.name(module, name)
        self.value()
        self.push(INERT)

    def new_object(self, count: int) -> None:
        for _ in range(count):
            self.value()
        self.push(INERT)

    def build(self) -> None:
        """Attributes of an object are ignored, also those of an ordered dictionary."""
        self.value()
        if self.stack[-1] is not INERT and type(self.stack[-1]) is not dict:
            raise Malformed("its pickle gives attributes to a value that cannot have any")


def _text(form: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(form)).decode("utf-8", "surrogatepass"))


def _raw(form: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(form)))


def _python2_text(form: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(form)).decode("latin-1"))


def _integer(form: str) -> Callable[[Machine], None]:
    return lambda m: m.push(int.from_bytes(m.take(m.number(form)), "little", signed=True))


def _constant(value: Any) -> Callable[[Machine], None]:
    return lambda m: m.push(value)


def _fixed(form: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.number(form))


def _tuple(count: int) -> Callable[[Machine], None]:
    def action(machine: Machine) -> None:
        items = [machine.value() for _ in range(count)]
        machine.push(tuple(reversed(items)))

    return action


def _set_item(machine: Machine) -> None:
    value, key = machine.value(), machine.value()
    machine.set_items([key, value])


def _append(machine: Machine) -> None:
    machine.append([machine.value()])


def _stack_name(machine: Machine) -> None:
    name, module = machine.value(), machine.value()
    machine.name(module, name)


def _object(machine: Machine) -> None:
    machine.since_mark()
    machine.push(INERT)


def _protocol(machine: Machine) -> None:
    if (version := machine.number("<B")) > 5:
        raise Malformed(f"its pickle claims the unknown protocol {version}")


Machine.actions = {
    b"\x80": _protocol,
    b"\x95": lambda m: m.take(8),
    b"(": lambda m: m.push(_MARK),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"J": _fixed("<i"),
    b"K": _fixed("<B"),
    b"M": _fixed("<H"),
    b"G": _fixed(">d"),
    b"\x8a": _integer("<B"),
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"U": _python2_text("<B"),
    b"T": _python2_text("<I"),
    b"C": _raw("<B"),
    b"B": _raw("<I"),
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"l": lambda m: m.push(m.since_mark()),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"s": _set_item,
    b"u": lambda m: m.set_items(m.since_mark()),
    b"a": _append,
    b"e": lambda m: m.append(m.since_mark()),
    b"q": lambda m: m.remember(m.number("<B")),
    b"r": lambda m: m.remember(m.number("<I")),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"h": lambda m: m.push(m.memo[m.number("<B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"0": lambda m: m.stack.pop(),
    b"c": lambda m: m.name(m.line(), m.line()),
    b"\x93": _stack_name,
    b"R": lambda m: m.call(),
    b"Q": lambda m: m.persistent(),
    b"b": lambda m: m.build(),
    b"i": lambda m: m.instance(),
    b"o": _object,
    b"\x81": lambda m: m.new_object(2),
    b"\x92": lambda m: m.new_object(3),
}
