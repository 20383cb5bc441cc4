"""Compares a shard job of the shipped text-to-face model with drawing one picture after the other, as scripts do.

    python benchmarks/diffusion.py --images 20 --batches 1 5 10 --rounds 2 --threads 1

``one by one``, the original's way, calls diffusers' pipeline for every picture, turns the answer into a Pillow image and
saves it as PNG before it draws the next one. ``batches of N`` is a whole shard job of this workflow after loading:
pictures, metadata, encoding, table, file. Prompt, seeds, steps and precision (float32) are the same. The last line has the
largest batches in bfloat16.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from side_by_side import measure  # noqa: E402

MODEL = ROOT / "models/text-to-face"
PROMPT, NEGATIVE = "portrait photo of a young asian woman with black hair, smiling", "blurry"
STEPS, GUIDANCE = 12, 4.0


def one_by_one(images: int, threads: int) -> Callable[[], None]:
    """The pipeline as its documentation shows it, a call a picture."""
    import torch
    from diffusers import StableDiffusionPipeline

    torch.set_num_threads(threads)
    pipeline = StableDiffusionPipeline.from_pretrained(
        MODEL, dtype=torch.float32, local_files_only=True, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(images):
                drawn = pipeline(
                    PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                    generator=torch.Generator().manual_seed(number),
                )  # fmt: skip
                drawn.images[0].save(f"{folder}/{number}.png")

    return work


def shard(images: int, threads: int, batch: int, precision: str) -> Callable[[], None]:
    """A shard job with the model loaded before."""
    os.chdir(ROOT)
    from evenface.assets.diffusion_files import files_of
    from evenface.generators import shards
    from evenface.generators.diffusion.generator import DiffusionGenerator

    settings = {"steps": STEPS, "guidance": GUIDANCE, "batch_size": batch, "precision": precision}
    resources = {"files": files_of("models/text-to-face", "model"), "threads": threads}
    generator = DiffusionGenerator({**settings, **resources})
    shards.create = lambda *_: generator
    recipe = {
        "generator": "diffusion", "generator_version": 1, "cell": "bench", "prompt": PROMPT, "negative_prompt": NEGATIVE,
        "gender": "female", "age": "young", "ethnicity": "asian", "attributes": {"Black_Hair": 1}, "seed": 1, "first": 0,
        "count": images, "settings": settings,
    }  # fmt: skip

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            shards.generate_shard(recipe, Path(folder) / "shard.tar", {})

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    ways = {"one by one": (one_by_one, options.images, options.threads)}
    ways |= {
        f"batches of {size}": (shard, options.images, options.threads, size, "float32") for size in options.batches
    }
    ways["bfloat16"] = (shard, options.images, options.threads, max(options.batches), "bfloat16")
    found = measure(ways, options.rounds)
    first = found["one by one"]
    print(f"{options.images} pictures of 96 x 96, {STEPS} steps, {options.threads} threads")
    for name, row in found.items():
        print(
            f"{name:14} {1e3 * row['wall'] / options.images:7.0f} ms a picture, {first['wall'] / row['wall']:5.2f} x"
            f"   processor time {1e3 * row['processor'] / options.images:7.0f} ms, "
            f"{first['processor'] / row['processor']:5.2f} x"
        )


if __name__ == "__main__":
    main()
