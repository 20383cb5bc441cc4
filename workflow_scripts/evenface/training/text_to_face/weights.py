"""Weights of one part of the model, between the stages of its training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from evenface.checkpoints import load_strictly
from evenface.errors import UserError
from evenface.storage.atomic import write_bytes


def save_weights(path: str | os.PathLike, *networks: nn.Module, prefixes: tuple[str, ...] = ("",)) -> None:
    """Write the weights of ``networks``, each under its prefix, as one safetensors file."""
    from safetensors.torch import save

    state = {
        prefix + name: tensor.detach().cpu().contiguous()
        for network, prefix in zip(networks, prefixes, strict=True)
        for name, tensor in network.state_dict().items()
    }
    write_bytes(path, save(state))


def load_weights(path: str | os.PathLike, *networks: nn.Module, prefixes: tuple[str, ...] = ("",)) -> None:
    """Read what :func:`save_weights` wrote into networks of the same shape; UserError naming what does not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state: Mapping[str, Tensor] = load(Path(path).read_bytes())
    except OSError as error:
        raise UserError(
            f"{path}: the weights cannot be read ({error.strerror}); run the rule that trains them"
        ) from error
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error}); delete it and train again") from error
    for network, prefix in zip(networks, prefixes, strict=True):
        load_strictly(network, {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}, path)
