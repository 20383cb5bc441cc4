"""Ages in words: years, decades and phrases, each written over as one word for its band."""

from __future__ import annotations

import re

from evenface.prompts.lexicon import ANCESTRIES, GENDERS, NATIONS, PEOPLE
from evenface.taxonomy import age_level

#: Nobody is older: a larger number is that of a tree, a house or a whisky.
OLDEST = 120

_UNITS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBER: dict[str, int] = {
    **{word: number for number, word in enumerate(_UNITS.split(), 1)},
    **{word: 10 * number for number, word in enumerate(_TENS.split(), 2)},
    "fourty": 40,
}
_DECADE: dict[str, int] = {
    **{word[:-1] + "ies": 10 * number for number, word in enumerate(_TENS.split(), 2)},
    **{f"{number}0{mark}": 10 * number for number in range(1, 10) for mark in ("s", "'s", "ies")},
    "teens": 15,
}  # fmt: skip
_IN_WORDS = (
    rf"(?:(?:{'|'.join(_TENS.split())}|fourty)(?:[ -](?:{'|'.join(_UNITS.split()[:9])}))?|{'|'.join(_UNITS.split())})"
)
_N = rf"(?:\d{{1,3}}|{_IN_WORDS})"
_RANGE = rf"({_N})(?:\s*(?:-|–|to|or|and)\s*({_N}))?"
_YEARS = r"(?:years?|yrs?|y)"
_DECADES = rf"(?:{'|'.join(sorted(map(re.escape, _DECADE), key=len, reverse=True))})"
_PART = r"(?:very )?(?:early|mid|middle|late)(?:[ -]to[ -](?:mid|late))?"

_PERSON = rf"(?:{'|'.join(sorted(map(re.escape, PEOPLE), key=len, reverse=True))})"
_SAID = rf"(?:{'|'.join(sorted(map(re.escape, {*ANCESTRIES, *NATIONS, *GENDERS}), key=len, reverse=True))}|[a-z]+(?:ed|ing|ful|al|y))"

_COMPARES = re.compile(r"over|above|more than|older|at least|under|below|less than|younger|up to|\+|plus")
#: "over 60", "60+", "under 25 years old": of a person, or in years.
_BOUND = re.compile(
    rf"(?P<of>\b{_PERSON} |\bage[ds]? |\A|, ?)?\b(?P<bound>over|above|more than|older than|at least|under|below|less than|"
    rf"younger than|up to) (?:the age of )?(?P<n>{_N})\b(?P<years>[ -]?{_YEARS}(?:[ -]?olds?| of age|(?=\s*(?:[,.;|)]|$))))?(?!\w|[.:%]\d)"
    rf"|(?P<of_more>\b{_PERSON},? (?:aged? )?)?\b(?P<more>[1-9]\d)(?:\+| plus| and over)(?P<more_years> ?{_YEARS}(?: ?olds?)?)?(?!\w)"
)
#: After a number alone: it counts nothing else ("under 30 umbrellas").
_NO_NOUN = r"(?=\s*(?:[,.;|)]|$|(?:with|in|at|on|and|who|wearing|holding|today|[a-z]+ing)\b))"
#: What is written over, each with the group that holds its number.
_PATTERNS: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern)
    for pattern in (
        # "25 years old", "25-year-old", "25yo", "25 y.o.", "25 years of age", "aged 30-39 years"
        rf"\b{_RANGE}[ -]?(?:{_YEARS}[ -]?olds?|y\.?\s?/?\s?o\b\.?|years? of age|years?[ -]?aged)(?!\w)",
        # "six-month-old"
        rf"\b{_RANGE}[ -]?(?:months?|weeks?|days?)[ -]?olds?(?!\w)",
        # "aged 38", "age: 24", "age of 25", "at the age of 25", "aged between 30 and 39"
        rf"\baged?(?: group| range| bracket)?\s*[:=]?\s*(?:of |about |around |between |is )?{_RANGE}(?:\s+{_YEARS})?(?!\w)",
        # "a man of sixty"; "a mother of two" has two children
        rf"(?:(?<=man )|(?<=boy )|(?<=girl )|(?<=lad )|(?<=lass )|(?<=lady )|(?<=child ))of (?:about |around |some )?({_N})()"
        r"(?=\s*(?:[,.;|)]|$|(?:with|in|and|who|is|at|on|wearing|holding|holds|sits|stands|looks|smiles)\b))",
        # "she just turned 40"
        rf"\b(?:has )?(?:just |recently )?(?:turned|turns|turning) ({_N})(){_NO_NOUN}",
        # "a man (52)", "woman 34 with ..."
        r"(?:(?<=man )|(?<=boy )|(?<=girl )|(?<=lady )|(?<=male ))([1-9]\d)()(?=\s*(?:[,.;|)]|$|with\b|wearing\b|in\b))",
        # "man 33 years", "woman of 40 years": the years end the phrase
        rf"\b{_RANGE}\s?{_YEARS}\b(?=\s*(?:[,.;|)]|$))",
    )
)
_AND_NO_MORE = rf"(?=\s*(?:[,.;|)]|$|with\b|wearing\b|(?:{_SAID} ){{0,2}}{_PERSON}\b))"
#: "in her late 20s"; without a possessive only where no decade of a century can be meant: "mid-thirties", "early 40s", "male, 30s".
_IN_DECADE = re.compile(
    rf"\b(?P<whose>in (?:his|her|their) )(?:{_PART}[ -])?(?P<own>{_DECADES})(?!\w)"
    rf"|(?P<who>\b{_PERSON} )in (?:{_PART}[ -])?(?P<hers>{_DECADES}){_AND_NO_MORE}"
    rf"|(?<!the )\b(?:in )?{_PART}[ -](?P<part>{'|'.join(word for word in _DECADE if word.isalpha())}|[2-4]0'?s){_AND_NO_MORE}"
    r"|(?P<tag>\b(?:fe)?male,? )(?P<tens>[2-7]0s)(?=\s*(?:[,.;|)]|$|(?:asian|black|white|african|caucasian)\b))"
)  # fmt: skip
_SOMETHING = re.compile(rf"\b({'|'.join(_TENS.split())}|[2-9]0)[ -]?(?:something|ish)\b(?:[ -]years?[ -]old)?")
_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(?:middle[- ]?aged?(?! (?:castle|church|town|knight|armou?r|style))|mid[- ]?life)\b"), "middle_aged"),
    (re.compile(r"\byoung adults?\b(?! (?:novels?|fiction|books?|literature|fantasy|section))"), "@young adult"),
    (re.compile(r"\b(?:in (?:his|her|their) )?old age\b"), ""),
    (re.compile(r"\bof (?:an )?advanced age\b|\badvanced in years\b|\bin (?:his|her|their) (?:golden|twilight) years\b"), "@senior"),
)  # fmt: skip


def _years(text: str) -> int:
    if text.isdigit():
        return int(text)
    return sum(_NUMBER[word] for word in re.split("[ -]", text))


def band(first: str, last: str | None = None) -> str:
    """The band of an age or a range of ages, written in digits or words; "" where they are no one band of a person's."""
    ages = [_years(text) for text in (first, last) if text]
    bands = {age_level(age) for age in ages}
    return bands.pop() if len(bands) == 1 and max(ages) <= OLDEST else ""


def _bounded(match: re.Match[str]) -> str:
    """A bound written over by the one band of all ages it leaves, or as an age that is not known."""
    of, years = match["of"] or match["of_more"] or "", match["years"] or match["more_years"]
    age = _years(match["n"] or match["more"])
    if not years and not (of.strip(" ,") and re.match(_NO_NOUN, match.string[match.end() :])):
        return match[0]
    above = match["more"] or match["bound"] in ("over", "above", "more than", "older than", "at least")
    if age > OLDEST:
        level = "aged"
    elif above:
        level = "senior" if age_level(age) == "senior" else "aged"
    else:
        level = "young" if age_level(age - 1) == "young" else "aged"
    return f"{of} @{level} "


def ages_written_over(text: str) -> str:
    """Lower-case ``text`` with every stated age as ``@young``, ``@middle_aged`` or ``@senior``.

    Possessives before a decade are kept ("in her 40s" becomes "her @middle_aged"). Ages of several bands, and those that no
    person reaches, become ``@aged``.
    """

    def stated(match: re.Match[str]) -> str:
        months = re.search("month|week|day", match[0])
        return f" @{'young' if months else band(match[1], match[2]) or 'aged'} "

    text = re.sub(r"'(?=\d0'?s)", "", text)
    if _COMPARES.search(text):
        text = _BOUND.sub(_bounded, text)
    for pattern in _PATTERNS:
        text = pattern.sub(stated, text)

    def decade(match: re.Match[str]) -> str:
        kept = match["tag"] or match["who"] or (match["whose"] or "").removeprefix("in ")
        return f" {kept}@{age_level(_DECADE[match['own'] or match['hers'] or match['part'] or match['tens']])} "

    text = _IN_DECADE.sub(decade, text)
    text = _SOMETHING.sub(lambda match: f" @{age_level(_years(match[1]))} ", text)
    for pattern, level in _PHRASES:
        text = pattern.sub(f" {level if level.startswith('@') or not level else '@' + level} ", text)
    return text
