"""Faces by text-to-image models of diffusers: from a prompt, or from an image and a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenface.assets.places import RENDERED_MODELS, place
from evenface.generators.diffusion.files import model_files
from evenface.generators.diffusion.settings import DiffusionSettings
from evenface.parts import Generator, Needs, Pictures

#: What jobs with diffusion models ask for; memory for the model is added to it.
NEEDS = Needs(gpu=1, mem_mb=2500, runtime=480, conda="diffusion")


def _pictures(settings: Mapping[str, Any]) -> Pictures:
    """Only the text-to-face model is known to have learned from renderings."""
    return "renderings" if place(settings["model"]) in RENDERED_MODELS else "photographs"


PART = Generator(
    name="diffusion",
    version=2,
    summary="Draws from prompts with any text-to-image model in diffusers' form or a single file of Stable Diffusion's kind.",
    code="evenface.generators.diffusion.generator:DiffusionGenerator",
    settings=DiffusionSettings,
    pictures=_pictures,
    starts_from_images=True,
    files=model_files,
    needs=NEEDS,
)
