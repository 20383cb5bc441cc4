"""The truth about a face, as CelebA's and MAAD-Face's attributes.

Labels follow from the description, as an annotator would read them from the picture. The continuum of hair
colour is cut into labels, and the zone in which annotators disagree is undefined (0). Attributes that the
renderer does not show, or that nobody can judge objectively (Attractive), are undefined too.
"""

from __future__ import annotations

from evenface.generators.parametric.aging import eye_bags
from evenface.generators.parametric.face import Face
from evenface.generators.parametric.pigment import hair_colour_probabilities
from evenface.generators.parametric.styles import BALD, HAIR_STYLES
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, HAIR_COLOURS, MAAD_ATTRIBUTES, UNKNOWN, age_level

#: A label is +1 when its probability is above this, -1 when it is below the complement, else undefined.
CERTAIN = 0.75
#: The same for MAAD-Face's hair colours: its labels are kept only where their source was sure (one in
#: five is undefined there).
MAAD_CERTAIN = 0.9
#: Amount from which a shape trait (-1..1) is called present, and below which absent.
TRAIT_PRESENT, TRAIT_ABSENT = 0.45, 0.15

#: CelebA attributes that a shape trait decides, and the sign that makes them present.
TRAIT_ATTRIBUTES: dict[str, tuple[str, float]] = {
    "Big_Lips": ("lips", 1),
    "Big_Nose": ("nose_size", 1),
    "Pointy_Nose": ("nose_point", 1),
    "High_Cheekbones": ("cheekbones", 1),
    "Chubby": ("chubbiness", 1),
    "Double_Chin": ("double_chin", 1),
    "Narrow_Eyes": ("eye_narrowness", 1),
    "Oval_Face": ("face_oval", 1),
    "Bushy_Eyebrows": ("brow_thickness", 1),
    "Arched_Eyebrows": ("brow_arch", 1),
    "Bags_Under_Eyes": ("eye_bags", 1),  # added to what age shows: see ``aging.eye_bags``
}


def _graded(value: float, present: float, absent: float) -> int:
    """+1 from ``present`` on, -1 up to ``absent``, undefined between."""
    return 1 if value >= present else -1 if value <= absent else 0


def _sure(probability: float, certain: float = CERTAIN) -> int:
    return 1 if probability >= certain else -1 if probability <= 1 - certain else 0


def _is(condition: bool) -> int:
    return 1 if condition else -1


def demographics(face: Face) -> dict[str, str]:
    """Gender, age band and ethnicity: the mixture that was asked for, else unknown below a weight of two thirds."""
    main = max(DIMENSIONS["ethnicity"], key=lambda e: face.person.ethnicity.get(e, 0.0))
    pure = face.person.ethnicity.get(main, 0.0) >= 2 / 3
    ethnicity = face.person.group or (main if pure else UNKNOWN)
    return {"gender": face.person.gender, "age": age_level(face.age), "ethnicity": ethnicity}


def celeba_labels(face: Face) -> dict[str, int]:
    """The 40 CelebA attributes in {+1, -1, 0 undefined}."""
    hair, look, expression, person = face.hair, face.look, face.expression, face.person
    style = HAIR_STYLES.get(hair.style)
    bald = hair.style == BALD
    hatted = look.hat != "none"
    female = person.gender == "female"
    labels = dict.fromkeys(CELEBA_ATTRIBUTES, 0)
    for colour, probability in hair_colour_probabilities(hair).items():
        labels[HAIR_COLOURS[colour]] = _sure(probability)
    for name, (trait, sign) in TRAIT_ATTRIBUTES.items():
        labels[name] = _graded(sign * person.traits.get(trait, 0.0), TRAIT_PRESENT, TRAIT_ABSENT)
    labels["Bags_Under_Eyes"] = _graded(eye_bags(face), TRAIT_PRESENT, TRAIT_ABSENT)
    grown = max(hair.beard, hair.goatee, hair.moustache)
    labels |= {
        "Male": _is(not female),
        "Young": _is(face.age < 40) if abs(face.age - 40) > 3 else 0,
        "Bald": _is(bald) if not hatted else 0,
        "Bangs": _is(bool(style and style.bangs and not hatted)),
        "Straight_Hair": 0 if hatted else _is(bool(style and style.straight and not style.wave)),
        "Wavy_Hair": 0 if hatted else _is(bool(style and style.wavy)),
        "Receding_Hairline": 0 if hatted or bald or (style and style.bangs) else _graded(hair.receding, 0.5, 0.2),
        "Eyeglasses": _is(look.glasses != "none"),
        "Wearing_Hat": _is(hatted),
        "Wearing_Lipstick": _graded(look.lipstick, 0.4, 0.15),
        "Heavy_Makeup": _graded(min(look.lipstick, look.eyeshadow), 0.4, 0.2),
        "Rosy_Cheeks": _graded(look.blush, 0.5, 0.25),
        "Smiling": _graded(expression.smile, 0.45, 0.2),
        "Mouth_Slightly_Open": _graded(max(expression.mouth_open, expression.teeth), 0.3, 0.12),
        "Goatee": -1 if female else _graded(max(hair.goatee, hair.beard), 0.5, 0.15),
        "Mustache": -1 if female else _graded(max(hair.moustache, hair.beard), 0.5, 0.15),
        "Sideburns": -1 if female else _graded(max(hair.sideburns, hair.beard), 0.5, 0.15),
        "5_o_Clock_Shadow": -1 if female or grown >= 0.5 else _graded(hair.stubble, 0.3, 0.1),
        "No_Beard": 1 if female else -_graded(max(grown, hair.stubble * 0.8), 0.3, 0.15),
    }
    skin = person.skin or person.ethnicity
    if skin.get("white", 0) > 2 / 3 or skin.get("asian", 0) > 2 / 3:
        labels["Pale_Skin"] = _graded(1 - person.skin_tone, 0.85, 0.6)
    else:
        labels["Pale_Skin"] = -1
    return labels


def maad_labels(face: Face) -> dict[str, int]:
    """The 47 MAAD-Face attributes in {+1, -1, 0 undefined}."""
    celeba = celeba_labels(face)
    seen = demographics(face)
    labels = {name: celeba.get(name, 0) for name in MAAD_ATTRIBUTES}
    open_mouth = celeba["Mouth_Slightly_Open"]
    style = HAIR_STYLES.get(face.hair.style)
    fringe = bool(style and style.bangs) or face.look.hat != "none"
    for colour, probability in hair_colour_probabilities(face.hair).items():
        labels[HAIR_COLOURS[colour]] = _sure(probability, MAAD_CERTAIN)
    labels |= {
        "Young": _is(seen["age"] == "young"),
        "Middle_Aged": _is(seen["age"] == "middle_aged"),
        "Senior": _is(seen["age"] == "senior"),
        **{
            e.capitalize(): 0 if seen["ethnicity"] == UNKNOWN else _is(seen["ethnicity"] == e)
            for e in DIMENSIONS["ethnicity"]
        },
        "Mouth_Closed": -open_mouth,
        "No_Eyewear": -celeba["Eyeglasses"],
        "Brown_Eyes": 0 if face.look.glasses == "sun" else _is(face.person.eye_colour.startswith("brown")),
        "Obstructed_Forehead": _is(fringe),
        "Fully_Visible_Forehead": _is(not fringe),
    }
    return labels


def truth_of(face: Face) -> dict:
    """Everything known of a face, JSON-ready: attributes, demographics, age in years, description.

    If an expression was asked for, its name too (``expression``).
    """
    return {
        "attributes": celeba_labels(face),
        "maad_attributes": maad_labels(face),
        **demographics(face),
        "years": round(face.age, 2),
        "hair_probabilities": {k: round(v, 4) for k, v in hair_colour_probabilities(face.hair).items()},
        "face": face.to_dict(),
        **({"expression": face.expression.name} if face.expression.name else {}),
    }
