"""What can be asked of the parametric generator; without NumPy, so that the plan can say so too."""

from __future__ import annotations

from collections.abc import Mapping

from evenface.errors import UserError
from evenface.generators.parametric.mixtures import GATHERED, MIXTURES
from evenface.taxonomy import DIMENSIONS, UNKNOWN, years_of

#: Ages in years from which a face of an age band is drawn.
AGES: dict[str, tuple[float, float]] = {"young": (17.0, 27.0), "middle_aged": (35.0, 47.0), "senior": (58.0, 79.0)}

#: The CelebA attributes that it shows as asked.
SHOWN = frozenset(
    "5_o_Clock_Shadow Arched_Eyebrows Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair Brown_Hair "
    "Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open "
    "Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling "
    "Straight_Hair Wavy_Hair Wearing_Hat Wearing_Lipstick Young".split()
)


def wants_facial_hair(attributes: Mapping[str, int]) -> bool:
    """Whether a beard, or a part of one, is asked for."""
    parts = ("Goatee", "Mustache", "5_o_Clock_Shadow", "Sideburns")
    return any(attributes.get(name) == 1 for name in parts) or attributes.get("No_Beard") == -1


def years_drawn(band: str) -> tuple[float, float] | None:
    """Range of years from which a face of an age band is drawn; None for a band that the renderer has no faces of.

    Of a band of years, such as ``20-29``, this is what lies within the ages of all faces.

    >>> years_drawn("30-39"), years_drawn("70+"), years_drawn("0-2")
    ((30.0, 39.99), (70.0, 79.0), None)
    """
    if band in AGES:
        return AGES[band]
    if (bounds := years_of(band)) is None:
        return None
    low, high = max(bounds[0], AGES["young"][0]), min(bounds[1] - 0.01, AGES["senior"][1])
    return (low, high) if low < high else None


def check_asked(demographics: Mapping[str, str], attributes: Mapping[str, int]) -> None:
    """Raise UserError for what the renderer cannot show: levels, attributes, and a beard on a female face."""
    for dimension, level in demographics.items():
        if level == UNKNOWN or (dimension == "age" and years_drawn(level)):
            continue
        if dimension == "age":
            low, high = AGES["young"][0], AGES["senior"][1]
            raise UserError(
                f"the parametric generator has no faces of age {level!r}; it draws {low:.0f} to {high:.0f} years"
            )
        known = (*DIMENSIONS.get(dimension, ()), *((*MIXTURES, *GATHERED) if dimension == "ethnicity" else ()))
        if level not in known:
            can = f"it draws {', '.join(known)}" if known else "it knows nothing of this dimension"
            raise UserError(f"the parametric generator cannot draw the {dimension} {level!r}; {can}")
    for name in attributes:
        if name not in SHOWN:
            raise UserError(f"the parametric generator cannot show {name}; it can show {', '.join(sorted(SHOWN))}")
    if demographics.get("gender", UNKNOWN) == "female" and wants_facial_hair(attributes):
        raise UserError("a beard is asked for on a female face, which the parametric generator does not draw")
