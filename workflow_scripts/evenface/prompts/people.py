"""Who a phrase of a prompt speaks of: nouns for people, and the adjectives, verbs and ages that say something of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from evenface.prompts import lexicon as lx
from evenface.prompts.attributes import stated_attributes
from evenface.prompts.levels import Person, Remarks, Said, ancestry, unify
from evenface.prompts.phrases import words_of
from evenface.taxonomy import UNKNOWN


@dataclass
class Phrase(Remarks):
    """What one phrase says."""

    people: list[Person] = field(default_factory=list)
    #: Levels said without a noun for a person: dimension, level, whether in years.
    loose: list[tuple[str, str, bool]] = field(default_factory=list)
    #: Genders of the pronouns, and whether one is the subject ("she", "he").
    pronouns: frozenset[str] = frozenset()
    subject: bool = False
    #: A colour alone that may be ancestry, and whether the phrase is a tag for a person ("woman", "middle-aged").
    colour: str = ""
    tag: bool = False
    animal: bool = False
    #: Whether it begins with an article.
    article: bool = False
    background: bool = False
    attributes: list[tuple[str, int]] = field(default_factory=list)

    def add_loose(self, said: Said, *, plural: bool = False) -> None:
        """Note levels that belong to whoever the prompt shows; ``plural`` if it may be several ("young and old")."""
        person = Person(plural=plural)
        said.settle(person, self)
        self.loose += [(dimension, level, person.years) for dimension, level in person.levels.items()]


@lru_cache(maxsize=1 << 14)
def read_phrase(phrase: str) -> Phrase:
    """Read a phrase of :func:`evenface.prompts.phrases.phrases_of`. The result is shared: do not change it."""
    words = words_of(phrase)
    read = Phrase(
        pronouns=frozenset(
            lx.PRONOUNS[word] for k, word in enumerate(words) if word in lx.PRONOUNS and not _whose(words, k)
        ),
        animal=any(word in lx.ANIMALS and follows not in lx.HAIR for word, follows in zip(words, [*words[1:], ""])),
        article=words[:1] != [] and words[0] in lx.DETERMINERS,
        background="background" in words or "backdrop" in words,
    )
    read.attributes = stated_attributes(phrase, words, read)
    read.subject = len(words) > 1 and words[0] in lx.PRONOUNS and words[1] in lx.BODY  # "her hands are folded"
    named = [
        word for word in words if word in lx.PEOPLE or word in lx.AGES or word in lx.ANCESTRIES or word in lx.NATIONS
    ]
    described = all(word in lx.PEOPLE or lx.describes(word) or word in lx.DETERMINERS for word in words)
    read.tag = described and any(word not in lx.COLOURS for word in named)
    place, end = 0, -1
    while place < len(words):
        word = words[place]
        if word in lx.PEOPLE and not _modifies_a_person(words, place):
            place, end = _read_noun(words, place, end, read)
            continue
        if _stands_alone(words, place):  # "an Asian in a suit", "an eight-year-old"
            said, person = Said(), Person(joined=bool(read.people))
            said.take(word)
            said.settle(person, read)
            read.people.append(person)
            end = place
        elif word in lx.SUBJECTS:
            read.subject = True
            said = Said()
            _take_after(words, place + 1, said)
            read.add_loose(said)
        place += 1
    if not read.people:
        _read_adjectives(words, read)
    if not any(person.years for person in read.people) and not any(years for _, _, years in read.loose):
        _read_stray_years(words, read)
    _read_descent(words, read)
    return read


def _whose(words: Sequence[str], place: int) -> bool:
    """Whether a possessive at ``place`` only says whose relative is shown: "his wife", "her old husband"."""
    k = place + 1
    while k < len(words) and (lx.describes(words[k]) or lx.adjective(words[k])):
        k += 1
    return k < len(words) and bool(lx.PEOPLE.get(words[k], {}).get("gender"))


# --- a noun for a person ---


def _modifies_a_person(words: Sequence[str], place: int) -> bool:
    """Whether "female" at ``place`` only leads to a noun for a person that comes later ("female young doctor")."""
    if words[place] not in lx.GENDERS:
        return False
    k = place + 1
    while k < len(words) and (lx.describes(words[k]) or lx.adjective(words[k])) and words[k] not in lx.GENDERS:
        k += 1
    return k < len(words) and words[k] in lx.PEOPLE and words[k] not in lx.GENDERS


def _ends(word: str | None) -> bool:
    """Whether the noun before ``word`` is a whole: no other noun follows."""
    return (
        word is None or word == "'s" or word[0].isdigit() or word in lx.FUNCTION or word in lx.COPULAS or word in lx.BODY
        or word in lx.PEOPLE or word in lx.NEGATIONS or lx.describes(word) or lx.adjective(word)
    )  # fmt: skip


def _is_verb(words: Sequence[str], place: int) -> bool:
    """Whether a person does something at ``place``: "straightens his cap"."""
    after = words[place + 1] if place + 1 < len(words) else ""
    return words[place].endswith("s") and (after in lx.DETERMINERS or after in lx.PRONOUNS)


def _read_noun(words: Sequence[str], first: int, end_before: int, read: Phrase) -> tuple[int, int]:
    """Read the person whose noun stands at ``first``, unless it is part of a thing, negated or not shown.

    Where to go on, and where the last mention ends; ``end_before`` is where the one before ended.
    """
    last = first
    while last + 1 < len(words) and words[last + 1] in lx.PEOPLE and words[last + 1] not in lx.COLLECTIVES:
        last += 1
    follows = words[last + 1] if last + 1 < len(words) else None
    nouns, head, end = words[first : last + 1], words[last], last
    if follows == "'s":
        end = last + 2
        while end < len(words) and (lx.describes(words[end]) or lx.adjective(words[end])):
            end += 1
        if end >= len(words) or words[end] not in lx.BODY:
            return end, end_before
    elif follows in lx.THINGS or (follows in lx.STYLES and head not in lx.ANYBODY):
        return last + 2, end_before
    elif head in lx.KIN_OF_ANIMALS and first and (words[first - 1] in lx.ANIMALS or words[first - 1] == "its"):
        return last + 1, end_before
    elif head in lx.COLLECTIVES and (follows == "of" or follows in lx.BODY):  # "a group of women", "a pair of glasses"
        return last + 1, last
    elif head in lx.MODIFYING and not (_ends(follows) or _is_verb(words, last + 1)):
        compound = last + 2 < len(words) and words[last + 2] in lx.PROFESSIONS  # "female software engineer"
        if head not in lx.COLLECTIVES and not compound:
            read.doubt(f"{head!r} before {follows!r} may be said of a thing; it is not read", *lx.PEOPLE[head])
        return last + 1, end_before
    said = Said()
    start = _take_before(words, first, head, said, read)
    negated = start >= 0 and words[start] in lx.NEGATIONS
    article_end = start
    while start >= 0 and (
        words[start] in lx.DETERMINERS
        or words[start] in lx.NUMBERS
        or words[start] in lx.PRONOUNS
        or words[start] == "'s"
    ):
        start -= 1
    article = words[start + 1 : article_end + 1]
    before = words[start] if start >= 0 else ""
    if negated or before in lx.NEGATIONS or before in lx.ELSEWHERE:
        return last + 1, end_before
    if before == "as" and start and words[start - 1] in lx.DISGUISED:
        return last + 1, end_before
    plural = _is_plural(head, article)
    if before == "of" and end_before >= 0 and end_before == start - 1:
        if words[end_before] not in lx.COLLECTIVES:  # "the wife of a king"
            return last + 1, end_before
        plural = True
    person = Person(_levels_of(nouns, said, read), plural=plural, bystander=head in lx.BYSTANDERS)
    _take_after(words, end + 1, said)
    said.role = head not in lx.ANYBODY and head not in lx.KIN and head not in lx.GENDERS
    said.settle(person, read)
    person.bystander |= head in lx.AMBIGUOUS and not person.levels
    between = words[end_before + 1 : first]
    if read.people and (before in lx.COPULAS or before == "as" or _same(between, read.people[-1], person)):
        unify(read.people[-1], person, read)
    else:
        person.joined = (
            bool(read.people) or before in ("and", "&", "with") or any(word in lx.PRONOUNS for word in article)
        )
        read.people.append(person)
    return last + 1, end


def _levels_of(nouns: Sequence[str], said: Said, read: Phrase) -> dict[str, str]:
    """What one person's nouns say ("boy king", "little girl")."""
    levels: dict[str, str] = {}
    for place, noun in enumerate(nouns, 1):
        if noun in lx.ANCESTRIES or noun in lx.NATIONS:
            said.take(noun)
        for dimension, level in lx.PEOPLE[noun].items():
            adjective = (noun in lx.ANCESTRIES or noun in lx.NATIONS) and place < len(nouns)  # "Latino woman"
            rank = (noun == "senior" and nouns[-1] in lx.PROFESSIONS) or (
                noun in ("senior", "elder") and nouns[-1] in lx.KIN
            )
            if (dimension == "age" and rank) or (dimension == "gender" and adjective and level == "male"):
                continue
            if levels.setdefault(dimension, level) != level:
                read.doubt(f"{' '.join(nouns)!r} says two levels of {dimension}; it is left open", dimension)
                levels[dimension] = UNKNOWN
    if said.little and lx.GROWING & set(nouns):
        levels["age"] = "young"
    return levels


def _is_plural(head: str, article: Sequence[str]) -> bool:
    if any(word in lx.NUMBERS for word in article) or head in lx.COLLECTIVES or (head[0].isdigit() and head[0] != "1"):
        return True
    if any(word in ("a", "an", "one", "this", "another") for word in article):  # "a women"
        return False
    return (
        head in ("people", "children", "folks")
        or head.endswith("men")
        or (head.endswith("s") and not head.endswith("ss"))
    )


def _same(between: Sequence[str], person: Person, other: Person) -> bool:
    """Whether commas were left out ("woman portrait beautiful girl") and both nouns are for one person."""
    genders = {one.levels["gender"] for one in (person, other) if "gender" in one.levels}
    parting = (lx.FUNCTION, lx.COPULAS, lx.DETERMINERS, lx.NUMBERS)
    return (
        len(genders) < 2
        and not other.plural
        and not any(word.endswith("ing") or any(word in words for words in parting) for word in between)
    )


# --- adjectives before and after the noun ---


def _take_before(words: Sequence[str], first: int, head: str, said: Said, read: Phrase) -> int:
    """Take the adjectives before the noun at ``first``; the place of the first word that is none."""
    k = first - 1
    compound = k >= 0 and words[first] in lx.PROFESSIONS and _is_noun(words[k])  # "police officer", "movie star"
    k -= compound
    unlisted = compound  # beyond an unlisted word a colour may be that of a thing
    while k >= 0:
        word = words[k]
        if word in lx.COLOURS:
            if head in lx.COLOURED_TITLES or unlisted:
                read.doubt(f"{word!r} before {head!r} may be a colour; ethnicity is left open", "ethnicity")
            else:
                said.take(word)
        elif word in lx.COMPOUNDS:  # "black-haired", "dark-skinned"
            unlisted = True
            while k and (lx.describes(words[k - 1]) or lx.adjective(words[k - 1])):
                k -= 1
        elif word in lx.AGES:
            if not _not_aged(word, head) and not (compound and word in lx.THINGLY_AGES):
                said.take(word)
        elif word in ("and", "or", "&", "but"):
            if not (k and _joins(words[k - 1], words[k + 1])):
                break
        elif lx.describes(word):
            said.take(word)
        elif word in lx.PEOPLE or not lx.adjective(word) or word in lx.FUNCTION or word in lx.NEGATIONS:
            beyond = words[k - 1] if k and _is_noun(word) else ""
            if beyond in lx.AGES or beyond in lx.ANCESTRIES or beyond in lx.NATIONS:
                read.doubt(
                    f"{beyond!r} before {word!r} and {head!r} may be said of either; it is not read", _dimension(beyond)
                )
            break
        else:
            unlisted = True
        k -= 1
    return k


def _dimension(word: str) -> str:
    return "age" if word in lx.AGES else "ethnicity"


def _joins(left: str, right: str) -> bool:
    """Whether "and" between two words joins adjectives of one noun."""
    return all(lx.describes(word) or lx.adjective(word) for word in (left, right))


def _is_noun(word: str) -> bool:
    """Whether an unlisted word may be a noun that makes a compound with the next."""
    listed = (
        lx.FUNCTION, lx.DETERMINERS, lx.PEOPLE, lx.COPULAS, lx.NEGATIONS, lx.NUMBERS, lx.PRONOUNS, lx.ELSEWHERE, lx.COMPOUNDS,
        lx.BODY, lx.ANIMALS,
    )  # fmt: skip
    return word.isalpha() and not (lx.describes(word) or lx.adjective(word) or any(word in words for words in listed))


def _not_aged(word: str, head: str) -> bool:
    """Whether "old" or "senior" says nothing of the age: a rank, an old friend, an older brother."""
    if word == "older":
        return head not in lx.AGED
    return (word == "senior" and head in lx.PROFESSIONS) or (word in lx.THINGLY_AGES and head in lx.NOT_AGED)


_RELATIVE = frozenset(("who", "that", "which"))
_TO_AGE = frozenset("who that which of her his their age aged a an is was".split())


def _take_after(words: Sequence[str], place: int, said: Said) -> None:
    """Take what follows a person's noun: "woman elderly smiling", "who is Asian", "in her 40s", "from Japan"."""
    taken: list[str] = []
    k, copula = place, False
    while k < len(words):
        word, follows = words[k], words[k + 1] if k + 1 < len(words) else ""
        if word == "from" and follows in lx.COUNTRIES:
            said.take(follows)
            k += 1
        elif word in lx.COPULAS or (word in _RELATIVE and follows in lx.COPULAS):
            copula = True
        elif lx.describes(word) and (copula or word not in lx.COLOURS):
            taken.append(word)
        elif not (word in _TO_AGE and _leads_to_age(words, k)):
            break
        k += 1
    stop = words[k] if k < len(words) else None
    whole = (
        stop is None
        or (stop in lx.FUNCTION and stop not in ("a", "an"))
        or (not copula and (lx.adjective(stop) or stop in lx.BODY))
    )
    for word in taken:
        if whole or word.startswith("@"):
            said.take(word)


def _leads_to_age(words: Sequence[str], k: int) -> bool:
    while k < len(words) and words[k] in _TO_AGE:
        k += 1
    return k < len(words) and words[k].startswith("@") and words[k] in lx.AGES


# --- without a noun ---


def _stands_alone(words: Sequence[str], place: int) -> bool:
    """Whether ancestry or an age in years stands as a noun: an article before it, nothing to describe after it."""
    word = words[place]
    if word in lx.HAIRED and words[:place] and words[place - 1] in ("a", "an", "one"):
        return place + 1 == len(words) or words[place + 1] in lx.FUNCTION
    if word in lx.COLOURS or not (
        word in lx.ANCESTRIES or word in lx.NATIONS or (word.startswith("@") and word in lx.AGES)
    ):
        return False
    k = place - 1
    while k >= 0 and (words[k] in lx.AGES or words[k] in lx.QUALITIES):
        k -= 1
    follows = words[place + 1] if place + 1 < len(words) else None
    return (
        k >= 0 and words[k] in ("a", "an", "one") and (follows is None or follows in lx.FUNCTION) and follows != "and"
    )


_LABELS = frozenset("and age aged sex gender years".split())


def _read_adjectives(words: Sequence[str], read: Phrase) -> None:
    """Adjectives alone between commas ("woman, elderly"), or before "face"."""
    said = Said()
    if words and all(lx.describes(word) or lx.adjective(word) or word in _LABELS for word in words):
        for word in words:
            if word in lx.COLOURS:
                read.colour = word
            else:
                said.take(word)
    elif words and words[-1] in ("face", "complexion") and all(lx.describes(word) for word in words[:-1]):
        for word in words[:-1]:
            if word not in lx.COLOURS and word not in lx.THINGLY_AGES:
                said.take(word)
    read.add_loose(said, plural="and" in words or "or" in words)


def _read_stray_years(words: Sequence[str], read: Phrase) -> None:
    """Years at the beginning of a phrase or after a possessive: "60 years old and ...", "in her 40s"."""
    for k, word in enumerate(words):
        if word.startswith("@") and word in lx.AGES:
            before, after = words[k - 1] if k else "", words[k + 1] if k + 1 < len(words) else None
            if (not before or before == "their" or before in lx.PRONOUNS or before in lx.COPULAS) and (
                after is None or after in lx.FUNCTION
            ):
                read.loose.append(("age", lx.AGES[word], True))


def _read_descent(words: Sequence[str], read: Phrase) -> None:
    """Ancestry beside a word for it: "of African descent", "ethnicity black", "with Asian features"."""
    for k, word in enumerate(words):
        if word not in lx.DESCENT:
            continue
        named: list[str] = []
        for near in (range(k - 1, -1, -1), range(k + 1, len(words))):
            for i in near:
                if words[i] in lx.ANCESTRIES or words[i] in lx.NATIONS:
                    named.append(words[i])
                elif words[i] not in ("and", "or", "facial", "is"):
                    break
            if named:
                break
        if word == "features":
            named = [one for one in named if one not in lx.COLOURS]
        if named:
            read.loose.append(("ethnicity", ancestry(named, read), False))
