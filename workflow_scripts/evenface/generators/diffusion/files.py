"""Which files a diffusion model is made of, from its settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenface.assets.diffusion_files import CLIP_MERGES, files_of, is_single_file
from evenface.assets.places import made_here


def model_files(settings: Mapping[str, Any]) -> dict[str, str]:
    """Files of the model and of what is named beside it; what the workflow itself makes stands as a whole."""
    files = {}
    for key in ("model", "vae", "config"):
        if settings.get(key):
            made = made_here(settings[key])
            files |= {key: settings[key]} if made else files_of(settings[key], key)
    if is_single_file(settings["model"]) and not settings.get("config"):
        files["clip"] = CLIP_MERGES
    return files
