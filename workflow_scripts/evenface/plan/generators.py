"""What the plan needs to know about generators; none of them is imported while the DAG is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenface.parts import Generator, part
from evenface.plan.directions import TRUTH, guided_settings

#: As a source of labels or groups: what the prompt asked for, instead of an annotator's answer.
REQUESTED = "requested"
#: Begins the words about demographics that an annotator gave.
ANNOTATED = "annotated by "


def generators_of(generation: Mapping[str, Any]) -> list[str]:
    """The generators of ``generation.generator``, the main one first, and then those of ``generation.also``."""
    named = generation["generator"]
    return list(dict.fromkeys([*([named] if isinstance(named, str) else named), *(generation.get("also") or {})]))


def prompts_drawn(generation: Mapping[str, Any], generator: str, count: int) -> int:
    """How many of ``count`` prompts a generator draws: all, or the number in ``also`` if only ``also`` names it."""
    named = generation["generator"]
    main = generator in ([named] if isinstance(named, str) else named)
    return count if main else min(generation["also"][generator] or count, count)


def settings_of(config: dict[str, Any], generator: str) -> dict[str, Any]:
    """The settings to create a generator with: its block of ``generation.settings``, and what it is built on."""
    if described(generator).built_on:
        return guided_settings(config, generator)
    return config["generation"]["settings"].get(generator, {})


def described(generator: str) -> Generator:
    """The description of a generator; UserError for an unknown name."""
    return part(Generator, generator, "generation.generator")


def source_in_words(faces: Mapping[str, int]) -> str:
    """Where the gender, age and ethnicity in use come from: source -> number of faces, in words.

    >>> source_in_words({"requested": 143, "fairface": 37})
    'planned (143 faces), annotated by fairface (37 faces)'
    """
    named = {REQUESTED: "planned", TRUTH: "recorded truth of the renderer"}
    words = {named.get(source, f"{ANNOTATED}{source}"): count for source, count in faces.items()}
    return ", ".join(f"{word} ({count} faces)" if len(words) > 1 else word for word, count in words.items())


def source_of(sources: str | Sequence[str], generator: str, settings: Mapping[str, Any]) -> str | None:
    """The first of ``sources`` that knows something about the generator's faces; None if none of them does.

    A source is an annotator's name, ``ground_truth`` or ``requested``.
    """
    about = described(generator)
    able = {REQUESTED: about.obeys_prompts, TRUTH: about.truth_known(settings)}
    return next((name for name in ([sources] if isinstance(sources, str) else sources) if able.get(name, True)), None)
