"""The files of a diffusion model, found from its settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenface.assets.diffusion_files import CLIP_MERGES, files_of, is_single_file
from evenface.assets.places import made_here


def model_files(settings: Mapping[str, Any]) -> dict[str, str]:
    """File key -> path of the model, its VAE and its configuration; a folder that the workflow makes is one entry."""
    files = {}
    for key in ("model", "vae", "config"):
        if settings.get(key):
            made = made_here(settings[key])
            files |= {key: settings[key]} if made else files_of(settings[key], key)
    if is_single_file(settings["model"]) and not settings.get("config"):
        files["clip"] = CLIP_MERGES
    return files
