"""One prompt of the catalogue, and a remark about its words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from evenface.seeds import seed_from


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


def told_apart(prompts: Iterable[Prompt]) -> list[Prompt]:
    """The same prompts; those of different texts whose cells got the same name get longer names.

    Names end in 24 or 32 bits of a digest, which is too short for many thousands of prompts. The longer ones end in 63
    bits. They do not depend on the order of the prompts.
    """
    prompts, texts = list(prompts), {}
    shared = {p.cell for p in prompts if texts.setdefault(p.cell, p.text) != p.text}
    return [replace(p, cell=f"{p.cell}-{seed_from('cell', p.text):016x}") if p.cell in shared else p for p in prompts]
