"""A prompt as phrases of words: signs of other programs left out, idioms and ages written over.

Words that begin with ``@`` stand for what was written over: ``@young`` for an age of 25 years, ``@asian`` for "East Asian".
"""

from __future__ import annotations

import re
from functools import lru_cache

from evenface.prompts import lexicon as lx
from evenface.prompts.ages import ages_written_over, band
from evenface.prompts.prompt_weights import plain_text

_MARKUP = re.compile(r"<[^<>]*>|\bBREAK\b|\s--[a-z]+\b.*$|\s-[A-Za-z]\d+.*$|\bembedding:\S+|__\w+?__", re.S)
#: Titles before a name: the name says nothing more.
_TITLED = re.compile(
    r"\b(Mrs?|Ms|Miss|Sir|Lady|Lord|Dame|King|Queen|Prince|Princess|Aunt|Auntie|Uncle|Grandma|Grandpa|Sister|Brother|Father|"
    r"Mother)\.? "
    r"(?!Liberty|Bug|Luck|Bird|Cobra|Kong|Size|Bed|Nature|Earth|Christmas|Time|Tongue|Crab|Penguin)"
    r"[A-Z][a-zé'-]+(?: [A-Z][a-zé'-]+| I+\b)*"
)  # fmt: skip
_TITLE_WORDS = {"Mr": "man", "Mrs": "woman", "Ms": "woman", "Miss": "woman", "Lord": "man", "Dame": "woman"}
_LABELS = re.compile(r"\b(gender|sex|ethnicity|race|nationality)\s*[:=]\s*")
_BETWEEN = re.compile(r"[,;:!?|\[\]{}()\"\n\r]+|\.(?=\s|$)|\s[-–—]+\s|—")
_WORD = re.compile(r"@?[^\W_](?:[\w&/]|'(?=\w))*_?\w*|w/|&")
#: Written over first: words that mean something else together (whole words), by what is written for them.
_TOGETHER: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"\b(?:{'|'.join(patterns)})\b"), written)
    for written, patterns in (
        (r"\1 is", (r"(she|he|who|that|it)'s",)),
        (" monochrome ", (r"(?:black|blk)(?: and |-and-| ?& ?|/)(?:white|wht)", r"b ?[&/] ?w", "bnw")),
        (" dog ", (r"(?:german|australian|belgian|english|dutch) shepherds?",)),
        (" thing ", (
            "white house", "little black dress", "black tie", r"white[ -](?:collar|tie|hat)", r"black (?:widow|friar)s?",
            r"(?:iron|spider|ant|bat|burning|elephant|invisible|gingerbread|michelin|stick|muffin|marlboro)[ -]man",
            r"no[ -]man's", "isle of man", "man of war", r"man[ -]made", "man ray", r"lady (?:bug|luck|bird|liberty)",
            r"notre[ -]dame", r"boy ?bands?", "maiden voyage", r"drag queens?", r"father (?:time|christmas|frost)",
            r"mother (?:of pearl|nature|earth|board|ship|tongue)", r"(?:lion|burger|stephen|drama|dairy|beauty) (?:king|queen)s?",
            r"king'?s cross", "king kong", r"baby(?:'s)?[ -](?:blue|pink|breath|bump|grand|steps?|hairs?|face|faced|doll)",
            r"boy scouts? of", r"young adults? (?:novels?|fiction|books?|literature|fantasy)",
            r"old[ -](?:school|fashioned|money|masters?|boys?|guard|world|time|timey)", r"high[ -]school seniors?",
            r"senior (?:year|portraits?|pictures?)", r"black(?:board|berry|berries|jack|smith)s?", r"white(?:board|wash)s?",
        )),
        (" @nation ", (
            r"(?:north|south|west|east|central)[ -]african", "new zealander", "puerto rican", "saudi arabian", "sri lankan",
            "costa rican",
        )),
        (" @asian ", (r"south[ -]?east[ -]?asians?", r"(?:north[ -]?)?east[ -]asians?", r"asian[ -]americans?")),
        (" @outside ", (
            r"(?:south|west|central)[ -]asians?", r"middle[ -]east(?:ern)?", r"native[ -]american", "american indian",
            "pacific islander", r"latin[ -]american", r"afro[ -](?:latin\w*|cuban|brazilian)", r"first nations?",
            r"mixed[ -](?:race|heritage|ethnicity)", r"half(?=[ -](?:black|white|asian|\w+ese|\w+an)\b)",
        )),
        (" @black ", (r"afro[ -](?:american|caribbean)", r"african[ -]americans?", r"(?:dark|black)[ -]african")),
        (" european ", (r"(?:eastern|western|northern|southern|central)[ -]europeans?",)),
        (" person ", ("wo/man",)),
        (" ", (r"transgender", r"trans(?=[ -](?:wo)?m[ae]n)")),
        ("in @dark", (r"in (?:black|white)",)),
    )
)  # fmt: skip

#: An age without a word for it, right after a person: "woman, 45", "male, 30s".
_BARE_YEARS = re.compile(r"([1-9]\d)(?:-([1-9]\d))?")
_BARE_DECADE = re.compile(r"[2-7]0s")


def phrases_of(text: str) -> list[str]:
    """Lower-case phrases between commas, without the signs of other programs, with ages written over."""
    text = plain_text(_MARKUP.sub(" , ", text))
    whole: list[str] = []
    for phrase in (phrase for part in text.split(",") for phrase in _parts(part)):
        before = words_of(whole[-1])[-1:] if whole else []
        years = _BARE_YEARS.fullmatch(phrase)
        if years and before and any(before[0] in words for words in (lx.PEOPLE, lx.ANCESTRIES, lx.NATIONS)):
            whole.append(f"@{band(years[1], years[2]) or 'aged'}")
        elif before and before[0] in lx.GENDERS and _BARE_DECADE.fullmatch(phrase):
            whole.append(f"@{band(phrase[:2])}")
        elif whole and _unfinished(whole[-1]):  # "an old, bearded man" is one phrase
            whole[-1] += f" {phrase}"
        else:
            whole.append(phrase)
    return whole


@lru_cache(maxsize=1 << 14)
def _parts(text: str) -> tuple[str, ...]:
    """The phrases of what lies between two commas."""
    text = _TITLED.sub(lambda match: _TITLE_WORDS.get(match[1], match[1]), text.replace("_", " ")).lower()
    text = text.replace("’", "'").replace("n't", " not")
    for pattern, written in _TOGETHER:
        text = pattern.sub(written, text)
    text = ages_written_over(_LABELS.sub(r"\1 ", text))
    return tuple(phrase for phrase in (" ".join(part.split()) for part in _BETWEEN.split(text)) if phrase)


@lru_cache(maxsize=1 << 14)
def _unfinished(phrase: str) -> bool:
    """Whether a phrase ends in an article and adjectives without their noun."""
    words = words_of(phrase)
    last = max((k for k, word in enumerate(words) if word in lx.DETERMINERS), default=len(words))
    return len(words) > last + 1 and all(lx.describes(word) or lx.adjective(word) for word in words[last + 1 :])


def words_of(phrase: str) -> list[str]:
    """The words of a lower-case phrase; a possessive mark is a word of its own, a hyphen parts."""
    words = []
    for word in _WORD.findall(phrase):
        word = lx.MISSPELT.get(word, word)
        owner, mark, rest = word.partition("'")
        words += [word] if mark and rest != "s" else [owner, "'s"] if mark else [word]
    return words
