"""Which files a generator reads, from its settings alone: rules list them as inputs before any job runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evenface.assets.diffusion_files import CLIP_MERGES, files_of, is_single_file
from evenface.assets.places import made_here
from evenface.versions import FACE_ASSETS


def _parametric(settings: Mapping[str, Any]) -> dict[str, str]:
    return {"assets": f"models/makehuman/face-assets-v{FACE_ASSETS}.npz"}


def _guided(settings: Mapping[str, Any]) -> dict[str, str]:
    """What the latent generator reads, and the directions fitted on it (``plan.directions.guided_settings``)."""
    base = settings["generator"]
    return {"directions": f"results/latent/{base}/directions.npz", **generator_files(base, settings["base"])}


def _stylegan3(settings: Mapping[str, Any]) -> dict[str, str]:
    return {"network": settings["network"]}


def _diffusion(settings: Mapping[str, Any]) -> dict[str, str]:
    """Files of the model and of what is named beside it; what the workflow itself makes stands as a whole."""
    files = {}
    for key in ("model", "vae", "config"):
        if settings.get(key):
            made = made_here(settings[key])
            files |= {key: settings[key]} if made else files_of(settings[key], key)
    if is_single_file(settings["model"]) and not settings.get("config"):
        files["clip"] = CLIP_MERGES
    return files


_FILES: dict[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    "parametric": _parametric,
    "stylegan3": _stylegan3,
    "diffusion": _diffusion,
    "instruct_pix2pix": _diffusion,
    "guided": _guided,
}


def generator_files(generator: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """File key -> path of everything ``generator`` reads with its block of ``generation.settings``."""
    return _FILES[generator](settings) if generator in _FILES else {}
