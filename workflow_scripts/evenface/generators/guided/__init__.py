"""Guided faces: latents of another generator, changed step by step until they fit the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evenface.generators.guided.settings import GuidedSettings
from evenface.parts import Generator, Needs, part


def _base(settings: Mapping[str, Any]) -> Generator:
    return part(Generator, settings.get("generator", "parametric"), "latent_directions.generator")


def _files(settings: Mapping[str, Any]) -> dict[str, str]:
    """The files of the latent generator, and the directions fitted on it (``plan.directions.guided_settings``)."""
    base = _base(settings)
    return {"directions": f"results/latent/{base.name}/directions.npz", **base.files(settings["base"])}


def _needs(settings: Mapping[str, Any]) -> Needs:
    """The needs of the latent generator, with more time, for the walks."""
    return replace(_base(settings).needs_of(settings.get("base", {})), runtime=480, conda="latent")


PART = Generator(
    name="guided",
    version=1,
    summary="Walks the latents of latent_directions.generator along fitted directions to what a prompt asks for.",
    code="evenface.generators.guided.generator:GuidedGenerator",
    settings=GuidedSettings,
    pictures=lambda settings: _base(settings).pictures_of(settings.get("base", {})),
    knows_truth=lambda settings: bool(_base(settings).knows_truth),
    files=_files,
    needs=_needs,
    built_on=_base,
)
