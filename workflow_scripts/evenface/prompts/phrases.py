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
#: Rocks, banks and rivers with a person's name: "the Old Man of Storr".
_PROPER = re.compile(r"\bOld (?:Man|Lady|Woman) (?=of (?:the )?[A-Z])|\bOld Man River\b|\bPrince of Wales (?=[A-Z])")
_TITLE_WORDS = {"Mr": "man", "Mrs": "woman", "Ms": "woman", "Miss": "woman", "Lord": "man", "Dame": "woman"}
#: Text that is to be drawn: between double quotation marks if of several words, or after a word for writing.
_WRITING = (
    r"(?i:\b(?:says?|saying|reads?|reading|words?|text|titled?|entitled|called|named|label(?:l?ed)?|written|lettering|caption(?:ed)?|"
    r"slogan|quote|inscription|movie|film|book|song|novel|logo)\b[\s:,of]*)"
)
_QUOTED = re.compile(
    r"(?<!\w)\"[^\"\s]+\s[^\"]*\"|“[^”\s]+\s[^”]*”|«[^»\s]+\s[^»]*»"
    rf"|{_WRITING}(?:\"[^\"]*\"|“[^”]*”|(?<!\w)'(?:[^']|(?<=\w)'(?=\w))*'(?!\w)|(?:[A-Z][A-Z'!.-]+\b[\s!.]*)+)"
)
_MAY_QUOTE = re.compile("[\"“«']|[A-Z]{2}")
_ALL_QUOTED = re.compile(r"\s*(?:\"[^\"]*\"|“[^”]*”|«[^»]*»)\s*")
#: What a prompt in one line says of another one.
#: Characters that show nothing: soft hyphens, spaces of no width. ``@`` is ours.
_UNSEEN = re.compile("[\u00ad\u200b\u2060\ufeff]")
_NEGATIVE = re.compile(r"(?is:\bnegative[ _]prompts?\s*[:=].*)")
_LABELS = re.compile(r"\b(gender|sex|ethnicity|race|nationality)\s*[:=]\s*")
_ANSWERED_NO = re.compile(r"\b([a-z]+(?: [a-z]+)?)\s*[:=]\s*(?:none|no|false|absent)\b(?=\s*(?:[,.;|)]|$))")
_HAIR_LABEL = re.compile(r"\bhair(?: colou?r)?\s*[:=]\s*")
_BETWEEN = re.compile(r"[,;:!?|\[\]{}()\"\n\r]+|\.(?=\s|$)|\s[-–—]+\s|—")
_HAIR = re.compile(rf"\bhair\b|\A(?:{'|'.join(sorted(lx.FORMS))})\b")
_POSSESSING = frozenset("with has have having her his their and".split())
#: "the boys' room": several own it.
_OF_SEVERAL = re.compile(r"(?<!')\b(\w+s)'(?=\s+\w)(?![^']*'(?!\w))")
_LETTERS = re.compile(r"[^\W\d_]+")
_WORD = re.compile(r"@?[^\W_](?:[\w&/]|'(?=\w))*_?\w*|w/|&")
#: Written over first: words that mean something else together (whole words), by what is written for them.
_TOGETHER: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"\b(?:{'|'.join(patterns)})\b"), written)
    for written, patterns in (
        (r"\1 is", (r"(she|he|who|that|it)'s",)),
        (" monochrome ", (r"(?:black|blk)(?: and |-and-| ?& ?|/)(?:white|wht)", r"b ?[&/] ?w", "bnw")),
        (" dog ", (r"(?:german|australian|belgian|english|dutch) shepherds?",)),
        (" thing ", (
            "white house", "little black dress", r"black[ -]tie (?:event|gala|dinner|affair|wedding|ball|party|attire)", r"(?:(?<!\w )|(?<=\bin ))black[ -]tie",
            r"white[ -](?:collar|tie|hat)", r"black (?:widow|friar)s?", "black lives matter", "men in black",
            r"(?:iron|spider|ant|bat|burning|elephant|invisible|gingerbread|michelin|stick|muffin|marlboro)[ -]man",
            r"no[ -]man's", "isle of man", "man of war", r"man[ -]made", "man ray", r"lady (?:bug|luck|bird|liberty)",
            r"notre[ -]dame", r"grandfather clocks?", r"granny (?:smith|square|flat)s?", r"daddy long ?legs", r"mother[ -]?(?:lode|hen)",
            r"(?:lady|ladies'?) ?fingers?", r"girl (?:scout cookies|power|bands?|groups?)", r"man (?:city|united|utd|caves?|buns?)",
            r"queen (?:bees?|ants?)", r"(?:king|queen)s? of (?:hearts|spades|diamonds|clubs)", r"big brother", "brother printer",
            r"sister (?:ship|city|cities)s?", r"daughter cells?", "baby shower", "tomboy style", "old english", "action man",
            r"boy ?bands?", "maiden voyage", r"drag queens?", r"father (?:time|christmas|frost)",
            r"mother (?:of pearl|nature|earth|board|ship|tongue)", r"(?:lion|burger|stephen|drama|dairy|beauty) (?:king|queen)s?",
            r"king'?s cross", "king kong", r"baby(?:'s)?[ -](?:blue|pink|breath|bump|grand|steps?|hairs?|face|faced|doll)",
            r"boy scouts? of", r"young adults? (?:novels?|fiction|books?|literature|fantasy)",
            r"(?<!years )(?<!year )(?<!years-)(?<!year-)(?<!yr )(?<!y\.)old[ -](?:school|fashioned|money|masters?|guard|world|time|timey)",
            r"old boys'?s? (?:network|club|school tie)",
            r"senior (?:year|portraits?|pictures?|prom)", r"black(?:board|berry|berries|jack|smith)s?", r"white(?:board|wash)s?",
        )),
        (" @young student ", (r"(?:high|middle|elementary|primary|grade)[ -]school (?:student|senior|junior|freshman|pupil)s?",)),
        (" ", (
            r"cat[- ]?eyes?", r"fish[- ]?eye", r"bird'?s[- ]eye", r"doe[- ]eyed", r"puppy[- ](?:dog )?eyes", r"fox eyes?",
            r"crow'?s feet", "silver fox", "wolf cut", "horse ?shoe", "duck face",
        )),
        (" @nation ", (
            r"(?:north|south|west|east|central)[ -]african", "new zealander", "puerto rican", "saudi arabian", "sri lankan",
            "costa rican",
        )),
        (" @asian ", (r"south[ -]?east[ -]?asians?", r"(?:north[ -]?)?east[ -]asians?", r"asian[ -]americans?", r"hong[ -]kong(?:er)?")),
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
_BARE_YEARS = re.compile(
    r"(?:now |age |just |only |about |around |nearly |almost |approximately |roughly )?([1-9]\d)(?:-([1-9]\d))?"
)
_BARE_DECADE = re.compile(r"(?:(?:early|mid|late)[ -])?(?:([2-7]0)s|(twen|thir|for|fif|six|seven)ties)")


def phrases_of(text: str) -> list[str]:
    """Lower-case phrases between commas, without the signs of other programs, with ages written over."""
    if not text.isascii():
        text = _UNSEEN.sub("", text)
    text = text.replace("@", " at ").replace(")(", ") (")
    if "egative" in text.lower():
        text = _NEGATIVE.sub(" , ", text)
    text = plain_text(_MARKUP.sub(" , ", text))
    if _MAY_QUOTE.search(text) and not _ALL_QUOTED.fullmatch(text):
        text = _QUOTED.sub(" thing ", text)
    whole: list[str] = []
    for phrase in (phrase for part in text.split(",") for phrase in _parts(part)):
        before = words_of(whole[-1])[-1:] if whole and (phrase[-1].isdigit() or phrase[-1] == "s") else []
        years = _BARE_YEARS.fullmatch(phrase)
        if years and before and any(before[0] in words for words in (lx.PEOPLE, lx.ANCESTRIES, lx.NATIONS)):
            whole.append(f"@{band(years[1], years[2]) or 'aged'}")
        elif before and before[0] in lx.PEOPLE and (decade := _BARE_DECADE.fullmatch(phrase)):
            whole.append(f"@{band(decade[1] or f'{decade[2]}ty')}")
        elif whole and (
            _unfinished(whole[-1]) or (_HAIR.search(phrase) and _hair_goes_on(whole[-1], phrase))
        ):  # "an old, bearded man" is one phrase
            whole[-1] += f" {phrase}"
        else:
            whole.append(phrase)
    return whole


@lru_cache(maxsize=1 << 14)
def _parts(text: str) -> tuple[str, ...]:
    """The phrases of what lies between two commas."""
    text = _PROPER.sub("thing ", text)
    text = _TITLED.sub(lambda match: _TITLE_WORDS.get(match[1], match[1]), text.replace("_", " ")).lower()
    text = text.replace("’", "'").replace("n't", " not")
    text = _OF_SEVERAL.sub(r"\1's", text)
    text = _LETTERS.sub(lambda match: lx.MISSPELT.get(match[0], match[0]), text)
    for pattern, written in _TOGETHER:
        text = pattern.sub(written, text)
    text = ages_written_over(_HAIR_LABEL.sub("hair is ", _LABELS.sub(r"\1 ", _ANSWERED_NO.sub(r"no \1", text))))
    return tuple(phrase for phrase in (" ".join(part.split()) for part in _BETWEEN.split(text)) if phrase)


@lru_cache(maxsize=1 << 14)
def _unfinished(phrase: str) -> bool:
    """Whether a phrase ends in an article and adjectives without their noun."""
    words = words_of(phrase)
    last = max((k for k, word in enumerate(words) if word in lx.DETERMINERS), default=len(words))
    return len(words) > last + 1 and all(lx.describes(word) or lx.adjective(word) for word in words[last + 1 :])


def _hair_goes_on(phrase: str, following: str) -> bool:
    """Whether a phrase ends in an adjective of the hair that the next one names ("with long", "black hair")."""
    words = words_of(phrase)
    last = max((k for k, word in enumerate(words) if word in _POSSESSING), default=-1)
    return len(words) > last + 1 >= 1 and all(word in lx.FORMS for word in words[last + 1 :]) and _names_hair(following)


def _names_hair(phrase: str) -> bool:
    words = words_of(phrase)
    place = words.index("hair") if "hair" in words else len(words)
    return not any(word in lx.FUNCTION for word in words[:place]) and (place < len(words) or set(words) <= lx.FORMS)


def words_of(phrase: str) -> list[str]:
    """The words of a lower-case phrase; a possessive mark is a word of its own, a hyphen parts."""
    words = []
    for word in _WORD.findall(phrase):
        if word.endswith(("woman", "women")) and word not in lx.PEOPLE:  # "mailwoman"
            word = word[-5:]
        owner, mark, rest = word.partition("'")
        words += [word] if mark and rest != "s" else [owner, "'s"] if mark else [word]
    return words
