"""Words of prompts: how a cell is spoken, and what a plain prompt says of the face.

A plain ``prompt.txt`` carries no table of demographics, so they are read off its words with the
phrase list below; what a prompt leaves open stays open.
"""

from __future__ import annotations

import re
from functools import lru_cache

from evenface.taxonomy import UNKNOWN

#: How a level is written into a factorial prompt.
WORDS: dict[str, dict[str, str]] = {
    "gender": {"female": "woman", "male": "man"},
    "age": {"young": "young", "middle_aged": "middle-aged", "senior": "elderly"},
    "ethnicity": {"asian": "Asian", "black": "Black", "white": "white"},
}

_DEMOGRAPHIC_PHRASES: tuple[tuple[str, str, str], ...] = (
    (r"wom[ae]n|female|girl|lady", "gender", "female"),
    (r"m[ae]n|male|boy|gentleman", "gender", "male"),
    (r"middle[- ]aged", "age", "middle_aged"),
    (r"elderly|senior|old", "age", "senior"),
    (r"young|youthful", "age", "young"),
    (r"asian", "ethnicity", "asian"),
    (r"black(?! hair|-hair)|african", "ethnicity", "black"),
    (r"white(?! hair|-hair)|caucasian", "ethnicity", "white"),
)

#: Phrase (regular expression, whole words) and the attribute with the value it asks for.
ATTRIBUTE_PHRASES: tuple[tuple[str, str, int], ...] = (
    (r"black[- ]hair(?:ed)?", "Black_Hair", 1),
    (r"blonde?[- ]hair(?:ed)?|blonde?", "Blond_Hair", 1),
    (r"brown[- ]hair(?:ed)?", "Brown_Hair", 1),
    (r"gr[ae]y[- ]hair(?:ed)?", "Gray_Hair", 1),
    (r"bald", "Bald", 1),
    (r"bangs", "Bangs", 1),
    (r"straight hair", "Straight_Hair", 1),
    (r"wavy hair", "Wavy_Hair", 1),
    (r"receding hairline", "Receding_Hairline", 1),
    (r"sideburns", "Sideburns", 1),
    (r"no beard|beardless|clean[- ]shaven", "No_Beard", 1),
    (r"goatee", "Goatee", 1),
    (r"m(?:o)?ustache", "Mustache", 1),
    (r"5 o'?clock shadow|stubble", "5_o_Clock_Shadow", 1),
    (r"(?<!no )(?:full )?beard", "No_Beard", -1),
    (r"(?:eye)?glasses", "Eyeglasses", 1),
    (r"hat", "Wearing_Hat", 1),
    (r"lipstick", "Wearing_Lipstick", 1),
    (r"heavy make-?up", "Heavy_Makeup", 1),
    (r"smiling|smile", "Smiling", 1),
    (r"mouth slightly open", "Mouth_Slightly_Open", 1),
    (r"high cheekbones?", "High_Cheekbones", 1),
    (r"bushy eyebrows", "Bushy_Eyebrows", 1),
    (r"arched eyebrows", "Arched_Eyebrows", 1),
    (r"big lips", "Big_Lips", 1),
    (r"big nose", "Big_Nose", 1),
    (r"pointy nose", "Pointy_Nose", 1),
    (r"narrow eyes", "Narrow_Eyes", 1),
    (r"bags under (?:the )?eyes", "Bags_Under_Eyes", 1),
    (r"oval face", "Oval_Face", 1),
    (r"pale skin", "Pale_Skin", 1),
    (r"rosy cheeks", "Rosy_Cheeks", 1),
    (r"chubby", "Chubby", 1),
    (r"double chin", "Double_Chin", 1),
)  # fmt: skip

_COMPILED_DEMOGRAPHICS = [(re.compile(rf"\b(?:{p})\b"), d, level) for p, d, level in _DEMOGRAPHIC_PHRASES]
_COMPILED_ATTRIBUTES = [(re.compile(rf"\b(?:{p})\b"), a, v) for p, a, v in ATTRIBUTE_PHRASES]

#: CLIP's text encoder takes 77 tokens, two of which mark start and end (Radford et al., 2021).
CLIP_PROMPT_TOKENS = 75
#: CLIP's pre-tokeniser: each piece becomes one token or more.
_CLIP_PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+")


def read_prompt(text: str) -> tuple[dict[str, str], dict[str, int], list[str]]:
    """Demographics, attributes and contradictions that the words of a prompt state.

    A dimension that the text leaves open is ``unknown``. Contradictions are sentences such as
    ``"both 'male' and 'female'"``.
    """
    parts = [_stated(part) for part in text.lower().split(",")]
    demographics = {"gender": UNKNOWN, "age": UNKNOWN, "ethnicity": UNKNOWN}
    attributes: dict[str, int] = {}
    conflicts: list[str] = []
    for i in sorted({i for levels, _ in parts for i in levels}):
        _, dimension, level = _COMPILED_DEMOGRAPHICS[i]
        if demographics[dimension] not in (UNKNOWN, level):
            conflicts.append(f"{dimension} is both {demographics[dimension]!r} and {level!r}")
        demographics[dimension] = level
    for i in sorted({i for _, names in parts for i in names}):
        _, attribute, value = _COMPILED_ATTRIBUTES[i]
        if attributes.get(attribute, value) != value:
            conflicts.append(f"{attribute} is asked for and excluded")
        attributes[attribute] = value
    return demographics, attributes, conflicts


@lru_cache(maxsize=1 << 14)
def _stated(part: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which demographic and which attribute phrases a part between commas has; no phrase holds a comma."""
    return (
        tuple(i for i, (pattern, _, _) in enumerate(_COMPILED_DEMOGRAPHICS) if pattern.search(part)),
        tuple(i for i, (pattern, _, _) in enumerate(_COMPILED_ATTRIBUTES) if pattern.search(part)),
    )


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
