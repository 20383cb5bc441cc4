"""Networks that diffusers and transformers load from a folder: every tensor of network and files is accounted for.

Both libraries fill what a file lacks with random numbers and ignore what they do not know; they report it at best.
Names that they know to be harmless stay out of their reports: buffers that are computed (``position_ids``,
``rotary_emb.inv_freq``), tensors that are another one (``lm_head`` of tied embeddings), halves of a model that the
network does not have (the decoder of a T5 encoder), and earlier names that they convert (a VAE's ``query``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface.checkpoints.fitting import check_values
from evenface.checkpoints.reading import read_published
from evenface.checkpoints.stored import StoredTensor
from evenface.errors import UserError

if TYPE_CHECKING:
    import torch

#: Size limit of one file of weights in bytes; the largest published single files of whole models have some 24 GB.
MAX_BYTES = 64 << 30
_REMEDY = "get the folder again as its authors publish it"


def load_from_folder(
    cls: type, folder: Path, files: list[Path], component: str = "", *, named: Path | None = None, wider: str = "",
    **options: Any,
) -> torch.nn.Module:  # fmt: skip
    """The network of ``cls.from_pretrained(folder, **options)``, in evaluation mode.

    ``files`` are the safetensors files it reads; ``component`` and ``named``, the folder as the user knows it, are for
    messages, and ``wider`` says how to get a type for larger numbers. Raises UserError naming file and tensor if a
    tensor is missing, unknown, misshapen, of integers where the network has floats (or the reverse), or not finite.
    What the library raises passes.
    """
    stored = _stored(files)
    of_component = f": component {component!r}" if component else ""

    def place(file: Path | None) -> str:
        only = file or (files[0] if len(files) == 1 else None)
        return f"{(named or folder) / only.name if only else named or folder}{of_component}"

    try:
        network, report = cls.from_pretrained(folder, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    except (RuntimeError, ValueError) as error:
        for name, (file, like) in stored.items():
            if f'"{name}"' in str(error) and "float" not in like.dtype:
                problem = f"tensor {name!r} is stored as {like.dtype}, the network has floats"
                raise UserError(f"{place(file)}: {problem}; {_REMEDY}") from error
        raise
    problem, file = _misfit(network, stored, report)
    if problem:
        raise UserError(f"{place(file)}: {problem}; {_REMEDY}")
    for name, tensor in network.state_dict().items():
        file, like = _find(name, stored)
        check_values(name, tensor, place(file), lambda like=like: like and like.read(), wider)
    return network.eval()


def _stored(files: list[Path]) -> dict[str, tuple[Path, StoredTensor]]:
    """Name -> file and tensor of all ``files``. Only their headers are read."""
    found: dict[str, tuple[Path, StoredTensor]] = {}
    for file in files:
        for name, tensor in read_published(file, MAX_BYTES).items():
            if name in found:
                raise UserError(f"{file}: tensor {name!r} is in {found[name][0].name} too; {_REMEDY}")
            found[name] = file, tensor
    return found


def _find(name: str, stored: Mapping[str, tuple[Path, StoredTensor]]) -> tuple[Path | None, StoredTensor | None]:
    """File and stored tensor of a network's tensor; transformers may have taken an outer name away or added one."""
    if name in stored:
        return stored[name]
    near = [other for other in stored if other.endswith(f".{name}") or name.endswith(f".{other}")]
    return stored[near[0]] if len(near) == 1 else (None, None)


def _misfit(
    network: torch.nn.Module, stored: Mapping[str, tuple[Path, StoredTensor]], report: Mapping[str, Any]
) -> tuple[str, Path | None]:
    """The first mistake, empty if there is none, and the file that has it if one does."""
    missing, unknown = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    if missing:
        instead = f"; it has {unknown[0]!r}, which the network does not know" if unknown else ""
        return f"tensor {missing[0]!r} is missing{_more(missing)}{instead}", None
    for name, *shapes in sorted(report["mismatched_keys"]):
        have, needs = (tuple(shape) for shape in shapes)
        return f"tensor {name!r} has shape {have}, the network of config.json needs {needs}", _find(name, stored)[0]
    if unknown:
        problem = f"tensor {unknown[0]!r} is unknown to the network of config.json{_more(unknown)}"
        return problem, _find(unknown[0], stored)[0]
    if errors := report.get("error_msgs"):
        return " ".join(str(errors).split())[:300], None
    for name, tensor in network.state_dict().items():
        file, like = _find(name, stored)
        if like is not None and ("float" in like.dtype) != tensor.dtype.is_floating_point:
            return f"tensor {name!r} is stored as {like.dtype}, the network has {tensor.dtype}", file
    return "", None


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
