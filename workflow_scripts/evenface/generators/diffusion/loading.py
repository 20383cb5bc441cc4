"""Loads diffusion pipelines from local folders and single files. Nothing is downloaded, and nothing is unpickled."""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evenface.assets.diffusion_files import (
    WEIGHTS,
    Facts,
    check_latents,
    components_of,
    family_of,
    header_shapes,
    look_at_model,
    look_at_vae,
    read_index,
    weights_of,
)
from evenface.checkpoints.convert import rewrite_as_safetensors
from evenface.errors import UserError, raise_if_machine
from evenface.generators.diffusion.sd_configs import write_config_folder
from evenface.storage.atomic import write_json

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

log = logging.getLogger("evenface")

#: What a pipeline starts from: a text, an image and a text (with a strength), or an image and an instruction.
Task = Literal["text", "image", "instruction"]

#: Size limit of pickles in bytes; single files of whole models have up to 12 GB.
MAX_BYTES = 16 << 30
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DIFFUSERS_DISABLE_REMOTE_CODE")


def load_pipeline(
    settings: Mapping[str, Any], key: str, task: Task, dtype: torch.dtype
) -> tuple[DiffusionPipeline, Facts]:
    """The pipeline of ``settings`` (``model``, ``vae``, ``config``, ``variant``, ``safety_checker``) for ``task``.

    It lies on the CPU in ``dtype``. ``key`` is the configuration block, for messages. UserError for files that are
    missing or damaged, for parts that do not fit together, and for a model that cannot do ``task``.
    """
    for name in _OFFLINE:  # diffusers reads them at import; it does not obey local_files_only everywhere
        os.environ[name] = "1"
    if Path(settings["model"]).is_dir() or Path(settings["model"]).suffix.lower() == ".safetensors":
        look_at_model(settings["model"], key, **{k: settings[k] for k in ("variant", "vae", "config")})
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    # Its warnings are not needed: long texts are refused here, and slow loading is harmless.
    diffusers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory(prefix="evenface-") as scratch:
        folder = Path(scratch)
        # Pickles are rewritten as safetensors once, before anything reads them.
        converted = _without_pickles(settings["model"], folder / "model", settings["variant"])
        plain = {**settings, "model": converted, "named": settings["model"]}
        try:
            facts = look_at_model(converted, key, **{k: settings[k] for k in ("variant", "vae", "config")})
        except UserError as error:
            raise UserError(str(error).replace(converted, str(settings["model"]))) from None
        vae = _load_vae(settings, key, folder, dtype, facts)
        if Path(plain["model"]).is_dir():
            pipeline = _from_folder(plain, key, task, dtype, vae)
        else:
            pipeline = _from_single_file(plain, key, task, dtype, vae, facts, folder)
    _check_latents(pipeline, settings, key, task)
    pipeline.set_progress_bar_config(disable=True)
    for component in pipeline.components.values():
        if hasattr(component, "eval"):
            component.eval()
    return pipeline, facts


def _without_pickles(path: str | os.PathLike, target: Path, variant: str | None = None) -> str:
    """The model itself, or a copy below ``target`` (links, and safetensors in place of the ``variant``'s pickles)."""
    source = Path(path)
    if source.is_file():
        if source.suffix.lower() == ".safetensors":
            return str(source)
        rewrite_as_safetensors(source, target.with_suffix(".safetensors"), max_bytes=MAX_BYTES)
        return str(target.with_suffix(".safetensors"))
    index = read_index(source) if (source / "model_index.json").is_file() else {}
    wanted = {name for name in components_of(index) if (source / name).is_dir()}
    pickles = [p for name in sorted(wanted) for p in _pickles_of(source / name, variant)]
    # The first published folders name a class that newer transformers do not have.
    outdated = index.get("feature_extractor") == ["transformers", "CLIPFeatureExtractor"]
    gone = {
        name for name in components_of(index) if name not in wanted and name in ("safety_checker", "feature_extractor")
    }
    if not pickles and not outdated and not gone:
        return str(source)
    for file in source.rglob("*"):
        if file.is_file() and file not in pickles:
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(file.resolve())
    for file in pickles:
        name = file.relative_to(source)
        if "-of-" in file.name:
            raise UserError(f"{file}: pickled weights in several files are not read; get the folder as safetensors")
        stem = name.name.removesuffix(".bin").replace("pytorch_model", "model", 1)
        stem = stem.replace("diffusion_model", "diffusion_pytorch_model", 1)
        (target / name.parent).mkdir(parents=True, exist_ok=True)
        rewrite_as_safetensors(file, target / name.with_name(f"{stem}.safetensors"), max_bytes=MAX_BYTES)
    if outdated:
        index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index |= {name: [None, None] for name in gone}
    (target / "model_index.json").unlink()
    write_json(target / "model_index.json", index)
    return str(target)


def _pickles_of(folder: Path, variant: str | None) -> list[Path]:
    """The pickled weights of a component that would be read, because it has no safetensors."""
    kinds = weights_of(folder)
    wanted = variant if variant in {v for v, _ in kinds} else None
    if (wanted, "safetensors") in kinds:
        return []
    return [
        p for p in sorted(folder.glob("*.bin")) if (match := WEIGHTS.fullmatch(p.name)) and match["variant"] == wanted
    ]


@contextmanager
def _as_user_error(what: str, remedy: str) -> Iterator[None]:
    """Raise a library's error about files that it cannot use as a UserError of one sentence."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise_if_machine(error, what)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UserError(f"{what} cannot be loaded: {' '.join(lines)[:300]}; {remedy}") from error


def _from_folder(settings: Mapping[str, Any], key: str, task: Task, dtype: torch.dtype, vae: Any) -> DiffusionPipeline:
    import diffusers

    folder = settings["model"]
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": dtype}
    # Without the package accelerate, loading needs memory for two copies.
    options["low_cpu_mem_usage"] = find_spec("accelerate") is not None
    if settings["variant"]:
        options["variant"] = settings["variant"]
    if vae is not None:
        options["vae"] = vae
    index = read_index(folder)
    options |= {name: None for name, value in index.items() if value == [None, None] and name not in options}
    if "safety_checker" in index and (not settings["safety_checker"] or index["safety_checker"][0] is None):
        options |= {"safety_checker": None, "requires_safety_checker": False}
    remedy = "get the folder again, or one made by a diffusers version up to the installed one"
    with _as_user_error(f"{key}.model: {folder}", remedy):
        name = index["_class_name"]
        if not isinstance(getattr(diffusers, name, None), type):
            raise UserError(f"{key}.model: {folder} is of the class {name!r}, which the installed diffusers "
                            f"{diffusers.__version__} does not have")  # fmt: skip
        pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, **options)
    return _suited(pipeline, f"{key}.model: {settings['named']}", task)


def _suited(pipeline: DiffusionPipeline, what: str, task: Task) -> DiffusionPipeline:
    """The pipeline, or another one of the same components that accepts the arguments of ``task``."""
    import diffusers

    auto = {"text": diffusers.AutoPipelineForText2Image, "image": diffusers.AutoPipelineForImage2Image}
    if task in auto and ("strength" in _parameters(pipeline)) != (task == "image"):
        with suppress(ValueError):  # raised when the Auto classes do not have such a pipeline
            pipeline = auto[task].from_pipe(pipeline)
    name, parameters = type(pipeline).__name__, _parameters(pipeline)
    edits = "image" in parameters and "strength" not in parameters
    needs_image = "InstructPix2Pix" in name or "Edit" in name
    if "prompt" not in parameters or "generator" not in parameters:
        raise UserError(f"{what} is a {name}, which does not accept a prompt and a seed; name a text-to-image model")
    if task == "text" and (needs_image or "strength" in parameters):
        raise UserError(f"{what} is a {name}, which changes pictures and cannot draw from text alone; name a "
                        "text-to-image model, or use the generator instruct_pix2pix")  # fmt: skip
    if task == "image" and "strength" not in parameters:
        raise UserError(f"{what} is a {name}; diffusers has no image-to-image pipeline with a strength for it. "
                        "Remove the key initial, or use the generator instruct_pix2pix")  # fmt: skip
    if task == "instruction" and not edits:
        raise UserError(f"{what} is a {name}, which cannot change a picture by an instruction; name an editing model, or "
                        "use the generator diffusion with the key initial")  # fmt: skip
    return pipeline


def _parameters(pipeline: DiffusionPipeline) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(type(pipeline).__call__).parameters


def _from_single_file(
    settings: Mapping[str, Any], key: str, task: Task, dtype: torch.dtype, vae: Any, facts: Facts, folder: Path
) -> DiffusionPipeline:
    import diffusers

    path, config = settings["model"], settings["config"]
    if not config:
        shapes = header_shapes(path) or {}
        family = family_of(shapes)
        assert family and facts.inputs
        config = folder / "config"
        config.mkdir()
        write_config_folder(family, facts.inputs, settings["files"]["clip"], config)
    name = read_index(config).get("_class_name")
    cls = getattr(diffusers, str(name), None)
    if not hasattr(cls, "from_single_file"):
        raise UserError(f"{key}.config: {config} is of the class {name!r}, which cannot be loaded from a single file; use "
                        "a diffusers folder")  # fmt: skip
    options: dict[str, Any] = {"config": str(config), "local_files_only": True, "dtype": dtype}
    if vae is not None:
        options["vae"] = vae
    if "safety_checker" in cls._optional_components:
        options |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    with _as_user_error(
        f"{key}.model: {settings['named']}", "name the configuration of this very model in the key config"
    ):
        pipeline = cls.from_single_file(str(path), **options)
    return _suited(pipeline, f"{key}.model: {settings['named']}", task)


def _load_vae(settings: Mapping[str, Any], key: str, folder: Path, dtype: torch.dtype, facts: Facts) -> Any:
    """The VAE of the key ``vae``, or None if the key is not set."""
    if not settings["vae"]:
        return None
    from diffusers import AutoencoderKL

    path = Path(settings["vae"])
    with _as_user_error(f"{key}.vae: {path}", "name the VAE that the model's card recommends"):
        if path.is_dir():
            copy = folder / "vae"
            if pickles := _pickles_of(path, None):
                copy.mkdir()
                shutil.copy(path / "config.json", copy)
                rewrite_as_safetensors(pickles[0], copy / "diffusion_pytorch_model.safetensors", max_bytes=MAX_BYTES)
                path = copy
            variants = {p.name.split(".")[1] for p in path.glob("diffusion_pytorch_model.*.safetensors")}
            plain = (path / "diffusion_pytorch_model.safetensors").is_file()
            options = {"variant": sorted(variants)[0]} if variants and not plain else {}
            return AutoencoderKL.from_pretrained(
                path, local_files_only=True, use_safetensors=True, dtype=dtype, **options
            )
        file = Path(_without_pickles(path, folder / "vae"))
        if file != path:
            try:
                latents = look_at_vae(file, key)
            except UserError as error:
                raise UserError(str(error).replace(str(file), str(path))) from None
            check_latents(latents, facts.inputs, f"{key}.vae: {path}", settings["model"])
        config = folder / "vae-config"
        if settings["config"]:
            shutil.copytree(Path(settings["config"]) / "vae", config)
        elif Path(settings["model"]).is_dir() and (Path(settings["model"]) / "vae/config.json").is_file():
            config.mkdir()
            shutil.copy(Path(settings["model"]) / "vae/config.json", config)
        else:
            from evenface.generators.diffusion.sd_configs import component_configs

            shapes = header_shapes(settings["model"]) if Path(settings["model"]).is_file() else None
            write_json(config / "config.json", component_configs(family_of(shapes or {}) or "sd15", 4)["vae"])
        return AutoencoderKL.from_single_file(str(file), config=str(config), local_files_only=True, dtype=dtype)


def _check_latents(pipeline: DiffusionPipeline, settings: Mapping[str, Any], key: str, task: Task) -> None:
    """Check that VAE and denoiser fit each other; :func:`look_at_model` cannot see this in pickles."""
    vae, unet = getattr(pipeline, "vae", None), getattr(pipeline, "unet", None)
    if vae is None or unet is None:
        return
    latents, inputs = vae.config.latent_channels, unet.config.in_channels
    wanted = 2 * latents if task == "instruction" else latents
    if inputs != wanted:
        named = f"{key}.vae: {settings['vae']}" if settings["vae"] else f"the VAE of {settings['model']}"
        raise UserError(
            f"{named} makes latents of {latents} channels, so the denoiser should take {wanted} channels, but it takes "
            f"{inputs}; use a VAE and a model that belong together"
        )
