"""Generators of faces: one protocol, whatever draws."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from evenface.errors import check_names
from evenface.generators.protocol import GeneratedFace, Generator
from evenface.versions import GENERATORS

__all__ = ["GeneratedFace", "Generator", "create"]

_CLASSES = {
    "parametric": ("evenface.generators.parametric", "ParametricGenerator"),
    "diffusion": ("evenface.generators.diffusion", "DiffusionGenerator"),
    "instruct_pix2pix": ("evenface.generators.instruct_pix2pix", "InstructPix2PixGenerator"),
    "stylegan3": ("evenface.generators.stylegan3", "StyleGAN3Generator"),
    "guided": ("evenface.generators.guided", "GuidedGenerator"),
}


def create(name: str, settings: Mapping[str, Any]) -> Generator:
    """The generator ``name``; UserError for unknown names or settings.

    ``settings`` are its block of ``generation.settings`` with ``files`` (file key -> path, see
    :mod:`evenface.assets.generator_files`), ``device`` and ``threads``.
    """
    check_names("generation.generator", [name], GENERATORS)
    module, cls = _CLASSES[name]
    return getattr(importlib.import_module(module), cls)(settings)
