"""Requests to faces with any diffusers pipeline: loaded once, one seed per image, batches of one shape."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from evenface.assets.diffusion_files import SINGLE_FILES, files_of
from evenface.assets.lock import sha256_of
from evenface.errors import UserError
from evenface.generators.diffusion import PART
from evenface.generators.diffusion.batches import Batches
from evenface.generators.diffusion.initial import read_initial
from evenface.generators.diffusion.loading import Task, load_pipeline
from evenface.generators.diffusion.schedulers import set_scheduler
from evenface.generators.diffusion.settings import DiffusionSettings, PipelineSettings
from evenface.generators.diffusion.text import Prompt, embeddings, read_prompt
from evenface.generators.protocol import GeneratedFace
from evenface.storage.images import ImageReader

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

    from evenface.plan.requests import Request

log = logging.getLogger("evenface")

_MACHINE = ("device", "threads", "files")
#: Seeds are those of requests: 63 bits, which every generator of random numbers takes, though PyTorch's on the CPU
#: reads the lower 32 alone.
_SEEDS = 1 << 63


class DiffusionGenerator:
    """Draws requests with a text-to-image model, or changes their initial images with it.

    ``settings`` are those of :class:`DiffusionSettings` and ``files`` (key -> path), ``device`` and ``threads``. The model is loaded at
    the first call of :meth:`generate`, and every request is checked before the first image. An image depends on its
    request, the settings and the libraries: equal bytes whatever is drawn beside it, before or after, unless memory ran
    out and batches became smaller, which its provenance tells.
    """

    name = "diffusion"
    version = PART.version
    kind_of_settings: type[PipelineSettings] = DiffusionSettings

    def __init__(self, settings: Mapping[str, Any]):
        self.key = f"generation.settings.{self.name}"
        known = {key: value for key, value in settings.items() if key not in _MACHINE}
        self.settings: dict[str, Any] = self.kind_of_settings.filled(known, self.key)
        self.files: dict[str, str] = dict(settings.get("files") or {})
        self.device = settings.get("device") or "cpu"
        self.threads = int(settings.get("threads") or 1)
        self._check_settings()
        self._pipeline: DiffusionPipeline | None = None
        self._made_with: dict[str, Any] = {}

    # Settings.

    @property
    def task(self) -> Task:
        """What the model starts from."""
        return "image" if self.settings["initial"] else "text"

    def _check_settings(self) -> None:
        settings, key = self.settings, self.key
        if self.task == "image" and int(settings["steps"] * settings["strength"]) < 1:
            raise UserError(f"{key}: {settings['steps']} steps with strength {settings['strength']} are no step at all, "
                            "which gives back the noisy initial image; raise one of them")  # fmt: skip

    # The model.

    def _dtype(self) -> torch.dtype:
        import torch

        chosen = self.settings["precision"]
        if chosen == "auto":
            chosen = "float16" if self.device.startswith("cuda") else "float32"
        if chosen == "float16" and self.device == "cpu":
            raise UserError(f"{self.key}.precision is float16, which processors compute slowly or not at all; use "
                            "float32, bfloat16 or auto where there is no GPU")  # fmt: skip
        return getattr(torch, chosen)

    @property
    def pipeline(self) -> DiffusionPipeline:
        """The loaded pipeline, with its sampler, on its device."""
        if self._pipeline is None:
            self._pipeline = self._load()
        return self._pipeline

    def _load(self) -> DiffusionPipeline:
        import torch

        torch.set_num_threads(self.threads)
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            log.warning("no GPU that PyTorch can use: drawing on the processor")
            self.device = "cpu"
        with ThreadPoolExecutor(1) as pool:
            hashes = pool.submit(lambda: {name: sha256_of(path) for name, path in self._weights()})
            settings = {**self.settings, "files": self.files}
            pipeline, _ = load_pipeline(settings, self.key, self.task, self._dtype())
            set_scheduler(pipeline, self.settings["scheduler"], f"{self.key}.scheduler")
            self._place(pipeline)
            self._made_with = self._described(pipeline, hashes.result())
        return pipeline

    def _weights(self) -> list[tuple[str, str]]:
        """Key and path of every file of weights; a folder that the workflow made is named as a whole."""
        files = [pair for key, path in self.files.items() for pair in files_of(path, key).items()]
        return [(key, path) for key, path in files if path.endswith(SINGLE_FILES)]

    def _place(self, pipeline: DiffusionPipeline) -> None:
        """To the device, in the layout that convolutions like, with what saves memory."""
        import torch

        if self.settings["attention_slicing"]:
            pipeline.enable_attention_slicing()
        for part in ("unet", "vae"):
            network = getattr(pipeline, part, None)
            # In float32 on processors the layout gains nothing.
            if network is not None and (self.device != "cpu" or network.dtype != torch.float32):
                network.to(memory_format=torch.channels_last)
        offload = self.settings["offload"]
        if self.device == "cpu" or offload == "none":
            pipeline.to(self.device)
            return
        try:
            move = pipeline.enable_model_cpu_offload if offload == "model" else pipeline.enable_sequential_cpu_offload
            move(device=self.device)
        except ImportError as error:
            raise UserError(
                f"{self.key}.offload needs the package accelerate: pip install accelerate, or set offload to none"
            ) from error

    def _described(self, pipeline: DiffusionPipeline, hashes: Mapping[str, str]) -> dict[str, Any]:
        """What is the same for every image: everything that decided its pixels but seed, texts and initial image."""
        import diffusers
        import torch
        import transformers

        config = {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")}
        checker = getattr(pipeline, "safety_checker", None)
        return {
            "model": str(self.settings["model"]),
            "vae": self.settings["vae"],
            "weights_sha256": dict(hashes),
            "pipeline": type(pipeline).__name__,
            "scheduler": type(pipeline.scheduler).__name__,
            "scheduler_config": json_able(config),
            "steps": self.settings["steps"],
            "guidance": self.settings["guidance"],
            "precision": str(self._dtype()).removeprefix("torch."),
            "device": self.device.partition(":")[0],
            "safety_checker": type(checker).__name__ if checker is not None else None,
            "software": {m.__name__: m.__version__ for m in (diffusers, torch, transformers)},
        }

    # Drawing.

    def generate(self, requests: Iterable[Request]) -> Iterator[GeneratedFace]:
        """One face per request, in order.

        Raises UserError before the first image for a text that is empty, too long or weighted against the settings, a
        seed out of range, or an initial image that cannot be read.
        """
        wanted = list(requests)
        for request in wanted:
            check_seed(request)
        if not wanted:
            return
        with ImageReader() as reader:
            if self.task != "text":  # before the model is loaded, which takes longest
                for request in wanted:
                    read_initial(reader, request, (8, 8))
            texts = self._texts(wanted)
            batches = Batches(self.settings["batch_size"], self._free)
            for alike in _runs(wanted):
                if 3 * (spare := -len(alike) % batches.size) > len(alike):
                    log.warning("%d images fill %d places: let images_per_prompt be a multiple of batch_size, or lower it",
                                len(alike), len(alike) + spare)  # fmt: skip
                drawn = batches.run(alike, lambda batch: self._draw(batch, texts, reader))
                for request, (image, provenance) in zip(alike, drawn, strict=True):
                    yield GeneratedFace(request, image, {**provenance, "batch_size": batches.size})

    def text_of(self, request: Request) -> tuple[str, str]:
        """What the model is told for a request, and what it is called in messages."""
        return request.prompt, "prompt"

    def _texts(self, requests: Sequence[Request]) -> dict[tuple[str, str], Prompt]:
        """Every different text of the requests, as it is passed on; by (text, kind)."""
        wanted = dict.fromkeys(self.text_of(request) for request in requests)
        wanted |= dict.fromkeys((request.negative_prompt, "negative prompt") for request in requests)
        weights = self.settings["prompt_weights"]
        texts = {(t, what): read_prompt(t, what, self.pipeline, weights) for t, what in wanted}
        if not self._takes_negative() and any(request.negative_prompt for request in requests):
            log.warning("%s uses no negative prompt with these settings", type(self.pipeline).__name__)
        return texts

    def _takes_negative(self) -> bool:
        """Whether a negative prompt has any effect: models distilled to need no guidance ignore it."""
        parameters = self._parameters()
        if "true_cfg_scale" in parameters and not self._guides_by_true_cfg():
            return False  # distilled (FLUX): what is told as guidance_scale looks at the prompt alone
        return "negative_prompt" in parameters and self.settings["guidance"] > 1

    def _guides_by_true_cfg(self) -> bool:
        """Whether the guidance is called ``true_cfg_scale``, as Qwen-Image and its kin do."""
        parameters = self._parameters()
        true = parameters.get("true_cfg_scale")
        return true is not None and (true.default > 1 or "guidance_scale" not in parameters)

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(type(self.pipeline).__call__).parameters

    def _draw(
        self, batch: Sequence[Request], texts: Mapping[tuple[str, str], Prompt], reader: ImageReader
    ) -> list[tuple[np.ndarray, dict[str, Any]]]:
        """Images of a batch with what is particular to each."""
        import torch

        prompts = [texts[self.text_of(request)] for request in batch]
        negatives = [texts[request.negative_prompt, "negative prompt"] for request in batch]
        arguments = self._told(prompts, negatives) | self._how()
        # On the CPU whatever the device, so that the same seed is the same noise everywhere.
        arguments["generator"] = [torch.Generator("cpu").manual_seed(request.seed) for request in batch]
        own: list[dict[str, Any]] = [{} for _ in batch]
        if self.task == "text" and self.settings["size"]:
            arguments["width"], arguments["height"] = self.settings["size"]
        elif self.task != "text":
            size = self._size()
            initial = [read_initial(reader, request, size) for request in batch]
            arguments["image"] = [picture for picture, _ in initial]
            own = [
                {"initial": request.initial_name or request.initial_image, "initial_sha256": digest}
                for request, (_, digest) in zip(batch, initial, strict=True)
            ]
        try:
            with torch.no_grad():
                result = self.pipeline(**arguments, output_type="np")
        except ValueError as error:
            raise UserError(f"{self.key}: {type(self.pipeline).__name__} refuses its arguments: {error}") from error
        flagged = getattr(result, "nsfw_content_detected", None) or [None] * len(batch)
        made = []
        for image, mine, flag, request in zip(result.images, own, flagged, batch, strict=True):
            if not np.isfinite(image).all():
                raise UserError(f"{self.key}: the model gave no numbers for {request.request_id}; its weights overflow "
                                f"in {self._made_with['precision']}: set precision to float32 or bfloat16")  # fmt: skip
            pixels = (image * 255).round().astype(np.uint8)
            seen = {"safety_flagged": None if flag is None else bool(flag), "size": [pixels.shape[1], pixels.shape[0]]}
            if flag:
                log.warning("the safety checker blackened %s", request.request_id)
            made.append((pixels, {**self._made_with, **self._asked(request), **mine, **seen}))
        return made

    def _asked(self, request: Request) -> dict[str, Any]:
        """What a face's provenance tells of its request beyond the shard's own columns."""
        used = bool(request.negative_prompt) and self._takes_negative()
        return {"negative_prompt_used": used} | (
            {"strength": self.settings["strength"]} if self.task == "image" else {}
        )

    def _told(self, prompts: Sequence[Prompt], negatives: Sequence[Prompt]) -> dict[str, Any]:
        """The texts as arguments: plain ones as text, and embeddings where any is weighted."""
        negative = self._takes_negative()
        if any(prompt.spans for prompt in (*prompts, *(negatives if negative else ()))):
            given = embeddings(self.pipeline, prompts, negatives)
            return {name: value for name, value in given.items() if name in self._parameters()}
        told: dict[str, Any] = {"prompt": [prompt.text for prompt in prompts]}
        # Pipelines with a true_cfg_scale are not guided at all unless they are given a negative prompt, be it a blank.
        blank = " " if self._guides_by_true_cfg() else ""
        if negative and (blank or any(prompt.text for prompt in negatives)):
            told["negative_prompt"] = [prompt.text or blank for prompt in negatives]
        return told

    def _how(self) -> dict[str, Any]:
        """Steps, guidance and strength under the names this pipeline has for them."""
        parameters, settings = self._parameters(), self.settings
        guidance = "true_cfg_scale" if self._guides_by_true_cfg() else "guidance_scale"
        wanted = {"num_inference_steps": settings["steps"], guidance: settings["guidance"]}
        if self.task == "image":
            wanted["strength"] = settings["strength"]
        return {name: value for name, value in wanted.items() if name in parameters}

    def _size(self) -> tuple[int, int]:
        """Width and height that initial images are brought to."""
        if self.settings["size"]:
            return tuple(self.settings["size"])
        return own_size(self.pipeline)

    def _free(self) -> None:
        import gc

        import torch

        gc.collect()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()


def check_seed(request: Request) -> None:
    """UserError for a seed that is no whole number of 63 bits."""
    if isinstance(request.seed, bool) or not isinstance(request.seed, int) or not 0 <= request.seed < _SEEDS:
        raise UserError(f"request {request.request_id} has the seed {request.seed!r}; it must be a whole number from 0 to "
                        f"{_SEEDS - 1}")  # fmt: skip


def own_size(pipeline: DiffusionPipeline) -> tuple[int, int]:
    """The width and height a pipeline draws when it is told none."""
    factor = getattr(pipeline, "vae_scale_factor", 8)
    unet = getattr(pipeline, "unet", None)
    side = unet.config.sample_size if unet is not None else getattr(pipeline, "default_sample_size", None)
    if side is None:
        return 1024, 1024
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    return width * factor, height * factor


def json_able(value: Any) -> Any:
    """Plain values; whatever else a configuration holds as text."""
    if isinstance(value, Mapping):
        return {str(key): json_able(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_able(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _runs(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Neighbours with the same texts together: encoders pad a batch to its longest text."""
    run: list[Request] = []
    for request in requests:
        if run and (request.prompt, request.negative_prompt) != (run[0].prompt, run[0].negative_prompt):
            yield run
            run = []
        run.append(request)
    if run:
        yield run
