"""Words that give something away: a group, an attribute under study, or a negation.

A context is shared by all groups only if none of its words points at one of them, and says nothing of
a target attribute only if it neither states, denies nor hides it. The lists hold the plain words of
portraits; what they miss, the association test over a whole catalogue finds where it differs by group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from evenface.prompts import lexicon
from evenface.prompts.attributes import ATTRIBUTE_PHRASES
from evenface.taxonomy import HAIR_COLOURS

#: What points at a demographic level beside the words that are read as it: pronouns, dress, looks, more people.
GROUP_CUES: dict[str, dict[str, str]] = {
    "gender": {
        "female": (
            r"wom[ae]n|females?|girls?|lad(?:y|ies)|she|hers?|herself|(?:grand|god|step)?mothers?|mom|mum|grandma|granny|"
            r"(?:grand|step)?daughters?|(?:half-|step)?sisters?|wife|wives|aunts?|nieces?|queens?|princess|brides?|"
            r"bridesmaids?|actress|waitress|hostess|businesswom[ae]n|feminine|femininity|ballerina|girlish|pregnant|"
            r"lipstick|lip gloss|mascara|eye ?liner|eye ?shadow|make-?up|skirts?|gowns?|blouses?|sundress(?:es)?|"
            r"high heels|handbags?|purse|bra|tiara|ponytails?|pigtails?"
        ),
        "male": (
            r"m[ae]n|males?|boys?|gentlem[ae]n|guys?|lads?|he|him|his|himself|(?:grand|god|step)?fathers?|dad|grandpa|"
            r"(?:grand|step)?sons?|(?:half-|step)?brothers?|husbands?|uncles?|nephews?|kings?|princes?|bridegrooms?|"
            r"grooms?|businessm[ae]n|salesm[ae]n|firem[ae]n|policem[ae]n|fisherm[ae]n|craftsm[ae]n|workm[ae]n|"
            r"masculine|masculinity|manly|tuxedos?|neckties?|bow ?ties?|tie|beards?|bearded|m(?:o)?ustaches?|goatee|"
            r"stubble|sideburns|clean[- ]shaven|5 o'?clock shadow"
        ),
    },
    "age": {
        "young": (
            r"young(?:er|ish|ster|sters)?|youth(?:s|ful)?|teen(?:s|age|aged|ager|agers)?|child(?:ren|hood|like)?|kids?|"
            r"bab(?:y|ies)|toddlers?|infants?|adolescen(?:t|ts|ce)|boys?|girls?|schoolboys?|schoolgirls?|twenties|"
            r"twenty-something|(?:1?\d|2\d)[- ]years?[- ]old|in (?:his|her|their) (?:early |mid[- ]|late )?20s"
        ),
        "middle_aged": (
            r"middle[- ]age[d]?|mid-?life|thirties|forties|(?:thirty|forty)-something|[34]\d[- ]years?[- ]old|"
            r"in (?:his|her|their) (?:early |mid[- ]|late )?[34]0s"
        ),
        "senior": (
            r"elder(?:ly|s)?|seniors?|old(?:er|est)?|aged|ag(?:e)?ing|retire(?:d|e|es|ment)|pensioners?|wrinkle[sd]?|"
            r"grand(?:mother|father|parent|son|daughter|child)s?|grandma|grandpa|granny|fifties|sixties|seventies|eighties|"
            r"[5-9]\d[- ]years?[- ]old|in (?:his|her|their) (?:early |mid[- ]|late )?[5-9]0s"
        ),
    },
    "ethnicity": {
        "asian": (
            r"(?:east |south |southeast )?asians?|oriental|chinese|japanese|koreans?|vietnamese|thai|filipin[oa]s?|"
            r"indonesians?|malaysians?|indians?|pakistanis?|mongolians?|tibetans?|kimonos?|hanbok|cheongsam|qipao|saris?|"
            r"sarees?|monolid|epicanthic|almond[- ]shaped eyes|almond eyes|slanted eyes"
        ),
        "black": (
            r"black(?!(?:[ -]\w+){0,2}[ -]hair)|afro(?:s|-\w+)?|africans?|nigerians?|kenyans?|ethiopians?|ghanaians?|somalis?|"
            r"jamaicans?|haitians?|dreadlocks|cornrows|dark[- ]skin(?:ned)?|ebony|dashiki|brown[- ]skin(?:ned)?"
        ),
        "white": (
            r"white(?!(?:[ -]\w+){0,2}[ -]hair)|caucasians?|europeans?|scandinavians?|nordic|swedish|norwegian|danish|german|"
            r"french|italian|british|irish|scottish|russian|polish|dutch|pale|fair[- ]skin(?:ned)?|light[- ]skin(?:ned)?|"
            r"freckle[sd]|porcelain skin|kilts?|dirndls?"
        ),
    },
}  # fmt: skip

_COVERED_HAIR = (
    r"hats?|caps?|beanies?|berets?|hoods?|hooded|hoodies?|head ?scar(?:f|ves)|hijabs?|turbans?|helmets?|bandanas?|veils?|"
    r"wigs?|bald|balding|hairless|shaved head|headdress(?:es)?|crowns?|towel"
)
_HAIR_COLOUR = (
    r"black|blond[e]?s?|brown|gr[ae]y|white|silver\w*|gold(?:en)?|brunette|redhead(?:ed)?|auburn|chestnut|ginger|platinum|"
    r"ash(?:en|y)?|raven|jet|sandy|honey|flaxen|salt-and-pepper|grizzled|graying|greying|dyed|bleached|haired|"
    r"(?:dark|light|fair|red|colou?red|pale|bright)(?:[ -]\w+)?[ -]hair|sepia|monochrome|gr[ae]yscale|" + _COVERED_HAIR
)
_MOUTH = (
    r"smil\w+|grin\w*|laugh\w*|beaming|cheer\w*|happ(?:y|ily|iness)|joy\w*|amus\w+|delight\w*|glad\w*|frown\w*|scowl\w*|"
    r"sad\w*|serious\w*|stern\w*|solemn\w*|pout\w*|smirk\w*|sneer\w*|angry|anger|cry\w*|tear(?:s|ful|fully)|neutral|"
    r"expressions?|expressionless|poker[- ]faced|lips?|mouth|teeth|dimples?|friendl\w+|mask(?:s|ed)?"
)
_FACIAL_HAIR = (
    r"beard\w*|stubble|goatees?|m(?:o)?ustaches?|whiskers|clean[- ]shaven|unshaven|sideburns|facial hair|"
    r"5 o'?clock shadow|mask(?:s|ed)?"
)
_EYEWEAR = r"(?:eye|sun)?glasses|spectacles|goggles|monocle|eyewear|bespectacled|contact lens(?:es)?|visor|squint\w*"

#: What states, denies or hides an attribute. Where nothing is listed, the phrases of prompts and the name's words count.
_ATTRIBUTE_CUES: dict[str, str] = {
    **dict.fromkeys(HAIR_COLOURS.values(), _HAIR_COLOUR),
    "Smiling": _MOUTH,
    "Mouth_Slightly_Open": _MOUTH + r"|talk\w*|speak\w*|sing(?:s|ing)|shout\w*|yawn\w*|eating|drinking",
    **dict.fromkeys(("No_Beard", "Goatee", "Mustache", "Sideburns", "5_o_Clock_Shadow"), _FACIAL_HAIR),
    "Eyeglasses": _EYEWEAR,
    "Wearing_Hat": _COVERED_HAIR,
    "Bald": _COVERED_HAIR + r"|hair|haircut|hairstyle",
    "Bangs": _COVERED_HAIR + r"|bangs|fringe|forehead|hairstyle|haircut",
    **dict.fromkeys(("Straight_Hair", "Wavy_Hair"), _COVERED_HAIR + r"|straight|wav(?:y|es)|cur(?:ly|ls|led)|braid\w*|bun|"
                    r"hairstyle|haircut"),
    "Receding_Hairline": _COVERED_HAIR + r"|hairline|forehead",
    "Wearing_Lipstick": r"lipstick|lip gloss|make-?up|lips",
    "Heavy_Makeup": r"lipstick|lip gloss|mascara|eye ?liner|eye ?shadow|make-?up|blush",
    "Wearing_Necktie": r"(?:neck|bow ?)?ties?|suit|tuxedo|scar(?:f|ves)",
    "Wearing_Necklace": r"necklaces?|pendant|jewell?e?ry|scar(?:f|ves)|turtleneck",
    "Wearing_Earrings": r"earrings?|jewell?e?ry|" + _COVERED_HAIR,
    "Male": "|".join(GROUP_CUES["gender"].values()),
    "Young": "|".join(GROUP_CUES["age"].values()),
    "Attractive": r"attractive|beautiful|handsome|pretty|gorgeous|ugly|good-looking|model",
    "Blurry": r"blur\w*|out of focus|unfocused|hazy|sharp",
    "Chubby": r"chubby|plump|overweight|fat|slim|thin|lean|heavy-set",
    "Pale_Skin": r"pale|tanned|tan|sunburnt|skin",
    "Rosy_Cheeks": r"rosy|blush\w*|cheeks?|flushed",
}  # fmt: skip

#: Text-to-image models draw what a negation names.
_NEGATION = re.compile(
    r"\b(?:no|not|non|never|none|nothing|nobody|neither|nor|without|lacks?|lacking|devoid of|free of|absence of|"
    r"instead of|rather than|avoid(?:s|ing)?|\w+n['’]t|cannot|un(?:smiling|bearded)|beardless|hatless|hairless|"
    r"expressionless|(?:smile|glass|wrinkle|beard|make-?up)[- ](?:less|free))\b"
)  # fmt: skip


def _known(dimension: str, level: str) -> list[str]:
    """The words that are read as this level; "black" and "white" stand in the lists, which leave out hair."""
    said = {word: {"age": age} for word, age in lexicon.AGES.items()}
    said |= {word: {"ethnicity": one} for word, one in {**lexicon.NATIONS, **lexicon.ANCESTRIES}.items()}
    words = {*(w for w, levels in lexicon.PEOPLE.items() if levels.get(dimension) == level)}
    words |= {w for w, levels in said.items() if levels.get(dimension) == level}
    return sorted(re.escape(word) for word in words if word[0] != "@" and word not in lexicon.COLOURS)


_GROUPS = [
    (dimension, level, re.compile(rf"\b(?:{'|'.join([pattern, *_known(dimension, level)])})\b"))
    for dimension, levels in GROUP_CUES.items()
    for level, pattern in levels.items()
]


class Cue(NamedTuple):
    """A word of a text and what it gives away: (dimension, level), or (attribute, "")."""

    word: str
    of: str
    level: str = ""


def group_cues(text: str) -> list[Cue]:
    """The words of ``text`` that point at a demographic level, in the order of the levels."""
    return list(_group_cues(text.lower()))


@lru_cache(maxsize=1 << 14)
def _group_cues(text: str) -> tuple[Cue, ...]:
    return tuple(Cue(m[0], dimension, level) for dimension, level, pattern in _GROUPS for m in pattern.finditer(text))


@cache
def _attribute_pattern(attribute: str) -> re.Pattern[str]:
    phrases = [pattern for pattern, name, _ in ATTRIBUTE_PHRASES if name == attribute]
    if attribute in _ATTRIBUTE_CUES:
        phrases.append(_ATTRIBUTE_CUES[attribute])
    elif not phrases:
        phrases = [re.escape(attribute.replace("_", " ").lower())]
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b")


def attribute_cues(text: str, attributes: Iterable[str]) -> list[Cue]:
    """The words of ``text`` that state, deny or hide one of the CelebA ``attributes``; each word once."""
    text = text.lower()
    found: dict[str, Cue] = {}
    for attribute in attributes:
        for match in _attribute_pattern(attribute).finditer(text):
            found.setdefault(match[0], Cue(match[0], attribute))
    return list(found.values())


def negations(text: str) -> list[str]:
    """The words of ``text`` that negate something."""
    return [match[0] for match in _NEGATION.finditer(text.lower())]
