"""Faces from text-to-image models, through diffusers: from a prompt, or from an image and a prompt."""

from __future__ import annotations

from evenface.generators.diffusion.generator import DEFAULTS, DiffusionGenerator

__all__ = ["DEFAULTS", "DiffusionGenerator"]
