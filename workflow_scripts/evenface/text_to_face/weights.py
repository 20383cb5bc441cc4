"""Weights of the model's parts, between the stages of its training."""

from __future__ import annotations

import os
from collections.abc import Mapping

from torch import nn

from evenface.checkpoints.fitting import fit
from evenface.checkpoints.reading import read_published
from evenface.storage.atomic import write_bytes


def save_weights(path: str | os.PathLike, parts: Mapping[str, nn.Module]) -> None:
    """Write the weights of ``parts`` as one safetensors file; each tensor's name begins with its part's name."""
    from safetensors.torch import save

    state = nn.ModuleDict(parts).state_dict()
    write_bytes(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}))


def load_weights(path: str | os.PathLike, parts: Mapping[str, nn.Module]) -> None:
    """Load a file of :func:`save_weights` into parts of the same shapes, on the CPU; UserError naming what does not fit."""
    together = nn.ModuleDict(parts)
    fit(lambda: together, read_published(path), path)
