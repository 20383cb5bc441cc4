"""What is known of the generators while the DAG is built, before any of them is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: What a prompt or an annotator's name can stand for where a face's labels come from.
REQUESTED, TRUTH = "requested", "ground_truth"


def generators_of(generation: Mapping[str, Any]) -> list[str]:
    """The generators ``generation.generator`` names, the main one first."""
    named = generation["generator"]
    return [named] if isinstance(named, str) else list(named)


def knows_truth(generator: str, settings: Mapping[str, Any]) -> bool:
    """Whether its shards record what is true of every face; ``settings`` is its block of ``generation.settings``."""
    return generator == "parametric" or (generator == "guided" and settings.get("base", "parametric") == "parametric")


def obeys_prompts(generator: str) -> bool:
    """Whether a face shows, or is meant to show, what its prompt asks for."""
    return generator != "stylegan3"


def source_of(sources: str | Sequence[str], generator: str, settings: Mapping[str, Any]) -> str | None:
    """The first of ``sources`` that can tell something of the generator's faces; None if none can.

    A source is an annotator's name, ``ground_truth`` or ``requested``.
    """
    able = {REQUESTED: obeys_prompts(generator), TRUTH: knows_truth(generator, settings)}
    return next((one for one in ([sources] if isinstance(sources, str) else sources) if able.get(one, True)), None)
