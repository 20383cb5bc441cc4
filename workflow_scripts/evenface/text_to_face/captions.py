"""Captions of training faces: the truth about a face, in the words of prompts.

Most captions follow the project's own template. The others say the same in other orders and words, which teaches the
model words instead of positions. Everything that a caption says is true. Captions leave out what is undefined (such as
hair between two colours), and sometimes what is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evenface.taxonomy import HAIR_COLOURS, UNKNOWN

#: Words for a level; the template's own comes first.
LEVEL_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "gender": {"female": ("woman", "lady", "female person"), "male": ("man", "gentleman", "male person")},
    "age": {"young": ("young", "youthful"), "middle_aged": ("middle-aged",), "senior": ("elderly", "senior", "old")},
    "ethnicity": {
        "asian": ("Asian", "East Asian"),
        "black": ("Black", "African"),
        "white": ("white", "Caucasian"),
    },
}

#: Hair colours as adjectives; the template's own comes first.
HAIR_WORDS: dict[str, tuple[str, ...]] = {
    "black": ("black",), "blond": ("blond", "blonde"), "brown": ("brown",), "gray": ("gray", "grey"),
}  # fmt: skip

#: Phrases for an attribute that is present; the template's own comes first.
TRAIT_PHRASES: dict[str, tuple[str, ...]] = {
    "Smiling": ("smiling", "a smile"),
    "Eyeglasses": ("eyeglasses", "glasses"),
    "Mouth_Slightly_Open": ("mouth slightly open",),
    "High_Cheekbones": ("high cheekbones",),
    "Pointy_Nose": ("pointy nose",),
    "Big_Lips": ("big lips",),
    "Chubby": ("chubby",),
    "Narrow_Eyes": ("narrow eyes",),
    "Big_Nose": ("big nose",),
    "Oval_Face": ("oval face",),
    "Double_Chin": ("double chin",),
    "Bags_Under_Eyes": ("bags under eyes", "bags under the eyes"),
    "Bushy_Eyebrows": ("bushy eyebrows",),
    "Arched_Eyebrows": ("arched eyebrows",),
    "Rosy_Cheeks": ("rosy cheeks",),
    "Pale_Skin": ("pale skin",),
    "Bangs": ("bangs",),
    "Straight_Hair": ("straight hair",),
    "Wavy_Hair": ("wavy hair",),
    "Wearing_Lipstick": ("lipstick",),
    "Heavy_Makeup": ("heavy makeup", "heavy make-up"),
    "Receding_Hairline": ("receding hairline",),
    "No_Beard": ("no beard", "clean-shaven", "beardless"),
    "Goatee": ("goatee",),
    "Mustache": ("mustache", "moustache"),
    "5_o_Clock_Shadow": ("stubble", "5 o'clock shadow"),
    "Sideburns": ("sideburns",),
}

#: Attributes that captions do not mention for the other gender.
_SAID_OF = {"No_Beard": "male", "Receding_Hairline": "male"}

#: Words about the photograph. They are used for all faces alike, so the model learns to ignore them.
STYLE_WORDS: tuple[str, ...] = (
    "high quality", "highly detailed", "sharp focus", "studio lighting", "natural light", "soft light", "8k", "4k", "hd",
    "realistic", "photorealistic", "professional photography", "plain background", "blurred background", "looking at camera",
    "front view", "centered", "color photo", "raw photo", "dslr", "bokeh", "cinematic", "beautiful", "neutral expression",
)  # fmt: skip

#: Words that negative prompts use. As words about the photograph, the model learns to ignore them.
NEGATIVE_WORDS: tuple[str, ...] = (
    "deformed", "disfigured", "drawing", "cartoon", "cgi", "render", "blurry", "3d", "sketch", "painting", "illustration",
    "anime", "low quality", "worst quality", "bad anatomy", "ugly", "distorted", "mutated", "extra limbs", "watermark",
    "text", "signature", "cropped", "out of frame", "duplicate", "low resolution", "jpeg artifacts", "noise",
    "overexposed", "underexposed", "oversaturated", "grayscale", "monochrome", "asymmetric", "unnatural",
)  # fmt: skip

#: Shares: a fact is left out; a trait that is present is mentioned; words of style are added.
FORGOTTEN, MENTIONED, STYLED = 0.06, 0.8, 0.15
#: Largest number of traits in one caption.
_MOST_TRAITS = 3


def _one(random: np.random.Generator, choices: Sequence[str], first: float = 0.6) -> str:
    """One of ``choices``; the first with probability ``first``."""
    if len(choices) == 1 or random.random() < first:
        return choices[0]
    return choices[1 + int(random.integers(len(choices) - 1))]


def facts(truth: Mapping[str, Any]) -> tuple[dict[str, str], str, list[str]]:
    """What a caption may say: known levels, the hair colour ("" if undefined), and traits that are present."""
    labels = truth["attributes"]
    levels = {d: truth[d] for d in LEVEL_WORDS if truth[d] != UNKNOWN}
    colours = [colour for colour, name in HAIR_COLOURS.items() if labels[name] == 1]
    traits = [
        name for name in TRAIT_PHRASES if labels[name] == 1 and _SAID_OF.get(name, truth["gender"]) == truth["gender"]
    ]
    return levels, colours[0] if colours else "", traits


def caption(truth: Mapping[str, Any], random: np.random.Generator) -> str:
    """One caption of a face; ``truth`` has ``attributes`` (CelebA names) and a level per dimension."""
    levels, colour, traits = facts(truth)
    words = {d: _one(random, LEVEL_WORDS[d][level]) for d, level in levels.items() if random.random() >= FORGOTTEN}
    hair = _one(random, HAIR_WORDS[colour]) if colour and random.random() >= FORGOTTEN else ""
    mentioned = [name for name in traits if random.random() < MENTIONED]
    order = random.permutation(len(mentioned))[:_MOST_TRAITS]
    phrases = [_one(random, TRAIT_PHRASES[mentioned[i]]) for i in order]
    if random.random() < STYLED:
        phrases += [STYLE_WORDS[i] for i in random.permutation(len(STYLE_WORDS))[: 1 + int(random.integers(3))]]
    form = _template if random.random() < 0.5 else _FORMS[int(random.integers(len(_FORMS)))]
    return form(words, hair, phrases)


def neutral_text(random: np.random.Generator) -> str:
    """Text that says nothing about a face (often empty), for steps in which the model learns to draw any face."""
    if random.random() < 0.6:
        return ""
    pool = NEGATIVE_WORDS if random.random() < 0.8 else STYLE_WORDS
    if random.random() < 0.4:
        return ", ".join(NEGATIVE_WORDS[:7])  # the shipped configuration's negative prompt
    chosen = random.permutation(len(pool))[: 1 + int(random.integers(10))]
    return ", ".join(pool[i] for i in chosen)


_Words = Mapping[str, str]


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _person(words: _Words, *before: str) -> str:
    """The person with an article, such as "an elderly Asian woman"."""
    text = _join(*before, words.get("age", ""), words.get("ethnicity", ""), words.get("gender", "person"))
    return f"{'an' if text[0] in 'aeiouAEIOU' else 'a'} {text}"


def _template(words: _Words, hair: str, phrases: Sequence[str]) -> str:
    # The configuration's template always says "a".
    text = _join("portrait photo of a", words.get("age", ""), words.get("ethnicity", ""), words.get("gender", "person"))
    return ", ".join([text + (f" with {hair} hair" if hair else ""), *phrases])


def _photo(words: _Words, hair: str, phrases: Sequence[str]) -> str:
    return ", ".join([f"a photo of {_person(words)}", *([f"{hair} hair"] if hair else []), *phrases])


def _haired(words: _Words, hair: str, phrases: Sequence[str]) -> str:
    return ", ".join([f"close-up portrait of {_person(words, f'{hair}-haired' if hair else '')}", *phrases])


def _tags(words: _Words, hair: str, phrases: Sequence[str]) -> str:
    parts = [words.get(d, "") for d in ("ethnicity", "gender", "age")] + [f"{hair} hair" if hair else ""]
    return ", ".join([part for part in (*parts, *phrases) if part] or ["person"])


def _headshot(words: _Words, hair: str, phrases: Sequence[str]) -> str:
    has = [f"{hair} hair"] if hair else []
    has += list(phrases)
    return f"headshot of {_person(words)}" + (f" with {' and '.join(has)}" if has else "")


def _hair_first(words: _Words, hair: str, phrases: Sequence[str]) -> str:
    return ", ".join([*([f"{hair} hair"] if hair else []), f"face of {_person(words)}", *phrases])


_FORMS: tuple[Callable[[_Words, str, Sequence[str]], str], ...] = (_photo, _haired, _tags, _headshot, _hair_first)


def words_of_captions() -> list[str]:
    """Every word of captions and neutral texts, in lower case and sorted. The tokenizer must know them."""
    texts = [*STYLE_WORDS, *NEGATIVE_WORDS, *_FIXED]
    texts += [word for levels in LEVEL_WORDS.values() for choices in levels.values() for word in choices]
    texts += [word for choices in (*HAIR_WORDS.values(), *TRAIT_PHRASES.values()) for word in choices]
    return sorted({word for text in texts for word in text.lower().split()})


#: Words of the captions' forms, and similar words in prompts that people write.
_FIXED: tuple[str, ...] = (
    "portrait photo of a an with hair haired and person people face close-up headshot photograph picture image the in on "
    "wearing having his her who is has full beard hat bald girl boy adult skin eyes nose mouth lips smile happy serious sad "
    "short long curly hairstyle dark light brown red",
)
