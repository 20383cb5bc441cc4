"""Annotators say what a face shows. All follow one protocol.

Every annotator is a part in its own package; :func:`create` makes one. Importing this package loads no slow libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evenface import parts

if TYPE_CHECKING:
    from evenface.annotators.annotating import Annotator


def create(name: str, settings: Mapping[str, Any] | None = None) -> Annotator:
    """The annotator ``name``; UserError for an unknown name or setting.

    ``settings`` are those of the configuration's block of that name, including weights, with ``device`` and
    ``threads`` added. Its ``weights`` are the verdicts on the published files that it opened
    (:mod:`evenface.checkpoints.origin`).
    """
    from evenface.checkpoints.origin import recorded

    described = parts.part(parts.Annotator, name, "annotation.annotators")
    with recorded() as weights:
        annotator = described.load()(dict(settings or {}))
    if weights:
        annotator.weights = tuple(weights)
    return annotator
