"""What a phrase of a prompt says of CelebA's attributes: stated, negated, or said of a thing and so not read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evenface.prompts import lexicon
from evenface.prompts.levels import Remarks
from evenface.taxonomy import HAIR_COLOURS

#: Phrase (regular expression, whole words) and the attribute with the value it asks for; hair is read by :func:`_hair`.
ATTRIBUTE_PHRASES: tuple[tuple[str, str, int], ...] = (
    (r"bald|bald[- ]headed", "Bald", 1),
    (r"bangs", "Bangs", 1),
    (r"receding hairline", "Receding_Hairline", 1),
    (r"sideburns", "Sideburns", 1),
    (r"beardless|clean[- ]?shaven", "No_Beard", 1),
    (r"goatee", "Goatee", 1),
    (r"m(?:o)?ustache|m(?:o)?ustached|mustachioed", "Mustache", 1),
    (r"5 o'?clock shadow|stubble", "5_o_Clock_Shadow", 1),
    (r"beard|bearded|facial hair", "No_Beard", -1),
    (r"(?:eye)?glasses|spectacles", "Eyeglasses", 1),
    (r"hats?", "Wearing_Hat", 1),
    (r"hatless", "Wearing_Hat", -1),
    (r"lipstick", "Wearing_Lipstick", 1),
    (r"heavy make-?up", "Heavy_Makeup", 1),
    (r"smiling|smiles?|grinning", "Smiling", 1),
    (r"unsmiling", "Smiling", -1),
    (r"mouth slightly open", "Mouth_Slightly_Open", 1),
    (r"high cheekbones?", "High_Cheekbones", 1),
    (r"bushy eyebrows", "Bushy_Eyebrows", 1),
    (r"arched eyebrows", "Arched_Eyebrows", 1),
    (r"big lips", "Big_Lips", 1),
    (r"big nose", "Big_Nose", 1),
    (r"pointy nose", "Pointy_Nose", 1),
    (r"narrow eyes", "Narrow_Eyes", 1),
    (r"bags under (?:(?:the|his|her|their) )?eyes", "Bags_Under_Eyes", 1),
    (r"oval face", "Oval_Face", 1),
    (r"pale skin", "Pale_Skin", 1),
    (r"rosy cheeks", "Rosy_Cheeks", 1),
    (r"chubby", "Chubby", 1),
    (r"double chin", "Double_Chin", 1),
)  # fmt: skip
#: Attributes that :func:`_hair` reads.
HAIR_ATTRIBUTES = (*HAIR_COLOURS.values(), "Straight_Hair", "Wavy_Hair")

#: An attribute whose words also name a thing: what stands before or after them there.
_THING_BEFORE = {
    "Eyeglasses": r"(?:wine|champagne|shot|drinking|beer|cocktail|martini|water|whisky|whiskey|pint|magnifying|opera|field|"
                  r"empty|full|two|three|four|several|some|many|\d) ",
    "Wearing_Hat": r"(?:mad|\d) ",
    "Bangs": r"(?:big|he|she|it|who) ",
    "Smiling": r"(?:to|makes? \w+|fake) ",
}  # fmt: skip
_THING_AFTER = {
    "Eyeglasses": r" (?:of|case|frame|shop|store|full|filled)\b",
    "Wearing_Hat": r"[ -](?:rack|shop|store|stand|box|maker|trick|pin|factory|on a hook|designer)\b",
    "Bald": r"[ -](?:eagles?|cypress|tires?|tyres?|mountain|spot|patch|cap)\b",
    "No_Beard": r" (?:oil|trimmer|comb|dragon|vulture|seal|collie|iris|wax)\b",
    "Bangs": r" (?:on|the|his|her|a|into|against)\b",
    "Smiling": r" (?:emoji|icon|logo|face|sticker|sun|buddha)\b",
    "Wearing_Lipstick": r" (?:tube|tubes|mark|marks|stain|ad|advert|collection|product)\b",
}  # fmt: skip
#: Handled, or lying somewhere: not worn.
_NOT_WORN_BEFORE = re.compile(
    r"\b(?:next to|beside|near|hold(?:s|ing)|carr(?:ies|ying)|clean(?:s|ing)|sell(?:s|ing)|making|painting|remov(?:es|ing)|"
    r"tak(?:es|ing) off|pick(?:s|ing) up|adjust(?:s|ing)|tipping|tips|throw(?:s|ing)|looking for|reaching for|buying|trying on)"
    r"(?: [\w'-]+){0,5} $"
)  # fmt: skip
_NOT_WORN_AFTER = re.compile(
    r" (?:(?:lying |hanging |placed |sitting )?(?:on|in|under|beside|next to|near|and a \w+ on) (?:an?|the|his hands?|her hands?|hand)"
    r"(?! (?:head|nose|face))|and a pair of)\b"
)  # fmt: skip
_WORN = frozenset(("Eyeglasses", "Wearing_Hat", "Wearing_Lipstick"))

#: A negation reaches so many words, unless a new statement begins.
_NEGATED = re.compile(
    r"\b(?:no|not|never|without|lacks?|lacking|minus|sans|nor|neither|free of|devoid of)"
    r"(?: (?!but\b|with\b|and\b|while\b|however\b)[\w'/-]+){0,4} ?$"
)  # fmt: skip
#: Between yes and no.
_HEDGED = re.compile(r"\b(?:barely|almost|nearly|hardly|maybe|fake|trying not to|about to|half|slightly)(?: \w+)? $")

_HAIR_NOUNS = frozenset(
    "hair hairs hairstyle haircut hairdo bob curls locks ponytail pigtails braids braid bun afro pixie".split()
)
#: Of these a colour alone may be that of a thing ("a black bun", "silver locks").
_STYLES = frozenset("bob bun locks braid braids curls pixie afro ponytail pigtails".split())
_HAIR_THINGS = frozenset(
    "tie ties ribbon ribbons clip clips pin pins band bands brush dryer salon bow bows ornament ornaments "
    "accessory accessories net gel dye product products scrunchie oil spray comb removal".split()
)
_HAIR_WORDS = frozenset(
    "long short medium curly wavy straight thick thin fine shiny silky messy tousled tied braided loose "
    "flowing beautiful sleek wet greasy spiky shaggy shoulder length waist chin neck cropped slicked back "
    "layered natural very dark light dirty ash ashy platinum golden honey sandy jet raven chestnut chocolate "
    "caramel dyed soft smooth fluffy frizzy kinky coarse lush neat neatly combed windswept big voluminous "
    "bright deep bob ponytail bun pixie afro cut style styled unkempt well kept parted side high low hair "
    "flat plaited pulled swept up @young @middle_aged @senior beautifull glossy perfect gorgeous pretty "
    "unruly wild pin blunt brushed trimmed half dishevelled disheveled".split()
)
#: A word for a colour of hair and the attribute it asks for, "" where there is none.
_SHADES: dict[str, str] = {
    **dict.fromkeys(
        "red white silver blue pink green purple ginger auburn orange teal violet copper strawberry reddish "
        "grayish greyish blackish brownish salt pepper rainbow multicolored multicoloured turquoise burgundy "
        "graying greying".split(),
        "",
    ),
    **HAIR_COLOURS, "blonde": "Blond_Hair", "blondes": "Blond_Hair", "grey": "Gray_Hair", "blak": "Black_Hair",
}  # fmt: skip
_TWO_COLOURED = frozenset(
    "highlights streaks streak tips roots ends ombre balayage streaked fading temples turning lowlights strands".split()
)
_BODY_HAIR = frozenset("facial chest body pubic arm leg nose ear back".split())


_COMPILED = [(re.compile(rf"\b(?:{pattern})\b"), name, value) for pattern, name, value in ATTRIBUTE_PHRASES]
_BEFORE = {name: re.compile(rf"\b{pattern}$") for name, pattern in _THING_BEFORE.items()}
_AFTER = {name: re.compile(pattern) for name, pattern in _THING_AFTER.items()}


def stated_attributes(phrase: str, words: Sequence[str], remarks: Remarks) -> list[tuple[str, int]]:
    """The attributes that a lower-case ``phrase`` without commas asks for (1) or excludes (-1); ``words`` are its words."""
    found: list[tuple[str, int]] = []
    for pattern, name, value in _COMPILED:
        for match in pattern.finditer(phrase):
            before, after = phrase[: match.start()], phrase[match.end() :]
            if (name in _BEFORE and _BEFORE[name].search(before)) or (name in _AFTER and _AFTER[name].match(after)):
                continue
            if name in _WORN and (_NOT_WORN_BEFORE.search(before) or _NOT_WORN_AFTER.match(after)):
                continue
            if _HEDGED.search(before):
                remarks.doubt(f"{match[0]!r} is hedged; {name} is left open", name)
                continue
            found.append((name, -value if _NEGATED.search(before) else value))
    return [*found, *_hair(words, remarks)]


def _hair(words: Sequence[str], remarks: Remarks) -> Iterator[tuple[str, int]]:
    """Colour and form of hair: "long black curly hair", "black-haired", "hair is black", "a blonde"."""
    for i, word in enumerate(words):
        if word in _HAIR_NOUNS or word == "haired":
            follows = words[i + 1] if i + 1 < len(words) else None
            bare = word in _STYLES and not (
                follows is None or follows in lexicon.FUNCTION or {"hair", "haircut"} & set(words[:i])
            )
            if not bare and follows not in _HAIR_THINGS and follows not in _HAIR_NOUNS:
                yield from _one_hair(words, i, remarks)
        elif word in ("blond", "blonde") and _is_person(words, i):
            yield "Blond_Hair", -1 if _negated(words, i) else 1


def _negated(words: Sequence[str], start: int) -> bool:
    return any(word in lexicon.NEGATIONS for word in words[max(0, start - 2) : start])


def _one_hair(words: Sequence[str], place: int, remarks: Remarks) -> Iterator[tuple[str, int]]:
    """The hair whose noun stands at ``place``."""
    start = place
    while start and (words[start - 1] in _SHADES or words[start - 1] in _HAIR_WORDS or _joins(words, start - 1)):
        start -= 1
    if start and words[start - 1] in _BODY_HAIR:
        return
    described = words[start:place]
    shades = [word for word in described if word in _SHADES] or _after(words, place)
    colours = {_SHADES[word] for word in shades}
    if any(word in _TWO_COLOURED for word in words[start : place + 6]):
        colours.add("")
    sign = -1 if _negated(words, start) else 1
    if len(colours) == 1 and "" not in colours:
        yield colours.pop(), sign
    elif len(colours) > 1:
        remarks.doubt(
            f"{' '.join(words[start : place + 1])!r}: hair of several colours; its colour is left open",
            *HAIR_COLOURS.values(),
        )
    for form in ("straight", "wavy"):
        if form in described:
            yield f"{form.capitalize()}_Hair", sign


def _joins(words: Sequence[str], place: int) -> bool:
    """Whether "and" at ``place`` joins two words for hair."""
    around = words[max(place - 1, 0) : place + 2]
    return (
        words[place] == "and"
        and place > 0
        and all(word in _SHADES or word in _HAIR_WORDS for word in (around[0], around[-1]))
    )


def _after(words: Sequence[str], place: int) -> list[str]:
    """Colours said after the noun: "hair is jet black", "hair black and tied"."""
    k = place + 1
    while k < len(words) and (
        words[k] in _SHADES or words[k] in ("is", "was", "color", "colour", "jet", "dark", "light")
    ):
        k += 1
    whole = k == len(words) or words[k] in lexicon.FUNCTION
    return [word for word in words[place + 1 : k] if word in _SHADES] if whole else []


def _is_person(words: Sequence[str], place: int) -> bool:
    """Whether "blond" stands for a person, or for the hair of the person who follows."""
    k = place + 1
    while k < len(words) and (
        lexicon.describes(words[k]) or lexicon.adjective(words[k]) or words[k] in lexicon.COMPOUNDS
    ):
        k += 1
    if k < len(words):
        return words[k] in lexicon.PEOPLE or (
            k == place + 1 and place > 0 and words[k] in lexicon.FUNCTION and words[k] not in ("and", "or")
        )
    k = place - 1
    while k >= 0 and (words[k] in _HAIR_WORDS or words[k] in lexicon.QUALITIES):
        k -= 1
    return k < 0 or words[k] in lexicon.DETERMINERS
