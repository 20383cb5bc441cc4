"""Settings of the built-in grammar, ``generation.prompts.contextual.grammar``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evenface.fields import Names, Text
from evenface.parts import Settings


class GrammarSettings(Settings):
    """The built-in grammar of contexts."""

    slots: Names[str] = Field(
        [],
        description="Slots in the order of the sentence, among expression, pose, clothing, activity, place, light, "
        "background, camera; an empty list takes all.",
    )
    phrases: dict[str, Annotated[Names[Text], Field(min_length=1)]] = Field(
        {}, description="Slot -> phrases. They replace the built-in ones; a new name adds your own slot."
    )
