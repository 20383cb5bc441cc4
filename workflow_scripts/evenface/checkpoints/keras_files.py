"""Keras weights in HDF5 files (the older layout), read by position as Keras itself does.

Such a file has the root attribute ``layer_names``; each layer is a group with the attribute
``weight_names`` and datasets, the kernel first and then the bias. The reading is done by
``keras_child`` in a process of limited memory and time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

from evenface.checkpoints.stored import ITEM_BYTES, Malformed, Storage, StoredTensor, contiguous_strides
from evenface.errors import raise_if_machine

_CHILD = Path(__file__).with_name("keras_child.py")
#: Memory that the library may use beyond the weights, in bytes.
_SPARE_MEMORY = 512 << 20
_SECONDS = 30
_BYTES_PER_SECOND = 4 << 20


def keras_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """A weight's shape in Keras, where kernels are (rows, columns, in, out) or (in, out)."""
    if len(shape) == 4:
        out, inputs, rows, columns = shape
        return rows, columns, inputs, out
    return tuple(reversed(shape))


@contextmanager
def keras_weights(path: Path, shapes: Mapping[str, Sequence[int]]) -> Iterator[dict[str, StoredTensor]]:
    """The weights of a Keras file under the names of ``shapes``, in PyTorch's layout, while the context lasts.

    ``shapes`` lists a network's tensors in order: for each layer, the kernel and then the bias. Raises
    Malformed when the file does not hold exactly these, is damaged, or takes too much memory or time.
    """
    names = list(shapes)
    expected = [list(keras_shape(shape)) for shape in shapes.values()]
    nbytes = sum(8 * prod(shape) for shape in expected)
    task = {
        "path": str(path),
        "expected": [expected[i : i + 2] for i in range(0, len(expected), 2)],
        "memory": nbytes + _SPARE_MEMORY,
        "seconds": _SECONDS + nbytes // _BYTES_PER_SECOND,
    }
    with tempfile.NamedTemporaryFile(prefix="evenface-keras-") as target:
        answer = _ask({**task, "target": target.fileno()})
        tensors: dict[str, StoredTensor] = {}
        start = 0
        for name, shape, (_, dtype, stored_shape) in zip(names, expected, answer, strict=True):
            if stored_shape != shape or dtype not in ITEM_BYTES:
                raise Malformed("it could not be read")
            storage = Storage(Path(target.name), start, prod(shape) * ITEM_BYTES[dtype])
            tensors[name] = _transposed(dtype, tuple(shape), storage)
            start += storage.nbytes
        yield tensors


def _transposed(dtype: str, shape: tuple[int, ...], storage: Storage) -> StoredTensor:
    """A kernel in PyTorch's order of axes; only the strides change."""
    strides = contiguous_strides(shape)
    if len(shape) == 4:
        order = (3, 2, 0, 1)
    else:
        order = tuple(reversed(range(len(shape))))
    return StoredTensor(dtype, tuple(shape[i] for i in order), tuple(strides[i] for i in order), 0, storage)


def _ask(task: dict) -> list[list]:
    """The answer of the reading process. Raises Malformed when it refuses, crashes or takes too long."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("HDF5_")},
        "HDF5_PLUGIN_PRELOAD": "::",  # no filter is loaded from disk
        "HDF5_USE_FILE_LOCKING": "FALSE",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_CHILD)],
            input=json.dumps(task).encode(),
            capture_output=True,
            pass_fds=[task["target"]],
            env=environment,
            timeout=2 * task["seconds"],
        )
    except subprocess.TimeoutExpired as error:
        raise Malformed("reading it takes far longer than the network's weights can") from error
    if b"No module named 'h5py'" in done.stderr:
        raise Malformed("the package h5py is needed to read it; install h5py, or take the .pth file")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise Malformed("the HDF5 library crashed while reading it; it is damaged or was made to do harm") from None
    if "errno" in answer:
        error = OSError(answer["errno"], answer["error"])
        raise_if_machine(error, task["path"])
    if "error" in answer:
        raise Malformed(answer["error"])
    return answer["tensors"]
