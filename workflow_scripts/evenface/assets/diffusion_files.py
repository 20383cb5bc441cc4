"""Inspects diffusion models on disk: names, small JSON files and safetensors headers, but never the weights.

A model is either a folder that diffusers wrote (``model_index.json`` and a folder per component), or a single
file with a whole model of Stable Diffusion's kind. Models that are visibly unusable are refused here, while the
workflow is planned.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from evenface.errors import UserError
from evenface.names import inside
from evenface.storage.foreign import foreign
from evenface.storage.safetensors import checked_header, files_of_network

#: CLIP's merges; the tokenizer of single files without a folder of configurations is made from them.
CLIP_MERGES = "models/clip/bpe_simple_vocab_16e6.txt.gz"
#: Endings of single files. The first are safetensors; the others are pickles, which only evenface's own reader opens.
SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
#: Components that hold no weights.
WEIGHTLESS = re.compile(r"scheduler|tokenizer(_\d)?|feature_extractor|(image_)?processor")
OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")
#: Names of files of weights, as diffusers and transformers write them.
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<variant>(?!safetensors|bin)[\w-]+?))?"
    r"(?:-\d{5}-of-\d{5})?\.(?P<kind>safetensors|bin)"
)
_MAX_JSON = 16 << 20
#: First bytes of files of torch.save.
_PICKLES = (b"PK\x03\x04", b"\x80")
_UNET_IN = "model.diffusion_model.input_blocks.0.0.weight"
_VAE_IN = "decoder.conv_in.weight"
#: What stands before a VAE's tensors in a whole model.
VAE_PREFIXES = ("first_stage_model.", "vae.")
_CROSS = "model.diffusion_model.input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"


_T = TypeVar("_T")
#: Tensor name -> shape.
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Facts:
    """Facts about a model.

    ``pipeline`` is the class that its index names (None for single files). ``family`` is the architecture of a single
    file ("sd15", "sdxl", or None for another one). ``inputs`` are the channels that the denoiser takes, and ``latents``
    those that its VAE gives (None if unknown). ``tokens`` is the largest limit of its tokenizers, start and end marks
    included (None if unknown without loading them). ``files`` are all its files. ``has_vae``: whether a single file
    has a VAE.
    """

    pipeline: str | None = None
    family: str | None = None
    inputs: int | None = None
    latents: int | None = None
    tokens: int | None = None
    files: dict[str, str] = field(default_factory=dict)
    has_vae: bool = True


def is_single_file(path: str | os.PathLike) -> bool:
    """Whether a path names a single file by its ending."""
    return Path(path).suffix.lower() in SINGLE_FILES


def files_of(path: str | os.PathLike, key: str) -> dict[str, str]:
    """Key -> path of everything at ``path``: one entry per file of a folder, else one entry (also for a missing path)."""
    path = Path(path)
    if not path.is_dir():
        return {key: str(path)}
    names = sorted(p for p in path.rglob("*") if p.is_file() and _is_read(p, path))
    return {f"{key}/{p.relative_to(path).as_posix()}": str(p) for p in names}


def _is_read(path: Path, folder: Path) -> bool:
    within = path.relative_to(folder).parts
    return not any(part.startswith(".") for part in within) and path.suffix.lower() in (
        ".json", ".txt", ".safetensors", ".bin", ".model", ".jinja",
    )  # fmt: skip


def look_at_model(path: str | os.PathLike, key: str, *, variant: str | None = None, vae: str | None = None,
                  config: str | None = None, shapes: Shapes | None = None, vae_shapes: Shapes | None = None) -> Facts:  # fmt: skip
    """Facts of the model at ``path``; ``key`` is the configuration block that names it, for messages.

    Raises UserError for a missing or damaged part, for weights that do not exist in the ``variant``, for a VAE of
    another latent size, for a single file without VAE if ``vae`` is not given, and for one of an unknown family if
    ``config`` is not given. Only the job reads pickles; it gives the ``shapes`` of their tensors.
    """
    path = Path(path)
    if path.is_dir():
        facts = _folder(path, key, variant, vae)
    elif path.is_file():
        facts = _single(path, key, vae, config, shapes)
    else:
        raise UserError(f"{key}.model: {path} is neither a folder nor a file; see `python -m evenface assets check`")
    latents = look_at_vae(vae, key, vae_shapes) if vae else facts.latents
    check_latents(latents, facts.inputs, f"{key}.vae: {vae}" if vae else f"{path}/vae", path)
    return Facts(facts.pipeline, facts.family, facts.inputs, latents, facts.tokens, facts.files, facts.has_vae)


def check_latents(latents: int | None, inputs: int | None, whose: str, model: str | os.PathLike) -> None:
    """UserError if the VAE ``whose`` makes other latents than the denoiser of ``model`` takes; None means unknown."""
    if latents and inputs and inputs not in (latents, 2 * latents, 2 * latents + 1):
        raise UserError(
            f"{whose} makes latents of {latents} channels, but the denoiser of {model} takes {inputs}; "
            "use the VAE the model was trained with"
        )


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """A small JSON object; UserError when it is missing, damaged or large."""
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_JSON:
            raise UserError(f"{path}: too large for a configuration; get the model again")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: missing or not readable ({error.strerror}); get the model's folder again") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({str(error)[:80]}); get the model's folder again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object; get the model's folder again")
    return content


def read_index(folder: str | os.PathLike) -> dict[str, Any]:
    """A folder's ``model_index.json``; UserError as of :func:`read_json`, and if a name in it leads out of the folder."""
    path = Path(folder) / "model_index.json"
    index = read_json(path)
    for name in index:
        inside(folder, name, path)
    return index


def components_of(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Name -> (library, class) of the components a ``model_index.json`` names and uses."""
    return {
        name: (value[0], value[1])
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0] and value[1]
    }


def _folder(folder: Path, key: str, variant: str | None, vae: str | None) -> Facts:
    index_path = folder / "model_index.json"
    if not index_path.is_file():
        hint = "its parent is the model" if (folder.parent / "model_index.json").is_file() else "not a diffusers model"
        raise UserError(f"{key}.model: {folder} has no model_index.json ({hint}); name the folder that has one")
    index = read_index(folder)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str):
        raise UserError(
            f"{index_path}: does not name a class of diffusers; models that bring their own code are not run"
        )
    variants: dict[str, set[str | None]] = {}
    for name, (library, _) in components_of(index).items():
        if name in OPTIONAL and not (folder / name).is_dir():
            continue
        if not (folder / name).is_dir():
            if name == "vae" and vae:
                continue
            remedy = "or name one in the key vae" if name == "vae" else "or take it from a copy that is whole"
            raise UserError(f"{key}.model: {folder} lacks the component {name!r}; get the folder again, {remedy}")
        if WEIGHTLESS.fullmatch(name):
            continue
        if library not in ("diffusers", "transformers") and name not in OPTIONAL:
            raise UserError(f"{index_path}: {name!r} is of the library {library!r}; only diffusers and transformers are "
                            "used; code that a model brings is not run")  # fmt: skip
        kinds = weights_of(folder / name)
        if not kinds and not (name == "vae" and vae):
            raise UserError(f"{key}.model: {folder / name} has no weights (.safetensors or .bin); get the folder again")
        variants[name] = {v for v, _ in kinds}
    known = sorted({v for found in variants.values() for v in found if v})
    if variant and variant not in known:
        offered = ", ".join(known) if known else "none"
        raise UserError(f"{key}.variant is {variant!r}, which {folder} does not have; it has {offered}, "
                        "and null for the files without one")  # fmt: skip
    if not variant:
        only = [name for name, found in variants.items() if found and None not in found]
        if only:
            raise UserError(f"{key}.variant is null, but {folder / only[0]} has the variant {' and '.join(known)} only; "
                            f"set {key}.variant to it")  # fmt: skip
    for name, found in variants.items():
        files_of_network(folder / name, variant if variant in found else None)
    inputs = latents = None
    if (folder / "unet/config.json").is_file():
        inputs = _count(read_json(folder / "unet/config.json").get("in_channels"))
    if not vae and (folder / "vae/config.json").is_file():
        latents = _count(read_json(folder / "vae/config.json").get("latent_channels"))
    return Facts(pipeline, None, inputs, latents if inputs else None, _token_limit(folder), files_of(folder, "model"))


def _count(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _token_limit(folder: Path) -> int | None:
    """The largest limit of the folder's tokenizers, if all are CLIP's; None if any is of another kind, or unknown."""
    used = components_of(read_index(folder))
    limits = []
    for name in sorted(used):
        if not name.startswith("tokenizer"):
            continue
        if not (folder / name / "tokenizer_config.json").is_file():
            return None
        content = read_json(folder / name / "tokenizer_config.json")
        limit = _count(content.get("model_max_length"))
        if not str(content.get("tokenizer_class", "")).startswith("CLIP") or not limit or limit >= 10_000:
            return None
        limits.append(limit)
    return max(limits, default=None)


def weights_of(folder: Path) -> set[tuple[str | None, str]]:
    """(variant, kind) of the weights in a component's folder."""
    found = (WEIGHTS.fullmatch(path.name) for path in folder.iterdir())
    return {(match["variant"], match["kind"]) for match in found if match}


def _single(path: Path, key: str, vae: str | None, config: str | None, shapes: Shapes | None) -> Facts:
    files = {"model": str(path)}
    if config:
        files |= files_of(config, "config")
        _check_config_folder(Path(config), key)
    else:
        files["clip"] = CLIP_MERGES
    tokens = _token_limit(Path(config)) if config else 77
    shapes = shapes or header_shapes(path)
    if shapes is None:
        return Facts(None, None, None, None, tokens, files)
    shapes = inner_names(shapes)
    if _UNET_IN not in shapes:
        raise UserError(f"{key}.model: {path} has no tensor {_UNET_IN!r}: it is not a complete Stable Diffusion "
                        "model; name a complete one, or a diffusers folder")  # fmt: skip
    has_vae = any(name.startswith(VAE_PREFIXES) for name in shapes)
    if not has_vae and not vae:
        raise UserError(f"{key}.model: {path} has no VAE; name one in {key}.vae (for Stable Diffusion 1.5 models "
                        "vae-ft-mse-840000-ema-pruned.safetensors)")  # fmt: skip
    family = family_of(shapes)
    if family is None and not config:
        raise UserError(f"{key}.model: {path} is neither of the family of Stable Diffusion 1.5 nor of SDXL; set "
                        f"{key}.config to a folder with its configuration files, or use a diffusers folder")  # fmt: skip
    latents = _latents(shapes) if not vae else None
    return Facts(None, family, shapes[_UNET_IN][1], latents, tokens, files, has_vae)


def inner_names(tensors: Mapping[str, _T]) -> dict[str, _T]:
    """The tensors of a single file, without what a trainer put before every name (``module.``)."""
    outer = next((name.removesuffix(_UNET_IN) for name in tensors if name.endswith(f".{_UNET_IN}")), "")
    return {name.removeprefix(outer): tensor for name, tensor in tensors.items()}


def family_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """ "sd15" or "sdxl" by the published shapes of the denoiser, None for any other."""
    first = shapes.get(_UNET_IN, ())
    if first[:1] != (320,):
        return None
    if shapes.get(_CROSS.format(1), ())[1:] == (768,):
        return "sd15"
    if _CROSS.format(1) not in shapes and shapes.get(_CROSS.format(4), ())[1:] == (2048,):
        return "sdxl"
    return None


def _check_config_folder(folder: Path, key: str) -> None:
    if not (folder / "model_index.json").is_file():
        raise UserError(f"{key}.config: {folder} has no model_index.json; name a folder with the configuration files "
                        "of the model's diffusers form")  # fmt: skip
    for name in components_of(read_index(folder)):
        if name not in OPTIONAL and not (folder / name).is_dir():
            raise UserError(f"{key}.config: {folder} lacks the folder {name!r} with its configuration")


def look_at_vae(path: str | os.PathLike, key: str, shapes: Shapes | None = None) -> int | None:
    """Channels of the latents of a VAE: a diffusers folder or a file; None for a pickle, which is not opened here."""
    path = Path(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            hint = "; its subfolder vae is one" if (path / "vae/config.json").is_file() else ""
            raise UserError(f"{key}.vae: {path} has no config.json; it is not a VAE in diffusers' form{hint}")
        if not weights_of(path):
            raise UserError(f"{key}.vae: {path} has no weights (.safetensors or .bin); get the folder again")
        files_of_network(path, vae_variant(path))
        return _count(read_json(path / "config.json").get("latent_channels"))
    if not path.is_file():
        raise UserError(f"{key}.vae: {path} is neither a folder nor a file; see `python -m evenface assets check`")
    shapes = shapes or header_shapes(path)
    if shapes is None:
        return None
    latents = _latents(shapes)
    if latents is None:
        raise UserError(f"{key}.vae: {path} has no tensor 'decoder.conv_in.weight'; it is not a VAE")
    return latents


def vae_variant(folder: Path) -> str | None:
    """The variant of a VAE's folder that is read: none if it has the plain weights, else the first."""
    variants = {variant for variant, _ in weights_of(folder)}
    return None if None in variants else min(v for v in variants if v)


def vae_prefix(names: Iterable[str]) -> str | None:
    """What stands before the names of a VAE's tensors in a file; None if it has no VAE."""
    found = {name.removesuffix(_VAE_IN) for name in names if name == _VAE_IN or name.endswith(f".{_VAE_IN}")}
    return next((prefix for prefix in (*VAE_PREFIXES, "", *sorted(found)) if prefix in found), None)


def _latents(shapes: Shapes) -> int | None:
    prefix = vae_prefix(shapes)
    return None if prefix is None else shapes[prefix + _VAE_IN][1]


def header_shapes(path: str | os.PathLike) -> dict[str, tuple[int, ...]] | None:
    """Tensor name -> shape of a safetensors file; None for files of another kind. UserError if it is damaged."""
    path = Path(path)
    status = path.stat()
    return _header_shapes(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _header_shapes(path: str, size: int, _mtime: int) -> dict[str, tuple[int, ...]] | None:
    with open(path, "rb") as file:
        start = file.read(64)
    if start[8:9] != b"{":
        if not start.startswith((b"PK", *_PICKLES)) and (what := foreign(start)):
            raise UserError(f"{path}: this is {what}")
        if start.startswith(b"PK") and not zipfile.is_zipfile(path):
            raise UserError(f"{path}: its zip directory is damaged or missing; it is cut short, get it again")
        if path.lower().endswith(".safetensors") and not start.startswith(_PICKLES):
            raise UserError(f"{path}: not a safetensors file; the download went wrong, get it again")
        return None
    return {name: entry.shape for name, entry in checked_header(Path(path)).items()}
