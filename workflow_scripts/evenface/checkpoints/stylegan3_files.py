"""Loads StyleGAN3's generator from a network pickle, or from the safetensors file it was converted to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface import networks
from evenface.checkpoints.fitting import fit, skeleton
from evenface.checkpoints.network_pickles import read_network_pickle
from evenface.checkpoints.reading import checked_size, read_published
from evenface.checkpoints.safetensors_files import read_metadata
from evenface.checkpoints.stored import Malformed
from evenface.errors import UserError, raise_if_machine

if TYPE_CHECKING:
    import torch

NAME = "stylegan3"
#: Key of the converted file's metadata: the constructor's arguments as JSON.
METADATA_KEY = "evenface.stylegan3"
#: Size limit in bytes. The largest published file has about 360 MB; snapshots of a training have the same parts.
MAX_BYTES = 2_000_000_000
#: Largest difference between stored filters and those that the constructor's arguments describe (float32 rounding).
_FILTER_TOLERANCE = 1e-6
#: Arguments that concern training or the original's arithmetic: not needed, and not repeated in converted files.
_UNUSED = ("magnitude_ema_beta", "num_fp16_res")
_PLAIN = (int, float, bool, str, type(None))


def load_stylegan3(path: str | os.PathLike, max_bytes: int | None) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network on the CPU and its constructor's arguments.

    Raises UserError naming the file when it is of another kind, unsafe or damaged; when the network cannot have these
    arguments; and when tensors or stored filters do not fit the arguments.
    """
    path = Path(path)
    size = checked_size(path, MAX_BYTES if max_bytes is None else max_bytes)
    with open(path, "rb") as file:
        head = file.read(16)
    try:
        if head.startswith(b"\x80"):
            stored, arguments = read_network_pickle(path)
        else:
            stored, arguments = read_published(path, size), _converted_arguments(path, size, head)
        settings = _settings(arguments)
        build = lambda: networks.build(NAME, settings)  # noqa: E731
    except Malformed as error:
        raise UserError(f"{path}: not a StyleGAN3 network: {error}") from error
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: the checkpoint cannot be read ({error.strerror})") from error
    network = fit(build, stored, path)
    designed = build().state_dict()
    for name, tensor in network.state_dict().items():
        if name.endswith("_filter") and (tensor - designed[name]).abs().max() > _FILTER_TOLERANCE:
            raise UserError(
                f"{path}: tensor {name!r} is not the filter that the constructor's arguments describe; "
                "take the file as its authors publish it"
            )
    return network, settings


def file_metadata(settings: dict[str, Any]) -> dict[str, str]:
    """The metadata of a converted file."""
    return {METADATA_KEY: json.dumps(settings, sort_keys=True)}


def _converted_arguments(path: Path, size: int, head: bytes) -> dict[str, Any]:
    text = read_metadata(path, size).get(METADATA_KEY) if head[8:9] == b"{" else None
    if text is None:
        raise Malformed(
            "it holds tensors without the constructor's arguments; give the published .pkl, "
            "or what `python -m evenface assets convert stylegan3` makes of it"
        )
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed("the constructor's arguments in its metadata are not a JSON text") from error
    if not isinstance(arguments, dict):
        raise Malformed("the constructor's arguments in its metadata are not a JSON object")
    return arguments


def _settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments our network needs, checked by building it without memory."""
    settings = {name: value for name, value in arguments.items() if name not in _UNUSED}
    for name, value in settings.items():
        plain = value.values() if isinstance(value, dict) else [value]
        if type(name) is not str or not all(isinstance(part, _PLAIN) for part in plain):
            raise Malformed(f"the constructor's argument {ascii(name)[:80]} is not a plain value")
    try:
        skeleton(lambda: networks.build(NAME, settings))
    except (TypeError, ValueError) as error:
        reason = str(error).replace("StyleGAN3.__init__() ", "")
        raise Malformed(
            f"its constructor's arguments do not describe a network that evenface knows ({reason[:200]})"
        ) from error
    return settings
