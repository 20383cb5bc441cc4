"""Pictures that exist before they are planned."""

from __future__ import annotations

from typing import NamedTuple

from evenface.prompts.prompt import Prompt


class Listed(NamedTuple):
    """A picture: what is said of it, its path, and who is shown (empty: somebody that no other picture shows)."""

    prompt: Prompt
    image: str
    identity: str = ""
