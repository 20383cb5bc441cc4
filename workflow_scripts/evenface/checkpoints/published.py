"""Published networks, from the files that their authors distribute."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface import networks
from evenface.checkpoints.fitting import Build, fit, shapes, size_limit, skeleton, start_from
from evenface.checkpoints.keras_files import keras_weights
from evenface.checkpoints.known_answers import KNOWN
from evenface.checkpoints.layouts import INITIAL, LAYOUTS, Layout, siblings
from evenface.checkpoints.origin import (
    BY_ANSWER,
    BY_HASH,
    UNVERIFIED,
    Origin,
    by_hash,
    published_files,
    record,
)
from evenface.checkpoints.own import manifest_path, read_manifest, save_model
from evenface.checkpoints.reading import checked_size, is_hdf5, read_published
from evenface.checkpoints.stored import Malformed, StoredTensor
from evenface.checkpoints.stylegan3_files import NAME as STYLEGAN3
from evenface.checkpoints.stylegan3_files import file_metadata, load_stylegan3
from evenface.errors import UserError
from evenface.storage.hashes import sha256_of

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
    missing, unknown, not finite, or of another shape or type; the message names the first such tensor. The file's hash,
    manifest, name, and answers for published sample pictures must not say that it is another network with the same
    tensors (FairFace's 4 and 7 races). What they say is recorded, see :mod:`evenface.checkpoints.origin`.
    """
    network, _ = _load(name, path, max_bytes)
    return network.to(device).eval()


def load_initial(
    network: torch.nn.Module, path: str | os.PathLike, name: str = "", free: Collection[str] = ()
) -> list[str]:
    """Give ``network`` the weights of a file: one of our models (safetensors), or a published file.

    ``name`` is the network's; a published file has its layout in ``layouts.INITIAL``, or is a dictionary of the network's
    tensors if there is none. The tensors named in ``free`` may be missing or have another shape. They then keep their values, and their names are
    returned. Raises UserError naming the file and the first tensor that does not fit.
    """
    known = INITIAL.get(name, Layout())
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
    source = {"file": Path(path).name, "sha256": sha256_of(path)}
    return save_model(out, network.state_dict(), {"network": described, "published": name, "source": source}, metadata)


def _load(name: str, path: str | os.PathLike, max_bytes: int | None) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network on the CPU, and name and settings for ``networks.build``."""
    if name == STYLEGAN3:
        network, settings = load_stylegan3(path, max_bytes)
        record(Origin(name, str(path), sha256_of(path), UNVERIFIED, "no hash of it is published"))
        return network, {"name": name, "settings": settings}
    layout = LAYOUTS.get(name)
    if layout is None or name not in networks.published():
        known = ", ".join([*(known for known in LAYOUTS if known in networks.published()), STYLEGAN3])
        raise UserError(f"no published network is called {name!r}; known: {known}")
    described: dict[str, Any] = {"name": name, "settings": {}}
    build: Build = lambda: networks.build(described["name"], described["settings"])  # noqa: E731
    limit = size_limit(build, layout.spare_bytes) if max_bytes is None else max_bytes
    checked_size(path, limit)
    origin = _judged(name, layout, Path(path))
    try:
        if is_hdf5(path):
            return _noted(name, _from_keras(name, layout, build, path), origin), described
        content = read_published(path, limit)
        tensors = layout.tensors(content)
        if name == "slim-cnn":
            described.update(_slim_cnn(content, path))
        stored = layout.named(tensors, shapes(build))
    except Malformed as error:
        raise UserError(f"{path}: not a checkpoint of {name}: {error}") from error
    return _noted(name, fit(build, stored, path, lambda found: _fitting(name, found)), origin), described


def _noted(name: str, network: torch.nn.Module, origin: Origin) -> torch.nn.Module:
    """The network, after the verdict on its file is recorded and, if it is unverified, logged."""
    origin = _proved(name, network.eval(), origin)
    record(origin)
    if origin.state == UNVERIFIED:
        log.warning("%s", origin)
    return network


def _judged(name: str, layout: Layout, path: Path) -> Origin:
    """The verdict on a file by its hash, its manifest and its name, before it is read.

    Raises UserError if one of them says that it is another network's.
    """
    digest = sha256_of(path)
    if file := by_hash(name, digest, path):
        return Origin(name, str(path), digest, BY_HASH, f"it is the published file {file.asset}")
    manifest: dict[str, Any] = {}
    if path.suffix.lower() == ".safetensors" and manifest_path(path).is_file():
        with suppress(UserError):  # a JSON file of another program
            manifest = read_manifest(path)
    if manifest.get("published") not in (None, name):
        raise UserError(
            f"{path}: its manifest says that it is {manifest['published']!r}, not {name!r}; name the file of {name!r}"
        )
    hashed = any(f.network == name and f.sha256 and Path(f.name).suffix == path.suffix for f in published_files())
    why = "its SHA-256 is not that of the published file" if hashed else "no hash of it is published"
    if manifest.get("published") and manifest.get("weights_sha256") == digest:
        source = manifest.get("source", {})
        if file := by_hash(name, str(source.get("sha256")), path):
            return Origin(name, str(path), digest, BY_HASH, f"it was converted from the published file {file.asset}")
        why = f"it was converted from {source.get('file')}, and no hash of that is published"
    else:  # the name of a converted file says nothing that its manifest has not said
        told = _own_name(name, layout, path)
        why += ", and only its name says what it is" if told else ", and its name does not say what it is"
    return Origin(name, str(path), digest, UNVERIFIED, f"{why}; {layout.kin}")


def _own_name(name: str, layout: Layout, path: Path) -> bool:
    """Whether a file's name says that it is of this network; UserError if it says that it is of another one."""
    file, twin = path.name, {"RGB": "bgr", "BGR": "rgb"}[layout.channels]
    if re.search(rf"(?<![a-z]){twin}(?![a-z])", file, re.IGNORECASE):
        raise UserError(
            f"{path}: {twin!r} in its name says that it was trained with another order of the colours than {name!r}, which "
            f"takes {layout.channels}; name the file of {name!r}, or rename this one if its name is wrong"
        )
    if file in {published.name for published in published_files() if published.network == name}:
        return True
    if layout.own_names and re.search(layout.own_names, file, re.IGNORECASE):
        return True
    if layout.foreign_names and (foreign := re.search(layout.foreign_names, file, re.IGNORECASE)):
        raise UserError(
            f"{path}: {foreign[0]!r} in its name says that it is not {name!r}, but a network with the same tensors and "
            f"another meaning; name the file of {name!r}, or rename this one if its name is wrong"
        )
    return False


def _proved(name: str, network: torch.nn.Module, origin: Origin) -> Origin:
    """The verdict after the network answered the published sample pictures, if they are here.

    Raises UserError if it gives the answers of another network with the same tensors.
    """
    if origin.state != UNVERIFIED:
        return origin
    for other, known in KNOWN.items():
        if other.partition("-")[0] != name.partition("-")[0] or known.missing():
            continue
        mine = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        if shapes(lambda other=other: networks.build(other)) != mine:
            continue
        same = known.agrees(other, network)
        if same and other != name:
            raise UserError(f"{origin.file}: its answers for {known.folder} are those of {other!r}, not of {name!r}")
        if same:
            why = f"it gives the published answers for the pictures in {known.folder}"
            return replace(origin, state=BY_ANSWER, why=why)
        if other == name:
            said = f"its answers for the pictures in {known.folder} are not those of the published file"
            origin = replace(origin, why=f"{said}; {origin.why}")
    return origin


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
