"""A prompt as phrases of words: signs of other programs left out, idioms and ages written over.

Words that begin with ``@`` stand for what was written over: ``@young`` for an age of 25 years, ``@asian`` for "East Asian".
"""

from __future__ import annotations

import re
from functools import lru_cache

from evenface.prompts import lexicon as lx
from evenface.prompts.ages import ages_written_over, band
from evenface.prompts.prompt_weights import plain_text

_MARKUP = re.compile(r"<[^<>]*>|\bBREAK\b|\s--?[a-z]+\b.*$|\s-[A-Za-z]\d+.*$|\bembedding:\S+|__\w+?__", re.S)
#: Titles before a name: the name says nothing more.
_TITLED = re.compile(
    r"\b(Mrs?|Ms|Miss|Sir|Lady|Lord|Dame|King|Queen|Prince|Princess|Aunt|Auntie|Uncle|Grandma|Grandpa|Sister|Brother|Father|Mother)\.? "
    r"(?!Liberty|Bug|Luck|Bird|Cobra|Kong|Size|Bed|Nature|Earth|Christmas|Time|Tongue|Crab|Penguin)"
    r"[A-Z][a-zé'-]+(?: [A-Z][a-zé'-]+| I+\b)*"
)  # fmt: skip
_TITLE_WORDS = {"Mr": "man", "Mrs": "woman", "Ms": "woman", "Miss": "woman", "Lord": "man", "Dame": "woman"}
_LABELS = re.compile(r"\b(gender|sex|ethnicity|race|nationality)\s*[:=]\s*")
_BETWEEN = re.compile(r"[,;:!?|\[\]{}()\"\n\r]+|\.(?=\s|$)|\s[-–—]+\s|—")
_WORD = re.compile(r"@?[^\W_](?:[\w&/]|'(?=\w))*_?\w*|w/|&")
#: Written over first: words that mean something else together.
_TOGETHER: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), written)
    for pattern, written in (
        (r"n['’]t\b", " not"),
        (r"’", "'"),
        (r"\b(she|he|who|that|it)'s\b", r"\1 is"),
        (r"\b(?:black|blk)(?: and |-and-| ?& ?|/)(?:white|wht)\b|\bb ?[&/] ?w\b|\bbnw\b", " monochrome "),
        (r"\bwhite house\b|\blittle black dress\b|\bblack tie\b|\bwhite (?:collar|tie|hat)\b|\bblack (?:widow|friar)s?\b", " thing "),
        (r"\b(?:iron|spider|ant|bat|burning|elephant|invisible|gingerbread|michelin|stick|muffin|marlboro)[ -]man\b", " thing "),
        (r"\bno[ -]man's\b|\bisle of man\b|\bman of war\b|\bman[ -]made\b|\bman ray\b|\blady (?:bug|luck|bird|liberty)\b", " thing "),
        (r"\b(?:german|australian|belgian|english|dutch) shepherds?\b", " dog "),
        (r"\bnotre[ -]dame\b|\bboy ?bands?\b|\bmaiden voyage\b", " thing "),
        (r"\bmother (?:of pearl|nature|earth|board|ship|tongue)\b|\bfather (?:time|christmas|frost)\b|\bdrag queens?\b", " thing "),
        (r"\b(?:lion|burger|stephen|drama|dairy|beauty) (?:king|queen)s?\b|\bking'?s cross\b|\bking kong\b", " thing "),
        (r"\bbaby(?:'s)?[ -](?:blue|pink|breath|bump|grand|steps?|hairs?|face|faced|doll)\b|\bboy scouts? of\b", " thing "),
        (r"\byoung adults? (?:novels?|fiction|books?|literature|fantasy)\b|\bold (?:school|fashioned|money|masters?|boys?|guard)\b", " thing "),
        (r"\bold-(?:school|fashioned|world|time|timey|money)\b|\bhigh[ -]school seniors?\b|\bsenior (?:year|portraits?|pictures?)\b", " thing "),
        (r"\bblack(?:board|berry|berries|jack|smith)s?\b|\bwhite(?:board|wash)s?\b", " thing "),
        (r"\b(?:north|south|west|east|central)[ -]african\b", " @nation "),
        (r"\bsouth[ -]?east[ -]?asians?\b|\b(?:north[ -]?)?east[ -]asians?\b", " @asian "),
        (r"\b(?:south|west|central)[ -]asians?\b|\bmiddle[ -]east(?:ern)?\b|\bnative[ -]american\b|\bamerican indian\b", " @outside "),
        (r"\bpacific islander\b|\blatin[ -]american\b|\bafro[ -](?:latin\w*|cuban|brazilian)\b|\bfirst nations?\b", " @outside "),
        (r"\bmixed[ -](?:race|heritage|ethnicity)\b|\bhalf[ -](?=black|white|asian|japanese|korean|chinese|african|\w+ese\b|\w+an\b)", " @outside "),
        (r"\bafro[ -](?:american|caribbean)\b|\bafrican[ -]americans?\b|\b(?:dark|black)[ -]african\b", " @black "),
        (r"\basian[ -]americans?\b", " @asian "),
        (r"\b(?:eastern|western|northern|southern|central)[ -]europeans?\b", " european "),
        (r"\bnew zealander\b|\bpuerto rican\b|\bsaudi arabian\b|\bsri lankan\b|\bcosta rican\b", " @nation "),
        (r"\(wo\)man\b|\bwo/man\b", " person "),
        (r"\btransgender|\btrans(?=[ -](?:wo)?man)", " "),
        (r"\bin (?:black|white)\b", "in @dark"),
        (r"\bmiddleaged\b", "middle-aged"),
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
