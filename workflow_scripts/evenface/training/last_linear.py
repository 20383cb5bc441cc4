"""The last layer of a classifier, for methods that treat it apart."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from evenface.errors import UserError
from evenface.targets import blocks


def last_linear(network: nn.Module, outputs: int, method: str) -> tuple[str, nn.Linear]:
    """Name and module of a classifier's last linear layer. UserError if it does not give the ``outputs``."""
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not found or found[-1][1].out_features != outputs:
        raise UserError(f"method {method}: the network's last layer is not linear; choose another network")
    return found[-1]


def check_binary(attributes: Sequence[str], method: str) -> None:
    """UserError for a categorical target, which a method of independent decisions cannot learn."""
    if targets := blocks(attributes):
        raise UserError(f"method {method}: {next(iter(targets))} has several classes; train binary attributes with it")
