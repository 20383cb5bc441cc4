"""Cases: latent directions, text to face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from version_cases.common import RENDERER, TRAINED, Inputs, case


@case("directions.VERSIONS.directions", also=(RENDERER, "annotators.ground_truth.PART"))
def directions(inputs: Inputs, out: Path) -> Any:
    """Every step on the parametric faces, by what is true of them."""
    from evenface.directions import samples, steps
    from evenface.directions.labels import Reader, label_samples
    from evenface.generators.settings import WalkSettings

    settings = {"size": [46, 56], "supersample": 1}
    machine = {"files": {"assets": str(inputs.assets)}}
    drawn = {"generator": "parametric", "settings": settings, "space": None, "seed": 5, "samples": 300, "parts": 1,
             "part": 0, "pictures": False, "generator_version": 1}  # fmt: skip
    samples.sample_part(drawn, out / "0.tar", machine)
    reader = Reader({"name": "ground_truth", "settings": {}}, ["gender", "age"], {}, {}, {})
    label_samples([out / "0.tar"], reader, out / "labels.parquet")
    recipe = {
        "generator": "parametric", "settings": settings, "factors": ["gender", "age"], "confidence": 0.8,
        "test_share": 0.3, "seed": 5, "effects": {"faces": 4, "distance": 2.5}, "mirror": {"factor": "gender", "pairs": 2},
        "balanced": {"groups": ["gender"], "per_group": 2, "max_candidates": 4, "unguided": 4},
        "walk": WalkSettings.filled({}, "walk"),
    }  # fmt: skip
    names = ("directions.npz", "accuracy.csv", "groups.csv", "cosines.csv", "effects.csv", "sheet.jpg", "images.tar",
             "pairs.csv", "summary.csv", "candidates.csv", "curve.csv")  # fmt: skip
    outputs = {name.partition(".")[0]: out / name for name in names}
    balanced = {**outputs, "images": out / "balanced.tar", "summary": out / "balanced.csv"}
    steps.fit(recipe, [out / "0.tar"], out / "labels.parquet", outputs)
    steps.effects(recipe, outputs["directions"], [out / "0.tar"], outputs, reader, machine)
    steps.mirror(recipe, outputs["directions"], [out / "0.tar"], outputs, reader, machine)
    steps.balance(recipe, outputs["directions"], balanced, reader, machine)
    return [out / "0.tar", out / "labels.parquet", outputs, balanced["images"], balanced["summary"]]


@case("text_to_face.VERSIONS.text_to_face", loose=TRAINED, also=(RENDERER,))
def text_to_face(inputs: Inputs, out: Path) -> Any:
    """Losses, pictures and texts; weights after a few steps tell processors apart."""
    from evenface.text_to_face import captions, evaluation, export, faces, stages
    from evenface.text_to_face.tokenizer import save_tokenizer

    pace = {"steps": 4, "batch_size": 4, "warmup": 2, "save_seconds": 0, "log_every": 2, "precision": "float32"}
    unet = {"channels": [32, 32], "layers": 1, "attention": [False, True], "head": 16}
    recipe = {
        "seed": 5, "renderer": 1,
        "settings": {
            "faces": 4, "size": 32, "decoder": pace,
            "autoencoder": {"parts": 1, "channels": [8, 16, 16], "latent_channels": 3, **pace},
            "denoiser": {"text": {"width": 16, "layers": 1, "heads": 2, "tokens": 40}, "unet": unet, "untold": 0.12, **pace},
        },
    }  # fmt: skip
    shard, weights, latents, table = (out / n for n in ("0.tar", "a.safetensors", "l.safetensors", "l.parquet"))
    faces.render_faces({"faces": 4, "parts": 1, "render_size": 32}, 5, 0, inputs.assets, shard)
    ways = {"threads": 1, "device": "cpu"}
    stages.autoencoder_stage(recipe, [shard], weights, log_path=out / "a.csv", **ways)
    stages.encoding_stage(recipe, [shard], weights, latents, table, **ways)
    stages.decoder_stage(
        recipe, [shard], weights, latents, table, out / "d.safetensors", log_path=out / "d.csv", **ways
    )
    stages.denoiser_stage(recipe, latents, table, out / "u.safetensors", log_path=out / "u.csv", **ways)
    export.export_pipeline(recipe, out / "d.safetensors", out / "u.safetensors", out / "model")
    random = np.random.default_rng(0)
    known = json.loads(pd.read_parquet(table)["truth"][0]) if "truth" in pd.read_parquet(table) else None
    save_tokenizer(captions.words_of_captions(), 48, out / "words")
    return {
        "faces": shard, "logs": [pd.read_csv(out / f"{n}.csv").filter(like="loss") for n in "adu"], "latents": latents,
        "files": sorted(str(p.relative_to(out)) for p in (out / "model").rglob("*")),
        "captions": [captions.caption(known, random) for _ in range(8)] if known else [],
        "untold": [captions.neutral_text(random) for _ in range(8)], "words": out / "words/vocab.json",
        "framed": evaluation.as_annotated(inputs.pictures["photograph"][:178]),
    }  # fmt: skip


@case("text_to_face.VERSIONS.card")
def card(inputs: Inputs, out: Path) -> Any:
    from evenface.text_to_face.card import write_card
    from evenface.text_to_face.settings import TextToFaceSettings

    recipe = {"seed": 5, "renderer": 1, "settings": TextToFaceSettings.filled({}, "text_to_face")}
    return {"card": write_card(recipe, 17_000_000)}
