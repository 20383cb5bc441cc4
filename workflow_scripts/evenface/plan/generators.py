"""What is known of the generators while the DAG is built, before any of them is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenface.parts import Generator, part
from evenface.plan.directions import TRUTH, guided_settings

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
    if described(generator).built_on:
        return guided_settings(config, generator)
    return config["generation"]["settings"].get(generator, {})


def described(generator: str) -> Generator:
    """What is known of a generator; UserError for one that there is not."""
    return part(Generator, generator, "generation.generator")


def source_of(sources: str | Sequence[str], generator: str, settings: Mapping[str, Any]) -> str | None:
    """The first of ``sources`` that can tell something of the generator's faces; None if none can.

    A source is an annotator's name, ``ground_truth`` or ``requested``.
    """
    about = described(generator)
    able = {REQUESTED: about.obeys_prompts, TRUTH: about.truth_known(settings)}
    return next((one for one in ([sources] if isinstance(sources, str) else sources) if able.get(one, True)), None)
