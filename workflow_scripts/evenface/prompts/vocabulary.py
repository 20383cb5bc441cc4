"""How a cell is spoken, and how long and of which characters a prompt may be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from evenface.taxonomy import years_of

#: How a level is written into a prompt.
_WORDS: dict[str, dict[str, str]] = {
    "gender": {"female": "woman", "male": "man"},
    "age": {"young": "young", "middle_aged": "middle-aged", "senior": "elderly"},
    "ethnicity": {
        "asian": "Asian", "black": "Black", "white": "white", "latino_hispanic": "Latino", "others": "mixed-race",
    },
}  # fmt: skip


def words_for(dimension: str, level: str, own: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """How a level is written into a prompt; ``own`` has the user's words, dimension -> level -> words.

    A band of ages is its years; other levels are their names, an ethnicity with capital letters.

    >>> words_for("ethnicity", "middle_eastern"), words_for("age", "20-29"), words_for("age", "70+")
    ('Middle Eastern', '20 to 29 year old', 'over 70 year old')
    """
    if given := (own or {}).get(dimension, {}).get(level) or _WORDS.get(dimension, {}).get(level):
        return given
    if dimension == "age" and (bounds := years_of(level)):
        first, end = bounds
        return f"over {first:.0f} year old" if end == math.inf else f"{first:.0f} to {end - 1:.0f} year old"
    words = level.replace("_", " ")
    return words.title() if dimension == "ethnicity" else f"{words} person" if dimension == "gender" else words


def in_names(level: str) -> str:
    """A level as a part of a cell's name, and so of paths.

    >>> in_names("middle_aged"), in_names("20-29")
    ('middle_aged', '20_29')
    """
    return re.sub(r"[^A-Za-z0-9_]+", "_", level).strip("_")


#: CLIP's text encoder takes 77 tokens, two of which mark start and end (Radford et al., 2021).
CLIP_PROMPT_TOKENS = 75
#: CLIP's pre-tokeniser: each piece becomes one token or more.
_CLIP_PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+")


#: What XML, and so an image's metadata, cannot hold; and the most characters of a prompt that surely fit there.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MAX_PROMPT = 4000


def unwritable(text: str) -> str:
    """Why a prompt cannot be kept in the metadata of its images, with the remedy; empty when it can."""
    if wrong := _UNWRITABLE.search(text):
        return f"the character U+{ord(wrong.group()):04X} cannot be kept in an image's metadata; remove it"
    if len(text) > MAX_PROMPT:
        return f"{len(text)} characters, {MAX_PROMPT} can be kept in an image's metadata; shorten it"
    return ""


def clip_tokens_at_least(text: str) -> int:
    """Lower bound of the CLIP tokens of ``text``, start and end marks not counted."""
    return len(_CLIP_PIECE.findall(text))


def clip_cut(text: str, tokens: int) -> str:
    """What of ``text`` surely lies beyond its first CLIP ``tokens``, shortened; empty when all of it may fit."""
    starts = [piece.start() for piece in _CLIP_PIECE.finditer(text)]
    lost = text[starts[tokens] :] if len(starts) > tokens else ""
    return lost if len(lost) < 80 else f"{lost[:77]}..."
