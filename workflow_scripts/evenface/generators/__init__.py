"""Generators of faces: one protocol, whatever draws."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from evenface.errors import UserError
from evenface.generators.protocol import GeneratedFace, Generator
from evenface.versions import GENERATORS

__all__ = ["GeneratedFace", "Generator", "create"]

_CLASSES = {"parametric": ("evenface.generators.parametric", "ParametricGenerator")}


def create(name: str, settings: Mapping[str, Any]) -> Generator:
    """The generator ``name`` with its settings; UserError for unknown names or settings."""
    if name not in _CLASSES:
        raise UserError(f"generator {name!r} is not one of {', '.join(GENERATORS)}")
    module, cls = _CLASSES[name]
    return getattr(importlib.import_module(module), cls)(settings)
