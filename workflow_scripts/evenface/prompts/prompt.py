"""One prompt of the catalogue, and a remark about its words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True)
class Prompt:
    """One prompt of the catalogue: its cell, its text, and what that asks for.

    ``place`` says where it was written, for messages ("prompts.csv row 3"). Of a contextual prompt, ``crossed``
    holds the (axis, level) pairs it was written for, and ``context`` what it shares with other groups. ``column`` says where
    in its line a plain prompt begins (from 1; 0 elsewhere). ``stated`` names the dimensions and attributes that a table's
    columns state, whatever the words say.
    """

    cell: str
    text: str
    demographics: dict[str, str]
    attributes: dict[str, int] = field(default_factory=dict)
    place: str = ""
    crossed: tuple[tuple[str, str], ...] = ()
    context: str = ""
    column: int = 0
    stated: frozenset[str] = frozenset()


class Remark(NamedTuple):
    """A sentence about words that were not read, and the dimensions or attributes it concerns."""

    names: tuple[str, ...]
    text: str
