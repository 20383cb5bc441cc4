"""Published networks, from the files that their authors distribute."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface import networks
from evenface.checkpoints.fitting import Build, fit, shapes, size_limit, skeleton, start_from
from evenface.checkpoints.keras_files import keras_weights
from evenface.checkpoints.layouts import LAYOUTS, Layout, siblings
from evenface.checkpoints.own import manifest_path, read_manifest, save_model
from evenface.checkpoints.reading import checked_size, is_hdf5, read_published
from evenface.checkpoints.stored import Malformed, StoredTensor
from evenface.checkpoints.stylegan3_files import NAME as STYLEGAN3
from evenface.checkpoints.stylegan3_files import file_metadata, load_stylegan3
from evenface.errors import UserError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("evenface")

#: Largest number in the hyper-parameters of a Slim-CNN file; a crafted file must not make us build without bound.
_MAX_HYPER = 4096


def load_network(
    name: str, path: str | os.PathLike, device: str = "cpu", *, max_bytes: int | None = None
) -> torch.nn.Module:
    """The published network ``name`` in evaluation mode, from the file its authors distribute.

    ``path`` is a file of torch.save (zip or older) or the same tensors as safetensors; for DeepFace also a
    Keras .h5 file, for ``stylegan3`` a network pickle. :data:`LAYOUTS` says which wrapping and prefixes each
    system has. ``max_bytes`` bounds the file, by default four times the network and what the system adds.
    Raises UserError for an unknown name, for an unsafe, damaged or oversized file, and for a tensor that is
    missing, unknown, not finite, or of another shape or type; the message names the first such tensor. The file's
    name or manifest must not say that it is another network with the same tensors (FairFace's 4 and 7 races).
    """
    network, _ = _load(name, path, max_bytes)
    return network.to(device).eval()


def load_initial(
    network: torch.nn.Module, path: str | os.PathLike, layout: str = "", free: Collection[str] = ()
) -> list[str]:
    """Give ``network`` the weights of a file: one of our models (safetensors), or a published file of ``layout``.

    ``layout`` is a name in :data:`LAYOUTS`; if it is empty, the file is a dictionary of the network's tensors. The
    tensors named in ``free`` may be missing or have another shape. They then keep their values, and their names are
    returned. Raises UserError naming the file and the first tensor that does not fit.
    """
    known = LAYOUTS.get(layout, Layout())
    try:
        stored = known.named(known.tensors(read_published(path)), network.state_dict())
    except Malformed as error:
        raise UserError(f"{path}: the training cannot start from it: {error}") from error
    return start_from(network, stored, path, free)


def convert_to_safetensors(name: str, path: str | os.PathLike, out: str | os.PathLike) -> dict[str, Any]:
    """Write the published network's tensors as safetensors, and a manifest; returns the manifest.

    Optimiser state and ignored layers are left out. Both ``load_network(name, out)`` and
    ``load_model(out)`` read the result. Raises UserError as :func:`load_network` does.
    """
    network, described = _load(name, path, None)
    metadata = file_metadata(described["settings"]) if name == STYLEGAN3 else None
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    source = {"file": Path(path).name, "sha256": digest}
    return save_model(out, network.state_dict(), {"network": described, "published": name, "source": source}, metadata)


def _load(name: str, path: str | os.PathLike, max_bytes: int | None) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network on the CPU, and name and settings for ``networks.build``."""
    if name == STYLEGAN3:
        network, settings = load_stylegan3(path, max_bytes)
        return network, {"name": name, "settings": settings}
    layout = LAYOUTS.get(name)
    if layout is None or name not in networks.published():
        known = ", ".join([*(known for known in LAYOUTS if known in networks.published()), STYLEGAN3])
        raise UserError(f"no published network is called {name!r}; known: {known}")
    described: dict[str, Any] = {"name": name, "settings": {}}
    build: Build = lambda: networks.build(described["name"], described["settings"])  # noqa: E731
    limit = size_limit(build, layout.spare_bytes) if max_bytes is None else max_bytes
    checked_size(path, limit)
    _check_meaning(name, layout, Path(path))
    try:
        if is_hdf5(path):
            return _from_keras(name, layout, build, path), described
        content = read_published(path, limit)
        tensors = layout.tensors(content)
        if name == "slim-cnn":
            described.update(_slim_cnn(content, path))
        stored = layout.named(tensors, shapes(build))
    except Malformed as error:
        raise UserError(f"{path}: not a checkpoint of {name}: {error}") from error
    return fit(build, stored, path, lambda found: _fitting(name, found)), described


def _check_meaning(name: str, layout: Layout, path: Path) -> None:
    """Tell the file from those of other networks with the same tensors, by its manifest or its name.

    Raises UserError if it is another network's. If neither says anything, a warning in the log does.
    """
    meant = None
    if path.suffix.lower() == ".safetensors" and manifest_path(path).is_file():
        with suppress(UserError):  # a JSON file of another program
            meant = read_manifest(path).get("published")
    if meant not in (None, name):
        raise UserError(f"{path}: its manifest says that it is {meant!r}, not {name!r}; name the file of {name!r}")
    if meant or not layout.foreign_names:
        return
    own = layout.own_names and re.search(layout.own_names, path.name, re.IGNORECASE)
    if not own and (foreign := re.search(layout.foreign_names, path.name, re.IGNORECASE)):
        raise UserError(
            f"{path}: {foreign[0]!r} in its name says that it is not {name!r}, but a network with the same tensors and "
            f"another meaning; name the file of {name!r}, or rename this one if its name is wrong"
        )
    if not own and layout.own_names:
        log.warning(
            "%s is read as %s: another published network has the same tensors, and the file's name does not tell which "
            "one it is; compare a few of its answers with faces that you know",
            path,
            name,
        )


def _from_keras(name: str, layout: Layout, build: Build, path: str | os.PathLike) -> torch.nn.Module:
    if not layout.keras:
        raise Malformed("it is a Keras file, and this network is published for PyTorch only")
    with keras_weights(Path(path), shapes(build)) as stored:
        return fit(build, stored, path)


def _fitting(name: str, found: Mapping[str, StoredTensor]) -> str:
    """A remedy that names the network of the same system that the tensors fit; empty if they fit none."""
    have = {key: tensor.shape for key, tensor in found.items()}
    for other in siblings(name):
        if other in networks.published() and shapes(lambda other=other: networks.build(other)) == have:
            return f"the file fits {other!r}; use that network"
    return ""


def _slim_cnn(content: Any, path: str | os.PathLike) -> dict[str, Any]:
    """Name and settings of the network a Slim-CNN file describes; converted files hold the published one."""
    if "model_state_dict" not in content:
        return {}
    hyper = content.get("hyper_params")
    if not isinstance(hyper, Mapping):
        raise UserError(f"{path}: key 'hyper_params' is missing; a Slim-CNN checkpoint has it beside model_state_dict")
    try:
        settings = {
            "num_attributes": _size(hyper["num_classes"]),
            "initial_conv": [_size(v) for v in hyper["initial_conv"]],
            "filters": [_size(v) for v in hyper["filter_count_values"]],
        }
        skeleton(lambda: networks.build("slim_cnn", settings))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: hyper_params do not describe a Slim-CNN ({error!r})") from error
    return {"name": "slim_cnn", "settings": settings}


def _size(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= _MAX_HYPER:
        raise ValueError(f"{value!r} is not a plausible size")
    return value
