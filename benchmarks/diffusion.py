"""What the generator costs beyond the pipeline it calls, and what the size of a batch is worth.

    python benchmarks/diffusion.py [model folder] [images] [rounds]

Without a folder, a model of the shipped text-to-face model's shape with random weights is written and measured.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
from side_by_side import measure, show

PROMPT, STEPS, GUIDANCE = "portrait photo of a young Asian woman with black hair", 10, 4.0


def write_model(folder: Path) -> None:
    """A pipeline of the shipped model's shape with random weights."""
    import torch
    import yaml
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from evenface.configuration import check_config, load_schema
    from evenface.networks.latent_diffusion import autoencoder
    from evenface.training.text_to_face import denoiser
    from evenface.training.text_to_face.autoencoder import DEFAULTS, SHAPE
    from evenface.training.text_to_face.diffusion import NOISE

    root = Path(__file__).resolve().parents[1]
    config = yaml.safe_load((root / "config.yaml").read_text())
    settings = check_config(config, load_schema(root / "schemas/config.schema.yaml"))["text_to_face"]
    first, second = {**DEFAULTS, **settings["autoencoder"]}, {**denoiser.DEFAULTS, **settings["denoiser"]}
    torch.manual_seed(0)
    vae = autoencoder(settings["size"], **{key: first[key] for key in SHAPE})
    unet, text, tokenizer = denoiser.build(
        second, settings["size"] >> (len(first["channels"]) - 1), first["latent_channels"]
    )
    StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, safety_checker=None, feature_extractor=None,
        scheduler=DDIMScheduler(**NOISE, clip_sample=False), requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip


def bare(model: str, images: int, batch: int) -> Callable[[], int]:
    """The pipeline alone, as diffusers' users call it."""
    import torch
    from diffusers import StableDiffusionPipeline

    torch.set_num_threads(1)
    pipeline = StableDiffusionPipeline.from_pretrained(model, local_files_only=True, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def draw() -> int:
        done = 0
        for start in range(0, images, batch):
            generators = [torch.Generator().manual_seed(seed) for seed in range(start, start + batch)]
            done += len(
                pipeline(
                    [PROMPT] * batch, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators
                ).images
            )
        return done

    return draw


def ours(model: str, images: int, batch: int) -> Callable[[], np.ndarray]:
    """The generator, checks of every request and provenance included; the model is loaded before."""
    from evenface.generators import create
    from evenface.planning.requests import Request

    settings = {"model": model, "steps": STEPS, "guidance": GUIDANCE, "batch_size": batch, "threads": 1}
    generator = create("diffusion", settings)
    requests = [Request(f"x-{i:05d}", PROMPT, "", {}, seed=i) for i in range(images)]
    return lambda: np.stack([face.image for face in generator.generate(requests)]).astype(int)


def main(model: str | None = None, images: str = "20", rounds: str = "5") -> None:
    with tempfile.TemporaryDirectory() as scratch:
        if model is None:
            model = f"{scratch}/model"
            write_model(Path(model))
        count = int(images)
        ways = {"pipeline alone, 2 at a time": (bare, model, count, 2)}
        ways |= {f"generator, {batch} at a time": (ours, model, count, batch) for batch in (2, 1, 5, 10)}
        found = measure(ways, int(rounds))
        show(found, count, "image", "pipeline alone, 2 at a time")
        for name, best in list(found.items())[2:]:
            apart = np.abs(best["result"] - found["generator, 2 at a time"]["result"])
            print(f"{name:44} differs in {1e4 * (apart > 0).mean():.1f} of 10,000 values, at most by {apart.max()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
