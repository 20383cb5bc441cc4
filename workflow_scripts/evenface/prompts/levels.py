"""What is said of one person, weighed: years before words for an age, ancestry before nationality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from evenface.prompts import lexicon as lx
from evenface.prompts.prompt import Remark
from evenface.taxonomy import DIMENSIONS, UNKNOWN

#: Adjectives for small children, before "girl" and "boy", which may be grown-up otherwise.
_LITTLE = frozenset(("little", "small", "tiny"))


@dataclass
class Person:
    """One mention of a person, or of several alike: what is said of them in full, which may leave a level ``unknown``."""

    levels: dict[str, str] = field(default_factory=dict)
    #: Whether the age was stated in years.
    years: bool = False
    plural: bool = False
    #: Shown beside the person mentioned before, not the same one.
    joined: bool = False
    bystander: bool = False


@dataclass
class Remarks:
    """What was found while reading: statements that exclude each other, and words that were not sure."""

    conflicts: list[Remark] = field(default_factory=list)
    unsure: list[Remark] = field(default_factory=list)

    def doubt(self, text: str, *names: str) -> None:
        self.unsure.append(Remark(names, text))


def twice(dimension: str) -> str:
    """The sentence for two statements that differ."""
    return f"{dimension} is said twice and differs; it is left open"


@dataclass
class Said:
    """Adjectives said of one person, not yet weighed against each other."""

    ages: list[str] = field(default_factory=list)
    ancestries: list[str] = field(default_factory=list)
    genders: list[str] = field(default_factory=list)
    little: bool = False
    #: Whether the noun is a job or rank, whose gender an adjective overrules.
    role: bool = False

    def take(self, word: str) -> None:
        """Note a word if it says something."""
        if word in lx.AGES:
            self.ages.append(word)
        elif word in lx.ANCESTRIES or word in lx.NATIONS or word in lx.COUNTRIES:
            self.ancestries.append(word)
        elif word in lx.GENDERS:
            self.genders.append(word)
        self.little |= word in _LITTLE

    def settle(self, person: Person, remarks: Remarks) -> None:
        """Add to the levels that the person's noun says."""
        genders = set(self.genders)
        if len(genders) > 1:  # "a male or female person"
            remarks.doubt(twice("gender"), "gender")
            person.levels["gender"] = UNKNOWN
        for gender in genders:
            if self.role:  # "a female policeman"
                person.levels["gender"] = gender if len(genders) == 1 else UNKNOWN
            elif person.levels.setdefault("gender", gender) not in (gender, UNKNOWN):
                text = f"gender is both {person.levels['gender']!r} and {gender!r}"
                remarks.conflicts.append(Remark(("gender",), text))
                person.levels["gender"] = UNKNOWN
        self._settle_age(person, remarks)
        if self.ancestries:
            level = ancestry(self.ancestries, remarks)
            if person.levels.setdefault("ethnicity", level) != level:
                remarks.doubt(twice("ethnicity"), "ethnicity")
                person.levels["ethnicity"] = UNKNOWN

    def _settle_age(self, person: Person, remarks: Remarks) -> None:
        years = {lx.AGES[word] for word in self.ages if word.startswith("@")}
        ages = years or {lx.AGES[word] for word in self.ages}
        if len(ages) > 1:
            one, *_, other = [level for level in DIMENSIONS["age"] if level in ages]
            if person.plural:  # "people, young and old"
                remarks.doubt(twice("age"), "age")
            else:
                remarks.conflicts.append(Remark(("age",), f"age is both {one!r} and {other!r}"))
            person.levels["age"] = UNKNOWN
        elif ages:
            (age,) = ages
            if not years and person.levels.get("age", age) != age:  # "an old child"
                remarks.doubt(twice("age"), "age")
                age = UNKNOWN
            person.levels["age"], person.years = age, bool(years)


def ancestry(words: Sequence[str], remarks: Remarks) -> str:
    """The level of words for ancestry, nationality and country said of one person; ``unknown``, with a remark, where it is
    none of the levels or not one alone."""
    races = {lx.ANCESTRIES[word] for word in words if word in lx.ANCESTRIES}
    nations = {
        lx.NATIONS.get(word) or lx.COUNTRIES[word] for word in words if word in lx.NATIONS or word in lx.COUNTRIES
    }
    named = ", ".join(repr(word) for word in dict.fromkeys(words) if not word.startswith("@")) or "the ancestry"
    if len(races) > 1 or (not races and len(nations) > 1) or (races and "asian" in nations - races):
        remarks.doubt(f"{named}: several ancestries; ethnicity is left open", "ethnicity")
        return UNKNOWN
    (level,) = races or nations
    if level not in DIMENSIONS["ethnicity"]:
        levels = ", ".join(DIMENSIONS["ethnicity"])
        remarks.doubt(f"{named}: none of the levels {levels}; ethnicity is left open", "ethnicity")
        return UNKNOWN
    return level


def unify(person: Person, other: Person, remarks: Remarks) -> None:
    """Add what is said of ``other``, who is the same person."""
    for dimension, level in other.levels.items():
        if dimension == "age" and person.years != other.years:
            if other.years:
                person.levels["age"], person.years = level, True
        elif person.levels.setdefault(dimension, level) != level:
            remarks.doubt(twice(dimension), dimension)
            person.levels[dimension] = UNKNOWN
