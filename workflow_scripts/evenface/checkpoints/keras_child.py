"""Runs as its own program: copies the weights of a Keras HDF5 file to a plain file.

The HDF5 library is written in C and was not made for hostile files. It therefore runs in a process with
limited memory and time; if it crashes, the file is refused. Standard input is a JSON object:

``path``      the HDF5 file
``target``    descriptor, open for writing, that receives all weights one after the other
``expected``  the layers' weights in order: lists of shapes, such as [[[3, 3, 3, 64], [64]], ...]
``memory``    bytes of address space beyond what the libraries take
``seconds``   of processor time

Standard output is a JSON object with ``tensors`` ([name, dtype, shape] in order) or ``error``, and ``errno``
where the system gave one.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator

import h5py
import numpy as np

_MAX_LAYERS = 1000
_MAX_WEIGHTS = 8
_MAX_NAME_BYTES = 1000
_FLOATS = {"<f2": "float16", "<f4": "float32", "<f8": "float64"}
#: Filters built into the library; any other filter could make it load a program from disk.
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


class _Refused(Exception):
    pass


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """The texts of an attribute; at most _MAX_LAYERS are accepted."""
    if attribute not in group.attrs:
        raise _Refused(f"the attribute {attribute!r} is missing; a Keras weights file of the older kind has it")
    identity = h5py.h5a.open(group.id, attribute.encode())
    kind = identity.dtype
    if identity.shape == (0,):  # a layer without weights, whatever the type of the nothing
        return []
    text = kind.kind == "S" or h5py.check_string_dtype(kind) is not None
    if h5py.check_ref_dtype(kind) is not None or not text:
        raise _Refused(f"the attribute {attribute!r} does not hold texts")
    if len(identity.shape) != 1 or identity.shape[0] > _MAX_LAYERS or kind.itemsize > _MAX_NAME_BYTES:
        raise _Refused(f"the attribute {attribute!r} is not a list of at most {_MAX_LAYERS} short names")
    values = group.attrs[attribute]
    return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values.tolist()]


def _child(group: h5py.Group, name: str, kind: type) -> h5py.Group | h5py.Dataset:
    """The entry ``name``; every step of its path must be a plain link within this file."""
    item = group
    for part in name.split("/"):
        if part in ("", ".", ".."):
            raise _Refused(f"the name {name[:80]!r} is not a plain path")
        if not isinstance(item, h5py.Group) or item.get(part, getlink=True) is None:
            raise _Refused(f"{name[:80]!r} is listed but missing")
        if not isinstance(item.get(part, getlink=True), h5py.HardLink):
            raise _Refused(f"{name[:80]!r} is a link to elsewhere; weights must be in the file itself")
        item = item[part]
    if not isinstance(item, kind):
        raise _Refused(f"{name[:80]!r} is a {type(item).__name__.lower()}, not a {kind.__name__.lower()}")
    return item


def _layers(file: h5py.File) -> Iterator[tuple[str, list[h5py.Dataset]]]:
    """Layers that own weights, in order. A whole saved model keeps them in the group ``model_weights``."""
    root = file
    if "layer_names" not in file.attrs and isinstance(file.get("model_weights", getlink=True), h5py.HardLink):
        root = _child(file, "model_weights", h5py.Group)
    for layer in _names(root, "layer_names"):
        group = _child(root, layer, h5py.Group)
        names = _names(group, "weight_names")
        if len(names) > _MAX_WEIGHTS:
            raise _Refused(f"the layer {layer[:80]!r} lists {len(names)} weights")
        if names:
            yield layer, [_child(group, name, h5py.Dataset) for name in names]


def _check(name: str, dataset: h5py.Dataset, shape: list[int]) -> str:
    """The dataset's element type; raises _Refused if the dataset must not be read."""
    if list(dataset.shape or ()) != shape or dataset.shape is None:
        raise _Refused(f"the tensor {name!r} has shape {dataset.shape}, the network needs {tuple(shape)}")
    dtype = _FLOATS.get(dataset.dtype.str)
    if dtype is None:
        raise _Refused(f"the tensor {name!r} has the element type {dataset.dtype}; weights are float16, 32 or 64")
    if dataset.external or dataset.is_virtual:
        raise _Refused(f"the tensor {name!r} is in another file; weights must be in the file itself")
    plan = dataset.id.get_create_plist()
    for index in range(plan.get_nfilters()):
        if plan.get_filter(index)[0] not in _FILTERS:
            raise _Refused(f"the tensor {name!r} is stored with a filter that is not built in")
    if dataset.chunks is not None and np.prod(dataset.chunks, dtype=float) * dataset.dtype.itemsize > (
        2 * dataset.nbytes + (1 << 20)
    ):
        raise _Refused(f"the tensor {name!r} is stored in pieces larger than itself")
    if dataset.nbytes and not dataset.id.get_storage_size():
        raise _Refused(f"the tensor {name!r} has no data in the file")
    return dtype


def copy_weights(path: str, target: int, expected: list[list[list[int]]]) -> list[list]:
    """Write every weight to ``target``; returns [name, dtype, shape] each. Raises _Refused."""
    written = []
    with h5py.File(path, "r") as file, os.fdopen(target, "wb") as out:
        layers = list(_layers(file))
        if len(layers) != len(expected):
            raise _Refused(f"it has {len(layers)} layers with weights, the network has {len(expected)}")
        for (layer, datasets), shapes in zip(layers, expected):
            if len(datasets) != len(shapes):
                raise _Refused(f"the layer {layer[:80]!r} has {len(datasets)} weights, the network needs {len(shapes)}")
            for dataset, shape in zip(datasets, shapes):
                name = dataset.name.lstrip("/")[:120]
                dtype = _check(name, dataset, shape)
                out.write(np.ascontiguousarray(dataset[()]).data)
                written.append([name, dtype, shape])
    return written


def _limit(memory: int, seconds: int) -> None:
    with open("/proc/self/statm") as statm:
        taken = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    task = json.load(sys.stdin)
    if sys.platform == "linux":
        _limit(task["memory"], task["seconds"])
    try:
        answer = {"tensors": copy_weights(task["path"], task["target"], task["expected"])}
    except _Refused as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it needs far more memory than the network's weights"}
    except Exception as error:  # the library fails in many ways on a damaged file
        answer = {"error": f"it is damaged or not a Keras weights file ({str(error)[:200]})"}
        if getattr(error, "errno", None) is not None:
            answer["errno"] = error.errno
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
