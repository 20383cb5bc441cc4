"""Configurations of the published architectures of single files; with them, diffusers needs no download.

The numbers are those of the published models: Stable Diffusion 1.x (Rombach et al., 2022, latent-diffusion's
``v1-inference.yaml``) and SDXL base (Podell et al., 2023, ``sd_xl_base.yaml``), in diffusers' words.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

from evenface.errors import UserError, raise_if_machine
from evenface.generators.diffusion.clip_tokens import BEGIN, END, byte_symbols

_MERGES = 49152 - 256 - 2
_MAX_MERGES_BYTES = 8 << 20

_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
_NOISE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
}
_TEXT: dict[str, Any] = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
_UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "sample_size": 64,
}

_SD15 = {
    "vae": _VAE,
    "unet": _UNET,
    "text_encoder": _TEXT,
    "scheduler": {
        "_class_name": "PNDMScheduler",
        **_NOISE,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
    },
}
_SDXL = {
    "vae": {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
    "unet": {
        **_UNET,
        "block_out_channels": [320, 640, 1280],
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "sample_size": 128,
    },
    "text_encoder": _TEXT,
    "text_encoder_2": {
        **_TEXT,
        "architectures": ["CLIPTextModelWithProjection"],
        "hidden_act": "gelu",
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_attention_heads": 20,
        "num_hidden_layers": 32,
        "projection_dim": 1280,
    },
    "scheduler": {
        "_class_name": "EulerDiscreteScheduler",
        **_NOISE,
        "interpolation_type": "linear",
        "timestep_spacing": "leading",
        "use_karras_sigmas": False,
    },
}
_CLASSES = {
    "vae": ["diffusers", "AutoencoderKL"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
}


def component_configs(family: str, inputs: int) -> dict[str, dict[str, Any]]:
    """Component -> configuration of a published ``family``, with a denoiser of ``inputs`` channels (8 for editing)."""
    parts = _SDXL if family == "sdxl" else _SD15
    return {
        name: {**config, "in_channels": inputs} if name == "unet" else dict(config) for name, config in parts.items()
    }


def write_config_folder(family: str, inputs: int, merges: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Write what ``from_single_file`` needs besides the weights: ``model_index.json``, configurations, tokenizers.

    ``family`` is "sd15" or "sdxl"; ``merges`` is the path of CLIP's list of merges, gzipped, as open_clip ships it.
    """
    folder, edits = Path(folder), inputs == 8
    parts = component_configs(family, inputs)
    pipeline = "StableDiffusionXLPipeline" if family == "sdxl" else "StableDiffusionPipeline"
    if edits:
        pipeline = pipeline.replace("Pipeline", "InstructPix2PixPipeline")
    index: dict[str, Any] = {"_class_name": pipeline, "scheduler": ["diffusers", parts["scheduler"]["_class_name"]]}
    index |= {name: _CLASSES[name] for name in parts if name != "scheduler"}
    tokenizers = ("tokenizer", "tokenizer_2") if family == "sdxl" else ("tokenizer",)
    index |= {name: _CLASSES[name] for name in tokenizers}
    if family == "sdxl":
        index["force_zeros_for_empty_prompt"] = True
    else:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        index["requires_safety_checker"] = False
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    for name, config in parts.items():
        (folder / name).mkdir(parents=True)
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        (folder / name / file).write_text(json.dumps(config), encoding="utf-8")
    vocabulary, pairs = clip_vocabulary(merges)
    for name in tokenizers:
        (folder / name).mkdir()
        _write_tokenizer(vocabulary, pairs, folder / name, pad=END if name == "tokenizer" else "!")


def clip_vocabulary(merges: str | os.PathLike) -> tuple[dict[str, int], list[str]]:
    """CLIP's 49,408 tokens with their numbers, and its merges (Radford et al., 2021), from its published list."""
    try:
        with gzip.open(merges, "rb") as file:
            text = file.read(_MAX_MERGES_BYTES).decode("utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{merges}: CLIP's merges are missing; `snakemake {merges}` fetches them") from error
    except (OSError, EOFError, UnicodeError) as error:
        raise_if_machine(error, merges)
        raise UserError(f"{merges}: not CLIP's list of merges; delete it, `snakemake {merges}` fetches it") from error
    pairs = text.split("\n")[1 : _MERGES + 1]
    if len(pairs) < _MERGES or any(pair.count(" ") != 1 for pair in pairs):
        raise UserError(f"{merges}: not CLIP's list of merges; delete it, `snakemake {merges}` fetches it")
    base = byte_symbols()
    names = [*base, *(b + "</w>" for b in base), *(pair.replace(" ", "") for pair in pairs), BEGIN, END]
    return {name: number for number, name in enumerate(names)}, pairs


def _write_tokenizer(vocabulary: dict[str, int], pairs: list[str], folder: Path, *, pad: str) -> None:
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": BEGIN, "eos_token": END,
                "unk_token": END, "pad_token": pad, "add_prefix_space": False, "do_lower_case": True}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
