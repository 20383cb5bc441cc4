"""Generators of faces. All follow one protocol.

Every generator is a part in its own package; :func:`create` makes one. Importing this package loads no slow libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evenface import parts

if TYPE_CHECKING:
    from evenface.generators.protocol import Generator


def create(name: str, settings: Mapping[str, Any]) -> Generator:
    """The generator ``name``; UserError for unknown names or settings.

    ``settings`` is its block of ``generation.settings``, with ``files`` (file key -> path, as its part
    describes them), ``device`` and ``threads`` added.
    """
    return parts.part(parts.Generator, name, "generation.generator").load()(settings)
