"""The groups a contextual catalogue crosses, and how each is spoken."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenface.errors import UserError
from evenface.prompts.cues import attribute_cues, negations
from evenface.prompts.reading import read_prompt
from evenface.prompts.vocabulary import in_names, words_for
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS, UNKNOWN, study

_KEY = "generation.prompts.contextual"
HAIR = "hair_colour"


@dataclass(frozen=True)
class Group:
    """One combination of levels.

    ``levels``: axis (a dimension, ``hair_colour``, a CelebA attribute) -> level, of the axes that are crossed;
    ``person``: the words for it ("a young Asian woman with black hair"); ``cell``: its name;
    ``demographics`` and ``attributes`` as a :class:`~evenface.prompts.catalogue.Prompt` has them.
    """

    cell: str
    person: str
    levels: dict[str, str]
    demographics: dict[str, str]
    attributes: dict[str, int]


def axes_of(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Axis -> levels, in the order of cell names; axes without a level are left out."""
    axes = {axis: list(settings[axis]) for axis in ("ethnicity", "gender", "age", HAIR) if settings[axis]}
    return axes | {attribute: ["present", "absent"] for attribute in settings["attributes"]}


def protected_attributes(settings: Mapping[str, Any]) -> list[str]:
    """The CelebA attributes a context must leave alone: those that are crossed, and those the user adds."""
    hair = list(HAIR_COLOURS.values()) if settings[HAIR] else []
    return list(dict.fromkeys([*hair, *settings["attributes"], *settings["protect"]]))


def _article(text: str) -> str:
    return f"{'an' if text[0] in 'aeiouAEIOU' else 'a'} {text}"


def _slug(attribute: str, level: str) -> str:
    name = attribute.lower().replace("_", "-")
    return name if level == "present" else f"not-{name}"


def groups_of(settings: Mapping[str, Any]) -> list[Group]:
    """Every combination of the levels of a checked ``generation.prompts.contextual``, in the order of the axes.

    UserError for phrases of ``attributes`` that negate, contradict the rest, or say nothing of their attribute,
    and for settings that cross nothing.
    """
    axes = axes_of(settings)
    if not axes:
        raise UserError(
            f"config key {_KEY}: every axis is empty; give ethnicity, gender, age, hair_colour or attributes levels"
        )
    for attribute, phrases in settings["attributes"].items():
        _check_phrases(attribute, phrases)
    groups = []
    for combination in itertools.product(*axes.values()):
        levels = dict(zip(axes, combination))
        demographics, own = {d: levels.get(d, UNKNOWN) for d in study()}, settings.get("words")
        words = [words_for(d, levels[d], own) for d in ("age", "ethnicity") if d in levels]
        words.append(words_for("gender", levels["gender"], own) if "gender" in levels else "person")
        person = _article(" ".join(words)) + (f" with {levels[HAIR]} hair" if HAIR in levels else "")
        attributes = {HAIR_COLOURS[levels[HAIR]]: 1} if HAIR in levels else {}
        for attribute, phrases in settings["attributes"].items():
            person += f", {phrases[levels[attribute]]}"
            attributes[attribute] = 1 if levels[attribute] == "present" else -1
        said = read_prompt(person)
        if said.conflicts or _differs(said.demographics, demographics):
            remarks = [*said.conflicts, *said.unsure]
            wrong = remarks[0].text if remarks else f"{person!r} is read as another group"
            raise UserError(f"config key {_KEY}.attributes: contradiction, {wrong}; reword the phrase in {person!r}")
        cell = "-".join(_slug(a, v) if a in settings["attributes"] else in_names(v) for a, v in levels.items())
        groups.append(Group(cell, person, levels, demographics, attributes))
    return groups


def _differs(said: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether words for a person are read as another group. Levels that are not the default's are not read from words."""
    known = study()
    return any(
        said[d] != level
        for d, level in wanted.items()
        if d in said and (known[d] == DIMENSIONS[d] or said[d] in known[d])
    )


def _check_phrases(attribute: str, phrases: Mapping[str, str]) -> None:
    key = f"config key {_KEY}.attributes.{attribute}"
    for level, phrase in phrases.items():
        if words := negations(phrase):
            raise UserError(f"{key}.{level}: {phrase!r} negates ({words[0]!r}), and text-to-image models draw what is "
                            "negated; say what is there instead, such as 'neutral expression'")  # fmt: skip
        asked = read_prompt(phrase).attributes.get(attribute)
        if asked is not None and (asked == 1) != (level == "present"):
            raise UserError(f"{key}.{level}: {phrase!r} asks for the opposite; swap or reword the phrases")
    if not attribute_cues(phrases["present"], [attribute]):
        raise UserError(f"{key}.present: {phrases['present']!r} says nothing of {attribute}; use a plain word for it")
