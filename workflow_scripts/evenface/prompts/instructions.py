"""Instructions to editing models, filled in from what a cell asks for."""

from __future__ import annotations

from collections.abc import Mapping

from evenface.errors import UserError
from evenface.prompts.vocabulary import words_for
from evenface.taxonomy import HAIR_COLOURS, UNKNOWN

_FIELDS = ("prompt", "ethnicity", "gender", "age", "hair")


def instruction(template: str, prompt: str, demographics: Mapping[str, str], attributes: Mapping[str, int]) -> str:
    """``template`` with ``{ethnicity} {gender} {age} {hair} {prompt}``, and further dimensions of the study, filled in.

    Raises UserError for another field, and for one that the prompt leaves open.
    """
    hair = [colour for colour, name in HAIR_COLOURS.items() if attributes.get(name) == 1]
    known = {"prompt": prompt, "hair": f"{hair[0]} hair" if len(hair) == 1 else None}
    known |= {d: words_for(d, level) for d, level in demographics.items() if level != UNKNOWN}
    told = {name: text for name, text in known.items() if text}
    try:
        text = template.format(**told)
    except KeyError as error:
        field = str(error.args[0])
        if field in _FIELDS or field in demographics:
            raise UserError(f"the instruction {template!r} uses {{{field}}}, which the prompt {prompt!r} leaves open; "
                            "leave it out of the instruction, or state it in the prompt") from error  # fmt: skip
        raise _unusable(template, error) from error
    except (IndexError, ValueError, AttributeError) as error:
        raise _unusable(template, error) from error
    if not text.strip():
        raise UserError("the instruction is empty; write what is to be changed")
    return text


def _unusable(template: str, error: Exception) -> UserError:
    fields = ", ".join(f"{{{field}}}" for field in _FIELDS)
    return UserError(f"the instruction {template!r} cannot be filled in ({error}); use {fields}")
