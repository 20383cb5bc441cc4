"""Vocabularies of the data sets, and maps between them. Everything is identified by name.

Sources: CelebA's ``list_attr_celeba.txt`` (Liu et al., ICCV 2015), MAAD-Face's CSV header
(Terhörst et al., IEEE TIFS 2021), the class lists of FairFace (Kärkkäinen and Joo, WACV 2021),
FaceXFormer (Narayan et al., 2024) and DeepFace (Serengil and Ozpinar, 2020).
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache

from evenface.errors import UserError, unknown_name

log = logging.getLogger("evenface")

#: The 40 CelebA attributes in the order of the published file.
CELEBA_ATTRIBUTES: tuple[str, ...] = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup",
    "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns",
    "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip

#: The 47 MAAD-Face attributes in the order of the published file (its columns 2 to 48).
MAAD_ATTRIBUTES: tuple[str, ...] = (
    "Male", "Young", "Middle_Aged", "Senior", "Asian", "White", "Black", "Rosy_Cheeks",
    "Shiny_Skin", "Bald", "Wavy_Hair", "Receding_Hairline", "Bangs", "Sideburns", "Black_Hair",
    "Blond_Hair", "Brown_Hair", "Gray_Hair", "No_Beard", "Mustache", "5_o_Clock_Shadow", "Goatee",
    "Oval_Face", "Square_Face", "Round_Face", "Double_Chin", "High_Cheekbones", "Chubby",
    "Obstructed_Forehead", "Fully_Visible_Forehead", "Brown_Eyes", "Bags_Under_Eyes",
    "Bushy_Eyebrows", "Arched_Eyebrows", "Mouth_Closed", "Smiling", "Big_Lips", "Big_Nose",
    "Pointy_Nose", "Heavy_Makeup", "Wearing_Hat", "Wearing_Earrings", "Wearing_Necktie",
    "Wearing_Lipstick", "No_Eyewear", "Eyeglasses", "Attractive",
)  # fmt: skip

#: Level of a demographic dimension that is missing, ambiguous or outside the study.
UNKNOWN = "unknown"

#: Demographic dimensions and their levels, in the order of all tables. They follow MAAD-Face's
#: labels: two genders, three age bands, three ethnicities, all as perceived.
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "gender": ("female", "male"),
    "age": ("young", "middle_aged", "senior"),
    "ethnicity": ("asian", "black", "white"),
}

#: Published levels of the dimensions, by the name of their vocabulary; ``evenface`` is the default.
VOCABULARIES: dict[str, dict[str, tuple[str, ...]]] = {
    "evenface": DIMENSIONS,
    "utkface": {"ethnicity": ("white", "black", "asian", "indian", "others")},
    "fairface": {
        "ethnicity": ("white", "black", "latino_hispanic", "east_asian", "southeast_asian", "indian", "middle_eastern"),
        "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+"),
    },
    "fairface_4": {"ethnicity": ("white", "black", "asian", "indian")},
    "facexformer": {
        "ethnicity": ("white", "black", "indian", "asian", "others"),
        "age": ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+"),
    },
    "deepface": {"ethnicity": ("asian", "indian", "black", "white", "middle_eastern", "latino_hispanic")},
}

#: Words of data sets and the level that each counts as where a vocabulary has it; the first that it has. UTKFace's authors
#: count Hispanic, Latino and Middle Eastern faces among others. Levels without a counterpart become unknown: they are never
#: forced into one.
BROADER: dict[str, tuple[str, ...]] = {
    "east_asian": ("asian",), "southeast_asian": ("asian",), "latino_hispanic": ("others",), "middle_eastern": ("others",),
    "woman": ("female",), "man": ("male",), "other": ("others",), "caucasian": ("white",), "african_american": ("black",),
}  # fmt: skip

#: Attributes that repeat a demographic dimension; evaluating them within it would be circular.
CIRCULAR: dict[str, str] = {"Male": "gender", "Young": "age"}

#: MAAD-Face columns that spell a demographic level.
MAAD_LEVELS: dict[str, dict[str, str]] = {
    "age": {"Young": "young", "Middle_Aged": "middle_aged", "Senior": "senior"},
    "ethnicity": {"Asian": "asian", "White": "white", "Black": "black"},
}

# Class lists of published annotators, in the order of their outputs. :func:`levels_of_classes` says what they count as.

FAIRFACE_RACE_7: tuple[str, ...] = (
    "White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern",
)  # fmt: skip
FAIRFACE_GENDER: tuple[str, ...] = ("Male", "Female")
FAIRFACE_AGE: tuple[str, ...] = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
FACEXFORMER_RACE: tuple[str, ...] = ("White", "Black", "Indian", "Asian", "Others")
FACEXFORMER_GENDER: tuple[str, ...] = ("male", "female")
FACEXFORMER_AGE: tuple[str, ...] = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
DEEPFACE_RACE: tuple[str, ...] = ("asian", "indian", "black", "white", "middle eastern", "latino hispanic")
DEEPFACE_GENDER: tuple[str, ...] = ("Woman", "Man")
#: DeepFace's emotions, which are FER2013's in the order of its codes.
DEEPFACE_EMOTION: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

#: How files write labels: the values a coding allows, and what each means. Tables of this workflow hold int8
#: labels in {+1 present, -1 absent, 0 undefined}, which is ``minus_one_one``.
LABEL_CODINGS: dict[str, dict[int, int]] = {
    "minus_one_one": {1: 1, -1: -1, 0: 0},
    "zero_one": {1: 1, 0: -1},
}

#: Hair-colour words and the attribute that annotates each.
HAIR_COLOURS: dict[str, str] = {
    "black": "Black_Hair",
    "blond": "Blond_Hair",
    "brown": "Brown_Hair",
    "gray": "Gray_Hair",
}

#: Exclusive upper ages in years of the bands before the last.
AGE_BOUNDS: dict[str, float] = {"young": 30.0, "middle_aged": 50.0}

#: The highest age in years that a table may state.
MAX_AGE = 120

#: Pairs of attributes that no face has both of.
CONTRADICTIONS: tuple[tuple[str, str], ...] = (
    *((a, "No_Beard") for a in ("Goatee", "Mustache", "5_o_Clock_Shadow")),
    *((a, b) for i, a in enumerate(HAIR_COLOURS.values()) for b in list(HAIR_COLOURS.values())[i + 1 :]),
    *((a, "Bald") for a in (*HAIR_COLOURS.values(), "Bangs", "Straight_Hair", "Wavy_Hair")),
    ("Straight_Hair", "Wavy_Hair"),
)


def age_level(years: float) -> str:
    """Age band of an age in years: young under 30, middle_aged under 50, else senior."""
    return level_of_years(years, DIMENSIONS["age"])


def level_of_years(years: float, levels: Sequence[str]) -> str:
    """The band of an age in years among ``levels``, unknown if none of them is the band.

    The default's bands are bounded by :data:`AGE_BOUNDS`; others say their whole years, such as ``20-29`` and ``70+``.
    """
    if tuple(levels) == DIMENSIONS["age"]:
        return next((level for level, bound in AGE_BOUNDS.items() if years < bound), "senior")
    for level in levels:
        if (bounds := years_of(level)) and bounds[0] <= years < bounds[1]:
            return level
    return UNKNOWN


def years_of(band: str) -> tuple[float, float] | None:
    """The first year of a band such as ``20-29`` or ``70+``, and the year after its last; None for other texts."""
    if found := re.fullmatch(r"(\d+)(?:-(\d+)|\+)", band):
        first, last = int(found[1]), int(found[2]) if found[2] else math.inf
        return (float(first), float(last) + 1) if last >= first else None
    return None


def study_levels(demographics: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Dimension -> levels of a study: the default's, with those of the configuration's key ``demographics``.

    There a dimension has a list of levels, or the name of a published vocabulary (:data:`VOCABULARIES`). UserError for a
    vocabulary that is not known or has no such dimension.

    >>> study_levels({"ethnicity": "utkface", "skin": ["light", "dark"]})["ethnicity"]
    ('white', 'black', 'asian', 'indian', 'others')
    """
    found = dict(DIMENSIONS)
    for dimension, given in demographics.items():
        if isinstance(given, str):
            having = {name: known[dimension] for name, known in VOCABULARIES.items() if dimension in known}
            if not having:
                raise UserError(
                    f"demographics.{dimension} is {given!r}; list its levels: no published vocabulary has this dimension"
                )
            if given not in having:
                raise UserError(f"{unknown_name(f'demographics.{dimension}', given, having)}, or list the levels")
            given = having[given]
        found[dimension] = tuple(given)
    return found


#: Environment variable that passes the levels of the study to the jobs: the configuration's key ``demographics``, as JSON.
STUDY = "EVENFACE_DEMOGRAPHICS"


def use_study(demographics: Mapping[str, str | Sequence[str]]) -> None:
    """Make these levels those of :func:`study`, in this process and in those that it starts. UserError as there.

    A study has one vocabulary, as it has one set of extensions. Everything that depends on it also has it among its params.
    """
    study_levels(demographics)
    os.environ[STUDY] = json.dumps(dict(demographics))


def study() -> dict[str, tuple[str, ...]]:
    """Dimension -> levels of the study that this process works on: those of :func:`use_study`, by default the default's.

    >>> list(study())
    ['gender', 'age', 'ethnicity']
    """
    return dict(_study(os.environ.get(STUDY, "{}")))


@cache
def _study(text: str) -> dict[str, tuple[str, ...]]:
    return study_levels(json.loads(text))


def levels_of_classes(classes: Sequence[str], dimension: str) -> dict[str, str]:
    """Class of an annotator -> level of the study that it counts as; unknown if it has no counterpart, never the nearest.

    The log says, once in a process, which classes have no level of their own.

    >>> levels_of_classes(FAIRFACE_RACE_7, "ethnicity")["East Asian"]
    'asian'
    """
    return dict(_class_levels(tuple(classes), dimension, study().get(dimension, ())))


@cache
def _class_levels(classes: tuple[str, ...], dimension: str, levels: tuple[str, ...]) -> dict[str, str]:
    found = {name: level_of(name, dimension, levels) or UNKNOWN for name in classes}
    other = [f"{name} counts as {level}" for name, level in found.items() if not same_word(name, level)]
    if other:
        log.info("classes of %s: %s", dimension, ", ".join(other))
    return found


def level_of(text: str, dimension: str, levels: Sequence[str]) -> str | None:
    """The level among ``levels`` that a data set's word for one means; unknown if none does; None if the word is not known.

    Case, blanks, hyphens and underscores do not matter. An age may be a number of years, or a band that lies within one of the
    levels. A known word without a counterpart in ``levels`` is unknown, and so is an empty text.

    >>> level_of("East Asian", "ethnicity", ("asian", "black", "white"))
    'asian'
    >>> level_of("20-29", "age", ("young", "middle_aged", "senior"))
    'young'
    """
    spelled = {_plain(level): level for level in levels}
    word = _plain(text)
    if word in ("", UNKNOWN):
        return UNKNOWN
    if word in spelled:
        return spelled[word]
    if dimension == "age":
        bounds = years_of(text.strip())
        if bounds is None and re.fullmatch(r"\d+(\.\d+)?", text.strip()):
            bounds = float(text), float(text)
        if bounds is not None and bounds[0] <= MAX_AGE:
            last = bounds[0] if bounds[0] == bounds[1] else min(bounds[1] - 1, MAX_AGE)
            first, last = (level_of_years(years, levels) for years in (bounds[0], last))
            return first if first == last else UNKNOWN
    for broader in BROADER.get(word, ()):
        if broader in spelled:
            return spelled[broader]
    known = {_plain(level) for names in VOCABULARIES.values() for level in names.get(dimension, ())}
    return UNKNOWN if word in known or word in BROADER else None


def dimensions_of(columns: Iterable[str]) -> list[str]:
    """The dimensions of a faces table with these columns: those between ``dataset`` and ``demographics_source``.

    Of other tables, those of the default that are there.
    """
    names = list(columns)
    if "dataset" in names and "demographics_source" in names:
        found = names[names.index("dataset") + 1 : names.index("demographics_source")]
        if set(DIMENSIONS) <= set(found):
            return found
    return [name for name in DIMENSIONS if name in names]


def same_word(a: str, b: str) -> bool:
    """Whether two spellings differ at most in case, blanks, hyphens and underscores."""
    return _plain(a) == _plain(b)


def _plain(text: str) -> str:
    return re.sub(r"[\s_/-]+", "_", text.strip().lower())


def parse_grouping(text: str, where: str, dimensions: Collection[str] = tuple(DIMENSIONS)) -> tuple[str, ...]:
    """Dimensions of a grouping such as ``"gender*ethnicity"``, in the written order.

    Raises UserError naming ``where`` the grouping stands, and the unknown or repeated dimension.
    """
    names = tuple(text.split("*"))
    for name in names:
        if name not in dimensions:
            raise UserError(f"{unknown_name(where, name, dimensions)}; products of them are written gender*ethnicity")
    if len(set(names)) != len(names):
        raise UserError(f"{where}: {text!r} names a dimension twice")
    return names


#: Separates the levels in a group's name.
GROUP_SEPARATOR = "|"


def group_name(levels: Iterable[str]) -> str:
    """Name of the group with these levels, one per dimension of a grouping and in its order: ``"female|black"``.

    Every table, figure and file spells a group like this; the grouping itself is spelled ``"gender*ethnicity"``.
    """
    return GROUP_SEPARATOR.join(levels)
