"""The same scene with one demographic factor changed: pairs for a counterfactual audit.

Everything else stays: shape seed, traits, hair colour and share of gray, expression, pose, light, backdrop,
framing. Only what must follow the factor changes with it. Gender changes hair style and clothes, and
removes facial hair and make-up. Ethnicity changes an implausible hair style; the skin tone keeps its
place within the range of the ethnicity. Age changes only the years.
"""

from __future__ import annotations

from dataclasses import replace

from evenface.errors import check_names
from evenface.generators.parametric import styles
from evenface.generators.parametric.face import Face
from evenface.generators.parametric.sampling import AGES
from evenface.seeds import seed_from
from evenface.taxonomy import DIMENSIONS


def with_factor(face: Face, factor: str, value: str) -> Face:
    """``face`` with ``factor`` (gender, age or ethnicity) set to the level ``value``.

    If the face already has the level, it is returned unchanged. Raises UserError for an unknown factor or level.
    """
    check_names("counterfactual", [factor], DIMENSIONS)
    check_names(f"counterfactual {factor}", [value], DIMENSIONS[factor])
    return {"gender": _gender, "age": _age, "ethnicity": _ethnicity}[factor](face, value)


def _gender(face: Face, value: str) -> Face:
    if face.person.gender == value:
        return face
    person = replace(face.person, gender=value, masculinity=round(1 - face.person.masculinity, 4))
    clothes = styles.CLOTHES[value]
    look = replace(face.look, clothes=clothes[face.detail_seed % len(clothes)])
    hair = face.hair
    if value == "female":
        hair = replace(hair, stubble=0.0, beard=0.0, moustache=0.0, goatee=0.0, sideburns=0.0, receding=0.0)
    else:
        look = replace(look, lipstick=0.0, eyeshadow=0.0, blush=0.0)
    return replace(face, person=person, look=look, hair=replace(hair, style=_style(hair.style, person)))


def _age(face: Face, value: str) -> Face:
    low, high = AGES[value]
    if low <= face.age <= high:
        return face
    share = (seed_from(face.person.shape_seed, "age") % 10_000) / 10_000
    return replace(face, age=round(low + share * (high - low), 2))


def _ethnicity(face: Face, value: str) -> Face:
    weights = face.person.ethnicity
    main = max(weights, key=weights.get)
    if main == value:
        return face
    swapped = {**weights, value: weights[main], main: weights.get(value, 0.0)}
    person = replace(face.person, ethnicity=swapped)
    return replace(face, person=person, hair=replace(face.hair, style=_style(face.hair.style, person)))


def _style(current: str, person) -> str:
    """The current style if it suits the person, else the nearest style that does: same length and fringe first."""
    suited = styles.hair_styles(person.gender, max(person.ethnicity, key=person.ethnicity.get))
    if current == styles.BALD or current in suited:
        return current
    old = styles.HAIR_STYLES[current]
    return min(
        suited,
        key=lambda n: (
            styles.HAIR_STYLES[n].length != old.length,
            styles.HAIR_STYLES[n].bangs != old.bangs,
            styles.HAIR_STYLES[n].wavy != old.wavy,
            n,
        ),
    )
