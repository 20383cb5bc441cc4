"""Puts stored tensors into a network, or names the first one that does not fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from evenface.checkpoints.stored import Malformed, MemoryTensor, StoredTensor
from evenface.errors import UserError

if TYPE_CHECKING:
    import torch

_REMEDY = "take the file as its authors publish it"
#: Factor and bytes for :func:`size_limit`. Besides the weights, a published file may hold an optimiser's two moments and
#: its own descriptions, or the weights are float64.
_SIZE_FACTOR = 4
_SIZE_SPARE = 64 << 20

#: Builds a network with fresh weights.
Build = Callable[[], "torch.nn.Module"]


def skeleton(build: Build) -> torch.nn.Module:
    """The network with names, shapes and types, but without memory for its tensors, because filling them takes time.

    A network whose construction needs numbers is built as usual.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        """Draws nothing: a draw without numbers would import torch's compiler, which takes seconds."""

        def __torch_function__(self, function, types, arguments=(), options=None):
            return arguments[0] if function is torch.Tensor.normal_ else function(*arguments, **(options or {}))

    try:
        with torch.device("meta"), Undrawn():
            return build()
    except (NotImplementedError, RuntimeError):
        return build()


def size_limit(build: Build, spare_bytes: int = 0) -> int:
    """Largest plausible size of a checkpoint of that network, in bytes."""
    state = skeleton(build).state_dict()
    return _SIZE_FACTOR * sum(t.numel() * t.element_size() for t in state.values()) + _SIZE_SPARE + spare_bytes


def shapes(build: Build) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of the network, in order."""
    return {name: tuple(tensor.shape) for name, tensor in skeleton(build).state_dict().items()}


#: Tensors of a file by the network's names.
Stored = Mapping[str, StoredTensor] | Mapping[str, MemoryTensor]


def fit(
    build: Build,
    stored: Stored,
    path: str | os.PathLike,
    hint: Callable[[Stored], str] | None = None,
    wider: str = "",
) -> torch.nn.Module:
    """The network with the ``stored`` tensors, on the CPU.

    ``stored`` must hold exactly the network's tensors, each with its shape. Numbers stored as other floats
    are rounded to the network's type and must then be finite. Integers must have
    the network's type. Raises UserError naming the file, the first tensor that does not fit, and a remedy;
    ``hint`` may add what the file is instead, and ``wider`` how to get a type for larger numbers.
    """
    import torch

    network = skeleton(build)
    expected = network.state_dict()
    problem = _misfit(expected, stored)
    if problem:
        other = hint(stored) if hint else ""
        raise UserError(f"{path}: {problem}; {other or _REMEDY}")
    state = {name: _read(name, stored[name], like, path, wider) for name, like in expected.items()}
    constants = [n for n, t in expected.items() if not _is_float(t) and not n.endswith("num_batches_tracked")]
    computed = without_drawing(build).state_dict() if constants else {}
    for name in constants:
        if not torch.equal(computed[name], state[name]):
            raise UserError(f"{path}: tensor {name!r} is a constant of the network and has other values; {_REMEDY}")
    if _without_memory(network, expected):
        network = build()
    network.load_state_dict(state, assign=True)
    return network


def start_from(
    network: torch.nn.Module, stored: Mapping[str, StoredTensor], path: str | os.PathLike, free: Collection[str] = ()
) -> list[str]:
    """Give ``network`` the ``stored`` tensors. Those in ``free`` may be missing or have another shape; they are kept.

    Returns the names that were kept. Raises UserError as :func:`fit` does.
    """
    expected = dict(network.state_dict())
    kept = [name for name in free if name not in stored or stored[name].shape != tuple(expected[name].shape)]
    stored = {name: tensor for name, tensor in stored.items() if name not in kept}
    for name in kept:
        del expected[name]
    if problem := _misfit(expected, stored):
        raise UserError(f"{path}: {problem}; give the weights of the network that is trained")
    network.load_state_dict({n: _read(n, stored[n], like, path) for n, like in expected.items()}, strict=False)
    return kept


def _misfit(expected: Mapping[str, torch.Tensor], stored: Stored) -> str:
    """The first mistake in names, shapes and types; empty when they fit."""
    for name, like in expected.items():
        if name not in stored:
            return f"tensor {name!r} is missing; this is not a checkpoint of that network"
        tensor = stored[name]
        if not isinstance(tensor, (StoredTensor, MemoryTensor)):
            return f"entry {name!r} is not a tensor"
        if tensor.shape != tuple(like.shape):
            return f"tensor {name!r} has shape {tensor.shape}, the network needs {tuple(like.shape)}"
        needed = str(like.dtype).removeprefix("torch.")
        if tensor.dtype != needed and not (_is_float(like) and "float" in tensor.dtype):
            return f"tensor {name!r} is stored as {tensor.dtype}, the network needs {needed}"
    extra = next((name for name in stored if name not in expected), None)
    return "" if extra is None else f"tensor {extra!r} is unknown to that network; this is another network's checkpoint"


def _is_float(tensor: torch.Tensor) -> bool:
    return tensor.dtype.is_floating_point


def _read(
    name: str, stored: StoredTensor | MemoryTensor, like: torch.Tensor, path: str | os.PathLike, wider: str = ""
) -> torch.Tensor:
    """One tensor in the network's type, its values checked."""
    try:
        given = stored.read()
    except Malformed as error:
        raise UserError(f"{path}: tensor {name!r}: {error}") from error
    tensor = given.to(like.dtype).contiguous()
    check_values(name, tensor, path, lambda: given, wider)
    return tensor


def check_values(
    name: str,
    tensor: torch.Tensor,
    path: str | os.PathLike,
    given: Callable[[], torch.Tensor | None] = lambda: None,
    wider: str = "",
) -> None:
    """UserError naming file and tensor if its values are not finite, or a variance is negative.

    ``given`` returns the tensor as stored (None if unknown). If that one is finite, the message says ``wider`` instead:
    how to get a type for larger numbers.
    """
    if not is_finite(tensor):
        if wider and (stored := given()) is not None and is_finite(stored):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{path}: tensor {name!r} holds numbers too large for {kind}; {wider}")
        raise UserError(f"{path}: tensor {name!r} holds values that are not finite numbers; {_REMEDY}")
    if name.endswith("running_var") and (tensor < 0).any():
        raise UserError(f"{path}: tensor {name!r} holds a negative variance; {_REMEDY}")


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds finite numbers alone."""
    import torch

    if not _is_float(tensor) or not tensor.numel():
        return True
    low, high = torch.aminmax(tensor if tensor.element_size() > 1 else tensor.half())
    return bool(torch.isfinite(low) and torch.isfinite(high))


def _without_memory(network: torch.nn.Module, expected: Mapping[str, Any]) -> bool:
    """Whether tensors that are in no state dictionary would stay without memory."""
    import torch

    if any(buffer.is_meta for name, buffer in network.named_buffers() if name not in expected):
        return True
    return any(
        isinstance(value, torch.Tensor) and value.is_meta
        for module in network.modules()
        for value in vars(module).values()
    )


def without_drawing(build: Build) -> torch.nn.Module:
    """The network with its constants computed. Random weights that take seconds to draw are zeros instead."""
    import torch
    from torch.overrides import TorchFunctionMode

    drawing = {torch.Tensor.uniform_, torch.Tensor.normal_}

    class WithoutDrawing(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), keywords=None):
            if function in drawing:
                return arguments[0].zero_()  # not left as it is: truncated distributions draw until all fit
            return function(*arguments, **(keywords or {}))

    with WithoutDrawing():
        return build()
