"""What the words of a prompt say of the person it shows.

Groups are read only where words stand for the person: an adjective before a noun for a person ("elderly Black woman"),
after a verb ("she is Asian"), or alone between commas ("woman, elderly"); stated years decide the age. Of several people, a
level counts only where all have it. What is not sure stays ``unknown`` and is named in :attr:`Reading.unsure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from evenface.prompts.attributes import WORN
from evenface.prompts.levels import Person, Remarks, twice
from evenface.prompts.lexicon import COLOURS
from evenface.prompts.people import Phrase, read_phrase
from evenface.prompts.phrases import phrases_of
from evenface.prompts.prompt import Remark
from evenface.taxonomy import CONTRADICTIONS, DIMENSIONS, UNKNOWN


class Reading(NamedTuple):
    """What a prompt says.

    ``demographics``: dimension -> level, ``unknown`` where open or not sure. ``attributes``: CelebA name -> 1 or -1.
    ``conflicts``: statements that exclude each other; what they are about is open too. ``unsure``: words that may concern
    the person and were not read.
    """

    demographics: dict[str, str]
    attributes: dict[str, int]
    conflicts: list[Remark]
    unsure: list[Remark]


def read_prompt(text: str) -> Reading:
    """Demographics, attributes, contradictions and what is not sure, as the words of a prompt state them."""
    phrases = [read_phrase(phrase) for phrase in phrases_of(text)]
    remarks = Remarks(
        [one for phrase in phrases for one in phrase.conflicts], [one for phrase in phrases for one in phrase.unsure]
    )
    demographics = _demographics(phrases, remarks)
    attributes: dict[str, int] = {}
    excluded: dict[str, None] = {}
    plural = any(person.plural for person in _shown(phrases))

    def exclude(text: str, *names: str) -> None:
        """Leave ``names`` open: a contradiction of one person, but no wonder among several."""
        if plural:
            remarks.doubt(f"several people: {text}; it is left open whose", *names)
        else:
            remarks.conflicts.append(Remark(names, text))
        excluded.update(dict.fromkeys(names))

    for name, value in _attributes(phrases, remarks):
        if attributes.setdefault(name, value) != value and name not in excluded:
            exclude(f"{name} is asked for and excluded", name)
    if attributes.get("No_Beard") == 1 and (kept := [name for name in _WITHOUT_A_BEARD if attributes.get(name) == 1]):
        remarks.doubt(f"{kept[0]} but no beard; No_Beard is left open", "No_Beard")
        del attributes["No_Beard"]
    for one, other in CONTRADICTIONS:
        if attributes.get(one) == 1 == attributes.get(other):
            exclude(f"{one} together with {other}", one, other)
    attributes = {name: value for name, value in attributes.items() if name not in excluded}
    return Reading(demographics, attributes, remarks.conflicts, list(dict.fromkeys(remarks.unsure)))


#: "A mustache and no beard" is what people say of one face, although CelebA's labels exclude each other.
_WITHOUT_A_BEARD = ("Mustache", "5_o_Clock_Shadow")


def _shown(phrases: Sequence[Phrase]) -> list[Person]:
    """The people a prompt shows; bystanders and people in the background only where there are no others."""
    people = [(person, phrase) for phrase in phrases for person in phrase.people]
    front = [person for person, phrase in people if not (person.bystander or phrase.background)]
    return front or [person for person, _ in people]


def _several(people: Sequence[Person]) -> bool:
    return len(people) > 1 and any(person.joined or person.plural for person in people)


def _demographics(phrases: Sequence[Phrase], remarks: Remarks) -> dict[str, str]:
    """Levels of the person, or of all people alike."""
    people = _shown(phrases)
    if _several(people):
        levels = _shared(people, remarks)
    else:
        # A phrase without a person speaks of the one that another phrase shows, or whose face it describes.
        loose = [one for phrase in phrases for one in (*phrase.loose, *_ancestry_of_tag(phrases, phrase, remarks))]
        described = bool(loose) and any(phrase.attributes for phrase in phrases)
        subject = (described or any(phrase.subject for phrase in phrases)) and not any(
            phrase.animal for phrase in phrases
        )
        loose = loose if people or subject else []
        levels = _united(people, loose, remarks)
        genders = {gender for phrase in phrases for gender in phrase.pronouns}
        silent = not any("gender" in person.levels or person.plural for person in people)
        if len(genders) == 1 and silent and (people or subject):
            levels["gender"] = genders.pop()
    others = {gender for phrase in phrases for gender in phrase.pronouns} - {levels["gender"]}
    if levels["gender"] != UNKNOWN and others:
        remarks.doubt("a pronoun of another gender: somebody else is meant too; gender is left open", "gender")
        levels["gender"] = UNKNOWN
    return levels


def _ancestry_of_tag(phrases: Sequence[Phrase], phrase: Phrase, remarks: Remarks) -> list[tuple[str, str, bool]]:
    """ "Black" or "white" alone between commas: ancestry among tags for a person ("Black, woman", "man, white, 45"), else open."""
    if not phrase.colour:
        return []
    place = next(i for i, one in enumerate(phrases) if one is phrase)
    before = phrases[place - 1].tag if place else False
    after = phrases[place + 1].tag if place + 1 < len(phrases) else before
    if after:
        return [("ethnicity", COLOURS[phrase.colour], False)]
    remarks.doubt(f"{phrase.colour!r} alone may be a colour; ethnicity is left open", "ethnicity")
    return []


def _shared(people: Sequence[Person], remarks: Remarks) -> dict[str, str]:
    """The levels that all of several people have."""
    levels = {}
    for dimension in DIMENSIONS:
        found = {person.levels.get(dimension, UNKNOWN) for person in people}
        levels[dimension] = found.pop() if len(found) == 1 else UNKNOWN
        if found:
            remarks.doubt(
                f"several people: {dimension} is read only where all have the same; it is left open", dimension
            )
    return levels


def _united(people: Sequence[Person], loose: Sequence[tuple[str, str, bool]], remarks: Remarks) -> dict[str, str]:
    """The levels of one person, mentioned once or more."""
    said = [
        *loose,
        *((dimension, level, person.years) for person in people for dimension, level in person.levels.items()),
    ]
    levels = {}
    for dimension in DIMENSIONS:
        found = {(level, years and dimension == "age") for d, level, years in said if d == dimension}
        if any(years for _, years in found) and not any(person.plural for person in people):
            found = {one for one in found if one[1]}
        if len({level for level, _ in found}) > 1:
            remarks.doubt(twice(dimension), dimension)
            found = set()
        levels[dimension] = found.pop()[0] if found else UNKNOWN
    return levels


def _attributes(phrases: Sequence[Phrase], remarks: Remarks) -> list[tuple[str, int]]:
    """What is said of the person; nothing where it is said of an animal or a thing, or of one of several people."""
    people = [person for phrase in phrases for person in phrase.people]
    if not people and any(phrase.animal for phrase in phrases):
        return []
    lying = not people and not any(phrase.subject for phrase in phrases)  # "a hat" alone is none that somebody wears
    stated = [
        pair
        for phrase in phrases
        if phrase.people or not phrase.animal
        for pair in phrase.attributes
        if not (lying and phrase.article and pair[0] in WORN)
    ]
    shown = _shown(phrases)
    one_of_them = any(person.plural for person in shown) and any(
        phrase.subject for phrase in phrases
    )  # "a couple, he is bald"
    if stated and (_several(shown) or one_of_them):
        names = tuple(dict.fromkeys(name for name, _ in stated))
        remarks.doubt(
            f"several people: it is open whose {', '.join(names)} {'is' if len(names) == 1 else 'are'}", *names
        )
        return []
    return stated
