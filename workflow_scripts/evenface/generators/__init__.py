"""Generators of faces: one protocol, whatever draws.

Every generator is a part in a package of its own; :func:`create` makes one. Importing this package is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evenface import parts

if TYPE_CHECKING:
    from evenface.generators.protocol import Generator


def create(name: str, settings: Mapping[str, Any]) -> Generator:
    """The generator ``name``; UserError for unknown names or settings.

    ``settings`` are its block of ``generation.settings`` with ``files`` (file key -> path, as its part
    describes them), ``device`` and ``threads``.
    """
    return parts.part(parts.Generator, name, "generation.generator").load()(settings)
