"""What is known of the generators while the DAG is built, before any of them is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenface.plan.directions import KNOWING, TRUTH, guided_settings

#: Stands for what the prompt asked for, where a face's labels may come from an annotator too.
REQUESTED = "requested"


def generators_of(generation: Mapping[str, Any]) -> list[str]:
    """The generators ``generation.generator`` names, the main one first, and those that ``also`` draw."""
    named = generation["generator"]
    return list(dict.fromkeys([*([named] if isinstance(named, str) else named), *(generation.get("also") or {})]))


def prompts_drawn(generation: Mapping[str, Any], generator: str, count: int) -> int:
    """How many of ``count`` prompts a generator draws: all, or what ``also`` says where only that names it."""
    named = generation["generator"]
    main = generator in ([named] if isinstance(named, str) else named)
    return count if main else min(generation["also"][generator] or count, count)


def settings_of(config: dict[str, Any], generator: str) -> dict[str, Any]:
    """The settings a generator is created with: its block of ``generation.settings``, and what it is built on."""
    if generator == "guided":
        return guided_settings(config)
    return config["generation"]["settings"].get(generator, {})


def knows_truth(generator: str, settings: Mapping[str, Any]) -> bool:
    """Whether its shards record what is true of every face; ``settings`` are those of :func:`settings_of`."""
    return generator in KNOWING or (generator == "guided" and settings.get("generator", "parametric") in KNOWING)


def obeys_prompts(generator: str) -> bool:
    """Whether a face shows, or is meant to show, what its prompt asks for."""
    return generator != "stylegan3"


def source_of(sources: str | Sequence[str], generator: str, settings: Mapping[str, Any]) -> str | None:
    """The first of ``sources`` that can tell something of the generator's faces; None if none can.

    A source is an annotator's name, ``ground_truth`` or ``requested``.
    """
    able = {REQUESTED: obeys_prompts(generator), TRUTH: knows_truth(generator, settings)}
    return next((one for one in ([sources] if isinstance(sources, str) else sources) if able.get(one, True)), None)
