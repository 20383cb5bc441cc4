"""Weights on disk: our own models, and networks as their authors publish them.

Our models are a safetensors file with a JSON manifest of the same stem beside it. Published files
are opened with an unpickler restricted to tensors and plain values, and every tensor must fit.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface import networks
from evenface.errors import UserError
from evenface.storage.atomic import atomic_path, write_json

if TYPE_CHECKING:
    import torch

#: Raised when a manifest written by an older version would be misread.
MANIFEST_VERSION = 1


def manifest_path(model_path: str | os.PathLike) -> Path:
    """Where the manifest of a model lies: the same name with the suffix ``.json``."""
    return Path(model_path).with_suffix(".json")


def save_model(
    path: str | os.PathLike, state: Mapping[str, torch.Tensor], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """Write weights and manifest, each atomically, the manifest first; returns the manifest as written.

    ``manifest["network"]`` must hold ``name`` and ``settings`` as ``networks.build`` takes them. The
    hash of the weights is added, so that a manifest beside other weights is noticed on loading.
    """
    from safetensors.torch import save

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    record = {"manifest_version": MANIFEST_VERSION, **manifest, "weights_sha256": hashlib.sha256(data).hexdigest()}
    write_json(manifest_path(path), record)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return record


def read_manifest(path: str | os.PathLike) -> dict[str, Any]:
    """The manifest of the model at ``path``; raises UserError when it is missing or unreadable."""
    beside = manifest_path(path)
    try:
        manifest = json.loads(beside.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{beside}: the model's manifest cannot be read ({error.strerror}); train it again") from error
    except ValueError as error:
        raise UserError(f"{beside}: not a JSON file ({error}); delete it and train again") from error
    if not isinstance(manifest, dict) or manifest.get("manifest_version") != MANIFEST_VERSION:
        raise UserError(f"{beside}: not a model manifest of version {MANIFEST_VERSION}; train the model again")
    return manifest


def load_model(path: str | os.PathLike, device: str = "cpu") -> tuple[torch.nn.Module, dict[str, Any]]:
    """Network in evaluation mode and manifest of a model written by :func:`save_model`.

    Raises UserError naming the file when weights or manifest are missing, belong to different
    trainings, or do not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    manifest = read_manifest(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the model cannot be read ({error.strerror}); train it again") from error
    if hashlib.sha256(data).hexdigest() != manifest.get("weights_sha256"):
        raise UserError(f"{path}: weights and {manifest_path(path).name} do not belong together; train the model again")
    try:
        state = load(data)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error})") from error
    network = networks.build(manifest["network"]["name"], manifest["network"]["settings"])
    load_strictly(network, state, path)
    return network.to(device).eval(), manifest


def load_strictly(network: torch.nn.Module, state: Mapping[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Copy ``state`` into ``network``; raises UserError naming the first tensor that does not fit."""
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name not in state:
            raise UserError(f"{path}: tensor {name!r} is missing; this is not a checkpoint of that network")
        if tuple(state[name].shape) != tuple(tensor.shape):
            raise UserError(
                f"{path}: tensor {name!r} has shape {tuple(state[name].shape)}, the network needs {tuple(tensor.shape)}"
            )
    extra = [name for name in state if name not in expected]
    if extra:
        raise UserError(f"{path}: tensor {extra[0]!r} is unknown to that network; this is another network's checkpoint")
    network.load_state_dict(dict(state))


def read_published(path: str | os.PathLike) -> Any:
    """What a published PyTorch file holds, read by an unpickler that creates tensors and plain values only."""
    import torch

    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint; see `python -m evenface assets check`")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused, it holds more than tensors and plain values, or is no PyTorch file"
        ) from error
    except Exception as error:  # a damaged pickle fails in any way
        raise UserError(f"{path}: not a readable PyTorch checkpoint ({error})") from error


def load_network(name: str, path: str | os.PathLike, device: str = "cpu") -> torch.nn.Module:
    """A published network in evaluation mode, from the file its authors distribute.

    Known names: ``slim-cnn``, a dictionary with ``hyper_params`` and ``model_state_dict`` whose optimiser
    and scheduler states are ignored. Raises UserError for another name, an unsafe or unreadable
    file, and naming the first tensor that is missing, unknown or of another shape.
    """
    if name == "slim-cnn":
        return _load_slim_cnn(path).to(device).eval()
    raise UserError(f"no published network is called {name!r}; known: slim-cnn")


def _load_slim_cnn(path: str | os.PathLike) -> torch.nn.Module:
    content = read_published(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a dictionary, found {type(content).__name__}")
    for key in ("hyper_params", "model_state_dict"):
        if not isinstance(content.get(key), Mapping):
            raise UserError(
                f"{path}: key {key!r} is missing; a Slim-CNN checkpoint holds hyper_params and model_state_dict"
            )
    hyper = content["hyper_params"]
    try:
        settings = {
            "num_attributes": int(hyper["num_classes"]),
            "initial_conv": [int(v) for v in hyper["initial_conv"]],
            "filters": [int(v) for v in hyper["filter_count_values"]],
        }
        largest = max([settings["num_attributes"], *settings["initial_conv"], *settings["filters"]])
        if largest > 4096:  # a crafted file must not make us allocate without bound
            raise ValueError(f"{largest} is no plausible size")
        network = networks.build("slim_cnn", settings)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: hyper_params do not describe a Slim-CNN ({error!r})") from error
    load_strictly(network, content["model_state_dict"], path)
    return network
