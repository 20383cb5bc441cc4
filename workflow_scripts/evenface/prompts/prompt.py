"""One prompt of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prompt:
    """One prompt of the catalogue: its cell, its text, and what that asks for.

    ``place`` says where it was written, for messages ("prompts.csv row 3"). Of a contextual prompt, ``crossed``
    holds the (axis, level) pairs it was written for, and ``context`` what it shares with other groups.
    """

    cell: str
    text: str
    demographics: dict[str, str]
    attributes: dict[str, int] = field(default_factory=dict)
    place: str = ""
    crossed: tuple[tuple[str, str], ...] = ()
    context: str = ""
