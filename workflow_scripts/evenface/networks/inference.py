"""Evaluates networks fast: folds batch norms, chooses memory layout and precision, runs batches in parallel."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Item = TypeVar("Item")
Result = TypeVar("Result")

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

_FOLDABLE: tuple[tuple[type, type, Callable], ...] = (
    (nn.Conv2d, nn.BatchNorm2d, fuse_conv_bn_eval),
    (nn.Linear, nn.BatchNorm1d, fuse_linear_bn_eval),
)


class Prepared(nn.Module):
    """A network prepared by :func:`prepare_for_inference`: any memory layout of float inputs, float32 outputs."""

    def __init__(self, network: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        layout = torch.channels_last if x.ndim == 4 else torch.preserve_format
        return self.network(x.to(self.dtype, memory_format=layout)).float()


def prepare_for_inference(network: nn.Module, precision: str = "float32") -> Prepared:
    """A copy of ``network`` that computes the same in evaluation mode, but faster; the original does not change.

    Every batch norm directly after a convolution or a linear layer is folded into it (this changes
    float32 outputs by about 1e-6 of the largest). Other norms stay and keep float32 parameters. Weights
    are laid out with the channels last, which oneDNN and cuDNN convolve without reordering.
    ``precision`` is ``float32``, or ``bfloat16`` for all weights and activations; the outputs are
    float32 in both. The network must have one input and one output tensor, and ``torch.fx`` must be able
    to trace its forward: no branches on values or shapes; a check of the input's shape must be a function
    of the module that is registered with ``torch.fx.wrap``. Raises ValueError for another network or precision.
    """
    if precision not in _DTYPES:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(_DTYPES)}")
    network = copy.deepcopy(network).eval()
    network = fold_batch_norms(network)
    dtype = _DTYPES[precision]
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    network = network.to(dtype, memory_format=torch.channels_last)
    for norm in norms:
        norm.float()
    return Prepared(network.requires_grad_(False), dtype)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """``network`` in evaluation mode, with batch norms folded into the convolutions and linear layers before them."""
    try:
        traced = fx.symbolic_trace(network)
    except fx.proxy.TraceError as error:
        raise ValueError(f"the forward of {type(network).__name__} cannot be traced ({error})") from error
    modules = dict(traced.named_modules())
    uses: dict[str, int] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            uses[node.target] = uses.get(node.target, 0) + 1
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(before := node.args[0], fx.Node):
            continue
        if before.op != "call_module" or len(before.users) != 1 or uses[before.target] != 1 or uses[node.target] != 1:
            continue
        for layer, norm, fold in _FOLDABLE:
            if isinstance(modules[before.target], layer) and isinstance(modules[node.target], norm):
                parent, _, name = before.target.rpartition(".")
                setattr(modules[parent], name, fold(modules[before.target], modules[node.target]))
                node.replace_all_uses_with(before)
                traced.graph.erase_node(node)
                break
    traced.graph.lint()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def map_batches(function: Callable[[Item], Result], batches: Iterable[Item], threads: int) -> Iterator[Result]:
    """``function`` of every batch, in order; each of ``threads`` threads computes one batch at a time.

    Inside ``function`` torch uses one core and does not record gradients. Cores therefore do not wait for each
    other within a layer, ``function`` can also decode images, and the results are the same for every number of
    threads. A few batches are computed ahead of the consumer. Errors of ``function`` are raised here.
    """

    def work(batch: Item) -> Result:
        torch.set_num_threads(1)  # a setting of the thread that calls, and the default of later ones
        with torch.inference_mode():
            return function(batch)

    before = torch.get_num_threads()
    ahead: deque[Future] = deque()
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        try:
            for batch in batches:
                ahead.append(pool.submit(work, batch))
                if len(ahead) > max(threads, 1):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)
