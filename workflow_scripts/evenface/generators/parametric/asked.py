"""What can be asked of the parametric generator; without NumPy, so that the plan can say so too."""

from __future__ import annotations

from collections.abc import Mapping

from evenface.errors import UserError
from evenface.taxonomy import UNKNOWN

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


def check_asked(demographics: Mapping[str, str], attributes: Mapping[str, int]) -> None:
    """Raise UserError for what the renderer cannot show: attributes, and a beard on a female face."""
    for name in attributes:
        if name not in SHOWN:
            raise UserError(f"the parametric generator cannot show {name}; it can show {', '.join(sorted(SHOWN))}")
    if demographics.get("gender", UNKNOWN) == "female" and wants_facial_hair(attributes):
        raise UserError("a beard is asked for on a female face, which the parametric generator does not draw")
