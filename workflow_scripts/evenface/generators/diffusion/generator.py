"""Draws faces with any diffusers pipeline: the model is loaded once, every image has its own seed."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from evenface.assets.diffusion_files import SINGLE_FILES, files_of
from evenface.errors import UserError
from evenface.generators.diffusion import PART
from evenface.generators.diffusion.batches import Batches
from evenface.generators.diffusion.initial import read_initial
from evenface.generators.diffusion.loading import Task, load_pipeline
from evenface.generators.diffusion.schedulers import set_scheduler
from evenface.generators.diffusion.settings import DiffusionSettings, PipelineSettings
from evenface.generators.diffusion.text import Prompt, embeddings, read_prompt
from evenface.generators.protocol import GeneratedFace
from evenface.storage.hashes import sha256_of
from evenface.storage.images import ImageReader

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

    from evenface.plan.requests import Request

log = logging.getLogger("evenface")

_MACHINE = ("device", "threads", "files")
#: Seeds have 63 bits, as those of requests. PyTorch's random number generator on the CPU reads only the lower 32.
_SEEDS = 1 << 63


class DiffusionGenerator:
    """Draws requests with a text-to-image model, or changes their initial images with it.

    ``settings`` are those of :class:`DiffusionSettings`, with ``files`` (key -> path), ``device`` and ``threads``.
    The first call of :meth:`generate` loads the model and checks every request before the first image. An image
    depends on its request, the settings and the libraries, but not on other images. Only if memory runs out and batches
    become smaller, its bytes change; its provenance holds the batch size.
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
            raise UserError(f"{key}: {settings['steps']} steps with strength {settings['strength']} take not even one "
                            "step, so the initial image would only become noisy; raise one of them")  # fmt: skip

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
            log.warning("PyTorch finds no GPU that it can use: drawing on the processor")
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
        """Key and path of every file of weights, also of those in folders that the workflow made."""
        files = [pair for key, path in self.files.items() for pair in files_of(path, key).items()]
        return [(key, path) for key, path in files if path.lower().endswith(SINGLE_FILES)]

    def _place(self, pipeline: DiffusionPipeline) -> None:
        """Move the pipeline to its device, in the layout that is fast for convolutions, and set up memory saving."""
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
        """The provenance that all images share: what decides pixels, except seed, texts and initial image."""
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

        Before the first image, raises UserError for a text that is empty, too long, or weighted although the settings
        refuse weights; for a seed out of range; and for an initial image that cannot be read.
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
            for run in _runs(wanted):
                if 3 * (spare := -len(run) % batches.size) > len(run):
                    log.warning(
                        "%d images are drawn in batches with room for %d: make images_per_prompt a multiple of "
                        "batch_size, or lower batch_size",
                        len(run),
                        len(run) + spare,
                    )
                drawn = batches.run(run, lambda batch: self._draw(batch, texts, reader))
                for request, (image, provenance) in zip(run, drawn, strict=True):
                    yield GeneratedFace(request, image, {**provenance, "batch_size": batches.size})

    def text_of(self, request: Request) -> tuple[str, str]:
        """The text that the model gets for a request, and what messages call it."""
        return request.prompt, "prompt"

    def _texts(self, requests: Sequence[Request]) -> dict[tuple[str, str], Prompt]:
        """(text, kind) -> the text as the model gets it, for every different text of the requests."""
        wanted = dict.fromkeys(self.text_of(request) for request in requests)
        wanted |= dict.fromkeys((request.negative_prompt, "negative prompt") for request in requests)
        weights = self.settings["prompt_weights"]
        texts = {(t, what): read_prompt(t, what, self.pipeline, weights) for t, what in wanted}
        if not self._takes_negative() and any(request.negative_prompt for request in requests):
            log.warning("%s ignores the negative prompt with these settings", type(self.pipeline).__name__)
        return texts

    def _takes_negative(self) -> bool:
        """Whether a negative prompt has any effect. Models that were distilled to need no guidance ignore it."""
        parameters = self._parameters()
        if "true_cfg_scale" in parameters and not self._guides_by_true_cfg():
            return False  # distilled (FLUX): its guidance_scale concerns the prompt alone
        return "negative_prompt" in parameters and self.settings["guidance"] > 1

    def _guides_by_true_cfg(self) -> bool:
        """Whether the pipeline calls its guidance ``true_cfg_scale``, as Qwen-Image does."""
        parameters = self._parameters()
        true = parameters.get("true_cfg_scale")
        return true is not None and (true.default > 1 or "guidance_scale" not in parameters)

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(type(self.pipeline).__call__).parameters

    def _draw(
        self, batch: Sequence[Request], texts: Mapping[tuple[str, str], Prompt], reader: ImageReader
    ) -> list[tuple[np.ndarray, dict[str, Any]]]:
        """Images of a batch, each with its provenance."""
        import torch

        prompts = [texts[self.text_of(request)] for request in batch]
        negatives = [texts[request.negative_prompt, "negative prompt"] for request in batch]
        arguments = self._text_arguments(prompts, negatives) | self._step_arguments()
        # Always on the CPU: the same seed then gives the same noise on every device.
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
                raise UserError(
                    f"{self.key}: the image of {request.request_id} has pixels that are not numbers; "
                    f"{self._after_overflow()}"
                )
            pixels = (image * 255).round().astype(np.uint8)
            seen = {"safety_flagged": None if flag is None else bool(flag), "size": [pixels.shape[1], pixels.shape[0]]}
            if flag:
                log.warning("the safety checker made %s black", request.request_id)
            made.append((pixels, {**self._made_with, **self._request_provenance(request), **mine, **seen}))
        return made

    def _after_overflow(self) -> str:
        """What to do when a model of finite weights gives pixels that are not numbers."""
        precision = self._made_with["precision"]
        wider = {"float16": "float32 or bfloat16", "bfloat16": "float32"}.get(precision)
        if wider:
            return f"the model overflows in {precision}: set {self.key}.precision to {wider}"
        return (
            f"the model overflows although its weights are finite: set another {self.key}.scheduler, or lower guidance"
        )

    def _request_provenance(self, request: Request) -> dict[str, Any]:
        """What a face's provenance says of its request, beyond the shard's own columns."""
        used = bool(request.negative_prompt) and self._takes_negative()
        return {"negative_prompt_used": used} | (
            {"strength": self.settings["strength"]} if self.task == "image" else {}
        )

    def _text_arguments(self, prompts: Sequence[Prompt], negatives: Sequence[Prompt]) -> dict[str, Any]:
        """Arguments for the texts: the texts themselves, or embeddings if any of them has weights."""
        negative = self._takes_negative()
        if any(prompt.spans for prompt in (*prompts, *(negatives if negative else ()))):
            given = embeddings(self.pipeline, prompts, negatives)
            return {name: value for name, value in given.items() if name in self._parameters()}
        arguments: dict[str, Any] = {"prompt": [prompt.text for prompt in prompts]}
        # Pipelines with a true_cfg_scale guide only when they get a negative prompt; a blank is enough.
        blank = " " if self._guides_by_true_cfg() else ""
        if negative and (blank or any(prompt.text for prompt in negatives)):
            arguments["negative_prompt"] = [prompt.text or blank for prompt in negatives]
        return arguments

    def _step_arguments(self) -> dict[str, Any]:
        """Steps, guidance and strength, under the names that this pipeline uses."""
        parameters, settings = self._parameters(), self.settings
        guidance = "true_cfg_scale" if self._guides_by_true_cfg() else "guidance_scale"
        wanted = {"num_inference_steps": settings["steps"], guidance: settings["guidance"]}
        if self.task == "image":
            wanted["strength"] = settings["strength"]
        return {name: value for name, value in wanted.items() if name in parameters}

    def _size(self) -> tuple[int, int]:
        """Width and height to which initial images are scaled."""
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
    """UserError unless the request's seed is a whole number of 63 bits."""
    if isinstance(request.seed, bool) or not isinstance(request.seed, int) or not 0 <= request.seed < _SEEDS:
        raise UserError(f"request {request.request_id} has the seed {request.seed!r}; it must be a whole number from 0 to "
                        f"{_SEEDS - 1}")  # fmt: skip


def own_size(pipeline: DiffusionPipeline) -> tuple[int, int]:
    """The width and height that a pipeline draws by default."""
    factor = getattr(pipeline, "vae_scale_factor", 8)
    unet = getattr(pipeline, "unet", None)
    side = unet.config.sample_size if unet is not None else getattr(pipeline, "default_sample_size", None)
    if side is None:
        return 1024, 1024
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    return width * factor, height * factor


def json_able(value: Any) -> Any:
    """``value`` for JSON: plain values stay, anything else becomes text."""
    if isinstance(value, Mapping):
        return {str(key): json_able(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_able(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _runs(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Runs of neighbours with the same texts. Texts are not mixed, because encoders pad a batch to its longest text."""
    run: list[Request] = []
    for request in requests:
        if run and (request.prompt, request.negative_prompt) != (run[0].prompt, run[0].negative_prompt):
            yield run
            run = []
        run.append(request)
    if run:
        yield run
