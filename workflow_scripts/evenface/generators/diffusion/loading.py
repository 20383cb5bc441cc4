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
    OPTIONAL,
    WEIGHTLESS,
    WEIGHTS,
    Facts,
    components_of,
    look_at_model,
    read_index,
    vae_prefix,
    vae_variant,
    weights_of,
)
from evenface.checkpoints.convert import read_tensors, rewrite_as_safetensors
from evenface.checkpoints.libraries import MAX_BYTES, load_from_folder
from evenface.errors import UserError, raise_if_machine
from evenface.generators.diffusion.sd_configs import component_configs, write_config_folder
from evenface.generators.diffusion.single_files import SingleFile
from evenface.storage.atomic import write_json
from evenface.storage.safetensors import files_of_network

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

    from evenface.checkpoints.stored import StoredTensor

log = logging.getLogger("evenface")

#: What a pipeline starts from: a text, an image and a text (with a strength), or an image and an instruction.
Task = Literal["text", "image", "instruction"]

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
    model, vae = Path(settings["model"]), settings["vae"]
    is_folder = model.is_dir()
    stored = read_tensors(model, MAX_BYTES) if model.is_file() else {}
    vae_stored = read_tensors(vae, MAX_BYTES) if vae and Path(vae).is_file() else {}
    named = {k: settings[k] for k in ("variant", "vae", "config")}
    facts = look_at_model(model, key, **named, shapes=_shapes(stored), vae_shapes=_shapes(vae_stored))
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    # Their warnings are not needed: long texts and weights that do not fit are refused here, slow loading is harmless.
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory(prefix="evenface-") as scratch:
        folder = Path(scratch)
        if is_folder:
            # Pickles are rewritten as safetensors once, before anything reads them.
            parts = Path(_without_pickles(model, folder / "model", settings["variant"]))
        else:
            parts = Path(settings["config"] or _known_config(stored, facts, settings, folder / "config"))
        loader = _Loader(settings, key, dtype, parts, is_folder)
        given = loader.not_loaded()
        if vae:
            given["vae"] = loader.vae(vae_stored, folder)
        networks = loader.networks(given) if is_folder else loader.single(stored).networks(given)
        pipeline = loader.pipeline(given | networks)
    pipeline = _suited(pipeline, f"{key}.model: {model}", task)
    _check_latents(pipeline, settings, key, task)
    pipeline.set_progress_bar_config(disable=True)
    for component in pipeline.components.values():
        if hasattr(component, "eval"):
            component.eval()
    return pipeline, facts


def _shapes(stored: Mapping[str, StoredTensor]) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in stored.items()}


def _known_config(stored: Mapping[str, StoredTensor], facts: Facts, settings: Mapping[str, Any], folder: Path) -> Path:
    """A folder with the configurations of a published family."""
    assert facts.family and facts.inputs
    folder.mkdir()
    write_config_folder(facts.family, facts.inputs, settings["files"]["clip"], folder)
    return folder


def _without_pickles(source: Path, target: Path, variant: str | None = None) -> str:
    """The model's folder itself, or a copy (links, and safetensors in place of the ``variant``'s pickles)."""
    index = read_index(source) if (source / "model_index.json").is_file() else {}
    wanted = {name for name in components_of(index) if (source / name).is_dir()}
    pickles = [p for name in sorted(wanted) for p in _pickles_of(source / name, variant)]
    # The first published folders name a class that newer transformers do not have.
    outdated = index.get("feature_extractor") == ["transformers", "CLIPFeatureExtractor"]
    if not pickles and not outdated:
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
def _as_user_error(what: str, key: str) -> Iterator[None]:
    """Raise a library's error about files that it cannot use as a UserError of one sentence."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise_if_machine(error, what)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise UserError(f"{what} cannot be loaded: {' '.join(lines)[:300]}; name another model in "
                        f"{key}.model, or get this one again, made for the installed version") from error  # fmt: skip


class _Loader:
    """Loads the networks of a model, and puts them into its pipeline.

    ``parts`` is a folder in diffusers' form: the model, or the configurations of a single file.
    """

    def __init__(self, settings: Mapping[str, Any], key: str, dtype: torch.dtype, parts: Path, is_folder: bool):
        self.settings, self.key, self.dtype = settings, key, dtype
        self.parts, self.is_folder = parts, is_folder
        self.index = read_index(parts)
        self.wider = f"set {key}.precision to float32 or bfloat16"
        self.what = f"{key}.model: {settings['model']}"
        self.cls = self._class()

    def _class(self) -> type[DiffusionPipeline]:
        import diffusers

        name = self.index["_class_name"]
        with _as_user_error(self.what, self.key):
            cls = getattr(diffusers, name, None)
        if not isinstance(cls, type):
            raise UserError(f"{self.what} is of the class {name!r}, which the installed diffusers "
                            f"{diffusers.__version__} does not have; get a model made for it")  # fmt: skip
        if not self.is_folder and not hasattr(cls, "from_single_file"):
            raise UserError(f"{self.key}.config: {self.parts} is of the class {name!r}, which cannot be loaded from a "
                            "single file; use a diffusers folder")  # fmt: skip
        return cls

    def not_loaded(self) -> dict[str, Any]:
        """Components that the pipeline does without."""
        given: dict[str, Any] = {name: None for name, value in self.index.items() if value == [None, None]}
        named = set(self.index) if self.is_folder else self.cls._optional_components
        # Single files do not have them.
        given |= {n: None for n in OPTIONAL if n in named and not (self.is_folder and (self.parts / n).is_dir())}
        if "safety_checker" in self.index and not self.settings["safety_checker"]:
            given["safety_checker"] = None
        return given

    def networks(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Component -> network of every one in the model's folder, except those in ``given``."""
        import diffusers
        import transformers

        libraries = {"diffusers": diffusers, "transformers": transformers}
        found = {}
        for name, (library, class_name) in components_of(self.index).items():
            if name in given or WEIGHTLESS.fullmatch(name):
                continue
            module = libraries.get(library) or getattr(diffusers.pipelines, library, None)
            cls = getattr(module, class_name, None)
            if not hasattr(cls, "from_pretrained"):
                raise UserError(f"{self.what}: component {name!r} is of the class {library}.{class_name}, which the "
                                f"installed {library} does not have; get the folder made for this version")  # fmt: skip
            found[name] = self._network(cls, self.parts / name, name, Path(self.settings["model"]) / name)
        return found

    def _network(self, cls: type, folder: Path, component: str, named: Path) -> Any:
        import diffusers

        wanted = self.settings["variant"] if component != "vae" or not self.settings["vae"] else vae_variant(folder)
        variant = wanted if wanted in {v for v, _ in weights_of(folder)} else None
        options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": self.dtype}
        if variant:
            options["variant"] = variant
        if issubclass(cls, diffusers.ModelMixin):
            # Without the package accelerate, loading needs memory for two copies.
            options["low_cpu_mem_usage"] = find_spec("accelerate") is not None
        with _as_user_error(f"{named}: component {component!r}", self.key):
            return load_from_folder(
                cls, folder, files_of_network(folder, variant), component, named=named, wider=self.wider, **options
            )

    def single(self, stored: Mapping[str, StoredTensor]) -> SingleFile:
        """The model as a single file of ``stored`` tensors."""
        return self._single(stored, self.settings["model"], self.parts)

    def _single(self, stored: Mapping[str, StoredTensor], path: str, config: Path) -> SingleFile:
        remedy = "get the file again as its authors publish it"
        remedy += f", or name the configuration of this very model in {self.key}.config"
        return SingleFile(stored, path, config, self.dtype, remedy=remedy, wider=self.wider)

    def vae(self, stored: Mapping[str, StoredTensor], scratch: Path) -> Any:
        """The VAE of the key ``vae``: a folder, or a file of ``stored`` tensors."""
        from diffusers import AutoencoderKL

        path = Path(self.settings["vae"])
        if not stored:
            folder = path
            if pickles := _pickles_of(path, vae_variant(path)):
                folder = scratch / "vae"
                folder.mkdir()
                shutil.copy(path / "config.json", folder)
                rewrite_as_safetensors(pickles[0], folder / "diffusion_pytorch_model.safetensors", max_bytes=MAX_BYTES)
            return self._network(AutoencoderKL, folder, "vae", path)
        config = scratch / "vae-config"
        if (self.parts / "vae/config.json").is_file():
            (config / "vae").mkdir(parents=True)
            shutil.copy(self.parts / "vae/config.json", config / "vae")
        else:
            write_json(config / "vae/config.json", component_configs("sd15", 4)["vae"])
        prefix = vae_prefix(stored)
        assert prefix is not None  # look_at_model refuses files without VAE
        return self._single(stored, str(path), config).network("vae", "AutoencoderKL", prefix)

    def pipeline(self, components: Mapping[str, Any]) -> DiffusionPipeline:
        """The pipeline of the ``components``, with the tokenizers and the sampler of its folder."""
        options = {"local_files_only": True, "dtype": self.dtype, **components}
        if "safety_checker" in components and components["safety_checker"] is None:
            options["requires_safety_checker"] = False
        with _as_user_error(self.what, self.key):
            return self.cls.from_pretrained(self.parts, **options)


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
