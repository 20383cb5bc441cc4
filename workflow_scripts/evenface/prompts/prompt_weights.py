"""Weights in prompts, ``(term:1.4)``, as the web interfaces of Stable Diffusion write them.

``(term:1.4)`` weighs a term, ``(term)`` is 1.1 times and ``[term]`` 1/1.1 times as much; they nest, and ``\\(`` is a
plain bracket. Text-to-image pipelines read none of this: they would take the signs for text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evenface.errors import UserError

#: What a bracket without a number multiplies by.
STEP = 1.1
#: Larger weights than these give noise, and mostly come from a slip.
LARGEST = 5.0

_WEIGHT = re.compile(r":\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)")
_SIGNS = "()[]"


@dataclass(frozen=True)
class Span:
    """Characters ``start`` to ``end`` (excluded) of a prompt without its signs, and what they weigh."""

    start: int
    end: int
    weight: float


def read_weights(prompt: str) -> tuple[str, list[Span]]:
    """The prompt without its signs, and its spans of one weight each, in order; they cover the text.

    Raises UserError naming the place for brackets that do not match and weights that are no number from 0 to
    ``LARGEST``.
    """
    pieces: list[list] = []  # [text, weight]
    open_brackets: list[tuple[str, int, int]] = []  # sign, first piece within it, place

    def add(text: str) -> None:
        pieces.append([text, 1.0])

    def scale(first: int, factor: float) -> None:
        for piece in pieces[first:]:
            piece[1] *= factor

    place = 0
    while place < len(prompt):
        sign = prompt[place]
        if sign == "\\" and prompt[place + 1 : place + 2] in tuple(_SIGNS):
            add(prompt[place + 1])
            place += 2
            continue
        if sign in "([":
            open_brackets.append((sign, len(pieces), place))
        elif sign in ")]":
            if not open_brackets or open_brackets[-1][0] != "(["[")]".index(sign)]:
                raise UserError(
                    f"prompt {_around(prompt, place)}: {sign!r} closes nothing; write \\{sign} for the sign"
                )
            opened, first, _ = open_brackets.pop()
            scale(first, STEP if opened == "(" else 1 / STEP)
        elif sign == ":" and open_brackets and open_brackets[-1][0] == "(":
            weight = _WEIGHT.match(prompt, place)
            if weight:
                factor = float(weight[1])
                if not 0 <= factor <= LARGEST:
                    raise UserError(
                        f"prompt {_around(prompt, place)}: the weight {weight[1]} is not between 0 and {LARGEST:g}"
                    )
                scale(open_brackets.pop()[1], factor)
                place = weight.end()
                continue
            add(sign)
        else:
            add(sign)
        place += 1
    if open_brackets:
        sign, _, where = open_brackets[-1]
        raise UserError(f"prompt {_around(prompt, where)}: {sign!r} is never closed; write \\{sign} for the sign")
    return _joined(pieces)


def has_weights(prompt: str) -> bool:
    """Whether a prompt holds signs that would be read as weights."""
    plain = re.sub(r"\\[()\[\]]", "", prompt)
    return any(sign in plain for sign in _SIGNS)


def plain_text(prompt: str) -> str:
    """The prompt without its signs; as it is where they cannot be read."""
    if not any(sign in prompt for sign in (*_SIGNS, "\\")):
        return prompt
    try:
        return read_weights(prompt)[0]
    except UserError:
        return prompt


def _joined(pieces: list[list]) -> tuple[str, list[Span]]:
    text, spans = "", []
    for piece, weight in pieces:
        if spans and spans[-1].weight == weight:
            spans[-1] = Span(spans[-1].start, len(text) + len(piece), weight)
        else:
            spans.append(Span(len(text), len(text) + len(piece), weight))
        text += piece
    return text, spans


def _around(prompt: str, place: int) -> str:
    return repr(prompt[max(place - 12, 0) : place + 24])
