"""Checkpoint files for tests: whole, as published, and broken in many ways."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import random
import struct
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import torch

#: Every prefix and wrapping in which the published files come: name -> list of (wrap, prefix).
PUBLISHED_FORMS = {
    "magface-iresnet18": [
        (lambda s: {"epoch": 25, "arch": "iresnet18", "state_dict": s, "optimizer": {"state": {}}}, prefix)
        for prefix in ("features.module.", "module.features.", "features.")
    ],
    "fairface-7": [(lambda s: s, "")],
    "fairface-4": [(lambda s: s, "")],
    "facexformer": [(lambda s: {"state_dict_backbone": s, "epoch": 3}, "")],
    "farl-celeba": [(lambda s: s, "")],
    "retinaface-mobilenet": [(lambda s: s, "module."), (lambda s: {"state_dict": s}, "module."), (lambda s: s, "")],
    "deepface-emotion": [(lambda s: s, "")],
    "mtcnn-pnet": [(lambda s: s, "")],
    "mtcnn-rnet": [(lambda s: s, "")],
    "mtcnn-onet": [(lambda s: s, "")],
}


def random_state(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors of a published network: positive, as variances must be; integers as constructed."""
    from evenface import networks
    from evenface.checkpoints.fitting import without_drawing

    torch.manual_seed(seed)
    return {
        key: torch.rand(like.shape) + 0.5 if like.is_floating_point() else like
        for key, like in without_drawing(lambda: networks.build(name)).state_dict().items()
    }


def pnet_state() -> dict[str, torch.Tensor]:
    """A small published network's tensors: MTCNN's first stage."""
    return random_state("mtcnn-pnet")


#: A small network of two layers for Keras files: PyTorch's names and shapes, no two sides alike.
KERAS_SHAPES = {"a.weight": (4, 3, 2, 5), "a.bias": (4,), "b.weight": (5, 4), "b.bias": (5,)}


def keras_state() -> dict[str, np.ndarray]:
    """Numbers for :data:`KERAS_SHAPES`."""
    random = np.random.default_rng(0)
    return {name: random.random(shape, np.float32) for name, shape in KERAS_SHAPES.items()}


def write_keras(path, state, *, empty_layers=("flatten_1",), **options):
    """The tensors of a state dictionary as Keras writes weights: the older HDF5 layout, kernels transposed.

    ``options`` go to h5py's ``create_dataset``.
    """
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    titles = {layer: layer.replace(".", "_") for layer in layers}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [title.encode() for title in (*empty_layers, *titles.values())]
        file.attrs["backend"] = b"tensorflow"
        for layer in empty_layers:
            file.create_group(layer).attrs["weight_names"] = np.array([], "S1")
        for layer, title in titles.items():
            group = file.create_group(title)
            group.attrs["weight_names"] = [f"{title}/kernel:0".encode(), f"{title}/bias:0".encode()]
            kernel = np.asarray(state[f"{layer}.weight"])
            kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
            inner = group.create_group(title)
            inner.create_dataset("kernel:0", data=kernel, **options)
            inner.create_dataset("bias:0", data=np.asarray(state[f"{layer}.bias"]), **options)
    return path


class Calls:
    """Pickles as a call of ``function`` with ``arguments`` when it is opened."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def payloads(canary: str) -> dict[str, bytes]:
    """Pickles that create the file ``canary`` when an ordinary unpickler reads them, by the name they call."""
    import builtins
    import os
    import subprocess

    touch = f"open({canary!r}, 'w').close()"
    text = canary.encode()
    return {
        "posix.system": pickle.dumps(Calls(os.system, f"touch '{canary}'"), 2),
        "builtins.eval": pickle.dumps(Calls(builtins.eval, touch), 4),
        "builtins.exec": pickle.dumps(Calls(builtins.exec, touch), 4),
        "subprocess.check_call": pickle.dumps(Calls(subprocess.check_call, ["touch", canary]), 4),
        # Hidden: a getattr chain, an instance instruction, an old-style object, a set state.
        "builtins.getattr": b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\n__import__\n(X\x05\0\0\0posixtRX\x06\0\0\0systemtR(X"
        + struct.pack("<I", len(text) + 6)
        + b"touch "
        + text
        + b"tR.",
        "posix.system (instance)": b"(X" + struct.pack("<I", len(text) + 6) + b"touch " + text + b"iposix\nsystem\n.",
        "posix.system (object)": b"(cposix\nsystem\nX" + struct.pack("<I", len(text) + 6) + b"touch " + text + b"o.",
        "io.open": b"\x80\x02cio\nopen\nX" + struct.pack("<I", len(text)) + text + b"X\x01\0\0\0w\x86R.",
    }


def zip_bytes(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive with these entries, checksums right, names as given."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore", UserWarning)  # names that come twice
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def zip_entries(data: bytes) -> list[tuple[str, bytes]]:
    """Names and bytes of a zip archive's entries."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def with_pickle(data: bytes, change) -> bytes:
    """A torch file with its main pickle changed and every checksum right again."""
    return zip_bytes([(n, change(d) if n.endswith("/data.pkl") else d) for n, d in zip_entries(data)])


def safetensors_parts(data: bytes) -> tuple[dict, bytes]:
    """Header and data of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def safetensors_bytes(header, body: bytes) -> bytes:
    """A safetensors file of that header (a JSON value or the text itself) and body."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


#: A network pickle of StyleGAN3's container, whose embedded program text raises when run.
NETWORK_PICKLE = Path(__file__).parent / "contract" / "reference" / "stylegan3" / "tiny_network_snapshot.pkl"


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def network_storage(numbers: np.ndarray) -> bytes:
    """A storage as torch pickles it inside another pickle: its bytes are themselves a pickle file."""
    buffer = io.BytesIO()
    storage = torch.from_numpy(np.ascontiguousarray(numbers, np.float32)).flatten().untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    torch.save(typed, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def network_pickle(
    tensors: dict[str, np.ndarray | None],
    arguments: bytes,
    *,
    key: str = "G_ema",
    before: bytes = b"",
    storages: dict[str, bytes] | None = None,
    sizes: dict[str, tuple[int, ...]] | None = None,
) -> bytes:
    """A network pickle written by hand: nested modules of ``tensors`` (None: absent), ``arguments`` pickled.

    ``before`` is put before the network, ``storages`` and ``sizes`` replace what belongs to a tensor.
    """

    def call(module: str, name: str, *values: bytes) -> bytes:
        return b"c" + f"{module}\n{name}\n".encode() + b"(" + b"".join(values) + b"tR"

    def tensor(name: str, value: np.ndarray) -> bytes:
        raw = (storages or {}).get(name, None) or network_storage(value)
        storage = call("torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(raw)) + raw)
        shape = (sizes or {}).get(name, value.shape)
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        numbers = [b"(" + b"".join(b"J" + struct.pack("<i", n) for n in part) + b"t" for part in (shape, strides)]
        whole = call("torch._utils", "_rebuild_tensor_v2", storage, b"K\0", *numbers, b"\x89", b"}")
        return call("torch._utils", "_rebuild_parameter", whole, b"\x88", b"}")

    def module(below: dict, prefix: str, more: bytes = b"") -> bytes:
        parameters = b"".join(
            _text(k) + (b"N" if v is None else tensor(prefix + k, v))
            for k, v in below.items()
            if not isinstance(v, dict)
        )
        modules = b"".join(_text(k) + module(v, f"{prefix}{k}.") for k, v in below.items() if isinstance(v, dict))
        state = [_text("_parameters"), b"}(", parameters, b"u", _text("_buffers"), b"}", _text("_modules"), b"}(", modules,
                 b"u", _text("_non_persistent_buffers_set"), b"\x8f"]  # fmt: skip
        meta = [_text("type"), _text("class"), _text("version"), b"K\6", _text("module_src"),
                _text("raise RuntimeError"), _text("class_name"), _text("Generator"), _text("state"), b"}(", *state, more,
                b"u"]  # fmt: skip
        return call("torch_utils.persistence", "_reconstruct_persistent_obj", b"}(" + b"".join(meta) + b"u")

    tree: dict = {}
    for name, value in tensors.items():
        *path, last = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    network = module(tree, "", _text("_init_args") + b")" + _text("_init_kwargs") + arguments)
    return b"\x80\x04" + before + b"}(" + _text("D") + b"N" + _text(key) + network + b"u."


# Mutations. Each takes whole bytes and a random.Random.

_NUMBERS = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """Bytes changed without regard to what they mean."""
    damaged = bytearray(data)
    # Structure sits at both ends of most containers, numbers in the middle.
    place = draw.choice(
        (
            lambda n: draw.randrange(n),
            lambda n: draw.randrange(min(n, 4096)),
            lambda n: n - 1 - draw.randrange(min(n, 4096)),
        )
    )
    kind = draw.randrange(7)
    if kind == 0:
        return bytes(damaged[: draw.randrange(len(damaged))])
    if kind == 1:
        for _ in range(draw.randint(1, 8)):
            damaged[place(len(damaged))] ^= 1 << draw.randrange(8)
    elif kind == 2:
        at, width = place(len(damaged)), draw.choice((1, 2, 4, 8))
        damaged[at : at + width] = (draw.choice(_NUMBERS) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    elif kind == 3:
        at, other, length = place(len(damaged)), place(len(damaged)), draw.randint(1, 200)
        damaged[at : at + length] = damaged[other : other + length]
    elif kind == 4:
        at = place(len(damaged))
        del damaged[at : at + draw.randint(1, 300)]
    elif kind == 5:
        at = place(len(damaged))
        damaged[at:at] = draw.randbytes(draw.randint(1, 300))
    else:
        at, length = place(len(damaged)), draw.randint(1, 100)
        damaged[at : at + length] = draw.randbytes(length)
    return bytes(damaged)


def mutate_pickle(data: bytes, draw: random.Random, hidden: list[bytes]) -> bytes:
    """A pickle with instructions damaged, repeated or one of the payloads ``hidden`` in it."""
    kind = draw.randrange(4)
    if kind == 0:
        at = draw.choice([position for _, _, position in pickletools.genops(data)][1:])
        payload = draw.choice(hidden)
        body = payload[2:-1] if payload[:1] == b"\x80" else payload[:-1]
        return data[:at] + body + draw.choice((b"", b"0")) + data[at:]
    if kind == 1:
        at, end = sorted((draw.randrange(len(data)), draw.randrange(len(data))))
        return data[:end] + data[at:end] * draw.randint(1, 50) + data[end:]
    return mutate_bytes(data, draw)


def mutate_zip(data: bytes, draw: random.Random, hidden: list[bytes]) -> bytes:
    """A torch archive put together wrongly: entries swapped, lost, doubled, renamed, compressed, lied about."""
    entries = zip_entries(data)
    kind = draw.randrange(8)
    if kind <= 2:
        return with_pickle(data, lambda pickled: mutate_pickle(pickled, draw, hidden))
    first, second = draw.randrange(len(entries)), draw.randrange(len(entries))
    if kind == 3:
        (name, content), (other, more) = entries[first], entries[second]
        entries[first], entries[second] = (name, more), (other, content)
    elif kind == 4:
        del entries[first]
    elif kind == 5:
        entries.append(entries[first])
    elif kind == 6:
        forbidden = ("/etc/passwd", "../up", "a\\b", "other/data.pkl", "archive//x", "c:/x", "archive/./x")
        entries[first] = (draw.choice(forbidden), entries[first][1])
    else:
        return zip_bytes([*entries, ("archive/bomb", bytes(1 << 22))], zipfile.ZIP_DEFLATED)
    return zip_bytes(entries)


def mutate_safetensors(data: bytes, draw: random.Random) -> bytes:
    """A safetensors file whose header lies."""
    header, body = safetensors_parts(data)
    name = draw.choice(list(header))
    entry = header[name]
    strange = (-1, 1 << 62, 10**40, 1.5, None, "x", [], {}, True, [[[]]], [1, 2, 3], 0, float("nan"))
    kind = draw.randrange(7)
    if kind == 0:
        entry[draw.choice(("dtype", "shape", "data_offsets", "more"))] = draw.choice(strange)
    elif kind == 1:
        entry["data_offsets"][draw.randrange(2)] += draw.choice((-4, 4, 1, 1 << 40, -(1 << 40)))
    elif kind == 2:
        entry["shape"] = [*entry["shape"], draw.choice((0, 1, 2, 1 << 33, 1 << 62))]
    elif kind == 3:
        entry["dtype"] = draw.choice(("F64", "F16", "BF16", "I64", "U8", "F8_E4M3", "BOOL", "f32", "C64"))
    elif kind == 4:
        header[draw.choice(list(header))] = draw.choice((*strange, dict(entry)))
    elif kind == 5:
        return safetensors_bytes(json.dumps(header).encode() + b"," * draw.randrange(3), body)
    else:
        depth = draw.choice((10, 1000, 200_000))
        return safetensors_bytes(b'{"a":' + b"[" * depth + b"]" * depth + b"}", body)
    return safetensors_bytes(header, body)
