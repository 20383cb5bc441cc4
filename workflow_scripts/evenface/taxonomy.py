"""Vocabularies of the data sets, and maps between them. Everything is identified by name.

Sources: CelebA's ``list_attr_celeba.txt`` (Liu et al., ICCV 2015), MAAD-Face's CSV header
(Terhörst et al., IEEE TIFS 2021), the class lists of FairFace (Kärkkäinen and Joo, WACV 2021),
FaceXFormer (Narayan et al., 2024) and DeepFace (Serengil and Ozpinar, 2020).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from evenface.errors import UserError, unknown_name

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

#: Attributes that repeat a demographic dimension; evaluating them within it would be circular.
CIRCULAR: dict[str, str] = {"Male": "gender", "Young": "age"}

#: MAAD-Face columns that spell a demographic level.
MAAD_LEVELS: dict[str, dict[str, str]] = {
    "age": {"Young": "young", "Middle_Aged": "middle_aged", "Senior": "senior"},
    "ethnicity": {"Asian": "asian", "White": "white", "Black": "black"},
}

# Class lists of published annotators, in the order of their outputs, each class with the level it
# counts as. Classes without a counterpart in the study are unknown; they are never forced into a level.

#: FairFace's seven races.
FAIRFACE_RACE_7: dict[str, str] = {
    "White": "white", "Black": "black", "Latino_Hispanic": UNKNOWN, "East Asian": "asian",
    "Southeast Asian": "asian", "Indian": UNKNOWN, "Middle Eastern": UNKNOWN,
}  # fmt: skip
#: FairFace's genders.
FAIRFACE_GENDER: dict[str, str] = {"Male": "male", "Female": "female"}
#: FairFace's age bands in years.
FAIRFACE_AGE: dict[str, str] = {
    "0-2": "young", "3-9": "young", "10-19": "young", "20-29": "young", "30-39": "middle_aged",
    "40-49": "middle_aged", "50-59": "senior", "60-69": "senior", "70+": "senior",
}  # fmt: skip
#: FaceXFormer's races.
FACEXFORMER_RACE: dict[str, str] = {
    "White": "white", "Black": "black", "Indian": UNKNOWN, "Asian": "asian", "Others": UNKNOWN,
}  # fmt: skip
#: FaceXFormer's genders.
FACEXFORMER_GENDER: dict[str, str] = {"male": "male", "female": "female"}
#: FaceXFormer's age bands in years.
FACEXFORMER_AGE: dict[str, str] = {
    "0-9": "young", "10-19": "young", "20-29": "young", "30-39": "middle_aged", "40-49": "middle_aged",
    "50-59": "senior", "60-69": "senior", "70+": "senior",
}  # fmt: skip
#: DeepFace's races.
DEEPFACE_RACE: dict[str, str] = {
    "asian": "asian", "indian": UNKNOWN, "black": "black", "white": "white", "middle eastern": UNKNOWN,
    "latino hispanic": UNKNOWN,
}  # fmt: skip
#: DeepFace's genders.
DEEPFACE_GENDER: dict[str, str] = {"Woman": "female", "Man": "male"}
#: DeepFace's emotions.
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
    for level, bound in AGE_BOUNDS.items():
        if years < bound:
            return level
    return "senior"


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
