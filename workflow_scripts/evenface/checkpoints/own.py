"""Our own models: a safetensors file, and a JSON manifest of the same stem."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface import networks
from evenface.checkpoints.fitting import fit, size_limit
from evenface.checkpoints.reading import read_published
from evenface.errors import UserError, raise_if_machine
from evenface.storage.atomic import atomic_path, write_json

if TYPE_CHECKING:
    import torch

#: Version of the manifest; raise it when a manifest of an older version would be misread.
MANIFEST_VERSION = 1
_MAX_MANIFEST_BYTES = 4 << 20


def manifest_path(model_path: str | os.PathLike) -> Path:
    """Path of a model's manifest: the same name with the suffix ``.json``."""
    return Path(model_path).with_suffix(".json")


def save_model(
    path: str | os.PathLike,
    state: Mapping[str, torch.Tensor],
    manifest: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write weights and manifest, each atomically, the manifest first; returns the manifest as written.

    ``manifest["network"]`` must hold ``name``, ``settings`` and, for a trainable classifier, ``outputs``, as
    ``networks.build`` takes them. The manifest also gets the hash of the weights, so that loading notices a manifest
    of other weights. ``metadata`` are texts for the header of the weights' own file.
    """
    from safetensors.torch import save

    data = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, dict(metadata or {}) or None
    )
    record = {"manifest_version": MANIFEST_VERSION, **manifest, "weights_sha256": hashlib.sha256(data).hexdigest()}
    write_json(manifest_path(path), record)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return record


def read_manifest(path: str | os.PathLike) -> dict[str, Any]:
    """The manifest of the model at ``path``; raises UserError when it is missing or unreadable."""
    beside = manifest_path(path)
    try:
        if beside.stat().st_size > _MAX_MANIFEST_BYTES:
            raise UserError(f"{beside}: too large for a model manifest; delete it and train again")
        manifest = json.loads(beside.read_text(encoding="utf-8"))
    except OSError as error:
        raise_if_machine(error, beside)
        raise UserError(f"{beside}: the model's manifest cannot be read ({error.strerror}); train it again") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{beside}: not a JSON file ({error}); delete it and train again") from error
    if not isinstance(manifest, dict) or manifest.get("manifest_version") != MANIFEST_VERSION:
        raise UserError(f"{beside}: not a model manifest of version {MANIFEST_VERSION}; train the model again")
    return manifest


def load_model(path: str | os.PathLike, device: str = "cpu") -> tuple[torch.nn.Module, dict[str, Any]]:
    """Network in evaluation mode and manifest of a model written by :func:`save_model`.

    Raises UserError naming the file when weights or manifest are missing, belong to different
    trainings, or do not fit the network.
    """
    manifest = read_manifest(path)
    described = manifest.get("network")
    try:
        name, settings, outputs = described["name"], described["settings"], described.get("outputs")
        build = lambda: networks.build(name, settings, outputs)  # noqa: E731
        limit = size_limit(build)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{manifest_path(path)}: does not describe a network ({error}); train the model again"
        ) from error
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: the model cannot be read ({error.strerror}); train it again") from error
    if found != manifest.get("weights_sha256"):
        raise UserError(f"{path}: weights and {manifest_path(path).name} do not belong together; train the model again")
    content = read_published(path, max_bytes=limit)
    return fit(build, content, path).to(device).eval(), manifest
