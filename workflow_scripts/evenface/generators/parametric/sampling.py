"""Draws people and scenes: who a person is, and one picture of that person.

A person is drawn from demographics and a seed, a scene from the person and another seed, so that
one identity can be rendered many times. Every draw has its own named seed: asking for one
attribute never moves the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evenface.errors import UserError, check_names
from evenface.generators.parametric import pigment, styles
from evenface.generators.parametric.asked import check_asked, wants_facial_hair, years_drawn
from evenface.generators.parametric.domains import Domain, domain
from evenface.generators.parametric.expressions import EXPRESSIONS, sample_expression
from evenface.generators.parametric.face import (
    Backdrop,
    Expression,
    Face,
    Framing,
    Hair,
    Light,
    Look,
    Person,
    Pose,
)
from evenface.generators.parametric.mixtures import GATHERED, MIXTURES, mixture_of, personal
from evenface.generators.parametric.truth import TRAIT_ATTRIBUTES
from evenface.seeds import seed_from
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS, UNKNOWN

#: Lightness range of each pigmented colour; the ends lie in the zones where annotators disagree.
LIGHTNESS: dict[str, tuple[float, float]] = {"black": (0.02, 0.28), "brown": (0.30, 0.71), "blond": (0.74, 1.0)}


@dataclass(frozen=True)
class Identity:
    """A person with what he or she usually wears: natural hair colour, hair style, glasses, age."""

    person: Person
    age: float
    hair: Hair
    glasses: str
    makeup: float


def _random(*names: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_from(*names)))


def _pick(random: np.random.Generator, weights: Mapping[str, float]) -> str:
    names = list(weights)
    share = np.array([weights[n] for n in names], float)
    return names[int(random.choice(len(names), p=share / share.sum()))]


def complete(demographics: Mapping[str, str], seed: int) -> dict[str, str]:
    """``demographics`` with unknown dimensions drawn uniformly from their levels; mixtures are drawn only if asked for."""
    done = {}
    for dimension, levels in DIMENSIONS.items():
        value = demographics.get(dimension, UNKNOWN)
        mixed = (*MIXTURES, *GATHERED) if dimension == "ethnicity" else ()
        if dimension != "age" or years_drawn(value) is None:
            check_names(dimension, [value], (*levels, *mixed, UNKNOWN))
        done[dimension] = levels[_random(seed, dimension).integers(len(levels))] if value == UNKNOWN else value
    return done


def sample_identity(
    demographics: Mapping[str, str],
    attributes: Mapping[str, int],
    seed: int,
    *,
    hair_colours: Mapping[str, float] | None = None,
) -> Identity:
    """Draw a person. ``hair_colours`` weights black, blond, brown and gray where none is requested."""
    asked = complete(_with_requested(demographics, attributes), seed)
    check_asked(asked, attributes)
    gender, ethnicity = asked["gender"], asked["ethnicity"]
    female = gender == "female"
    body = _random(seed, "body")
    mixed = float(body.uniform(0, 0.18))
    others = [e for e in DIMENSIONS["ethnicity"] if e != ethnicity]
    weights = dict.fromkeys(DIMENSIONS["ethnicity"], 0.0)
    weights[ethnicity], weights[others[body.integers(2)]] = round(1 - mixed, 4), round(mixed, 4)
    skin, tones, blend = {}, (0.0, 1.0), _random(seed, "mixture")
    if mixture := mixture_of(ethnicity, blend):
        weights, skin, tones = personal(mixture.shape, blend), personal(mixture.skin, blend), mixture.tone
    years = float(np.round(_random(seed, "age").uniform(*_ages(asked["age"], attributes.get("Young", 0))), 2))
    traits = {name: float(np.round(np.clip(body.normal(0, 0.28), -0.9, 0.9), 3)) for name in _trait_names()}
    for name, (trait, sign) in TRAIT_ATTRIBUTES.items():
        if name in attributes:
            strength = float(_random(seed, "trait", name).uniform(0.6, 1.0))
            traits[trait] = round(sign * strength if attributes[name] == 1 else -sign * strength * 0.5, 3)
    if attributes.get("Chubby", 0) == 1:
        traits["double_chin"] = max(traits["double_chin"], 0.3)
    tone = float(body.uniform(*tones))
    if "Pale_Skin" in attributes:
        tone = float(body.uniform(0.0, 0.12)) if attributes["Pale_Skin"] == 1 else float(body.uniform(0.45, 1.0))
    dark_eyes = ethnicity != "white" or body.random() < 0.3
    eyes = ("brown", "brownlight") if dark_eyes else styles.EYE_COLOURS
    person = Person(
        shape_seed=seed_from(seed, "shape") & 0x7FFFFFFF,
        gender=gender,
        ethnicity=weights,
        masculinity=float(np.round(body.uniform(0.0, 0.08) if female else body.uniform(0.9, 1.0), 4)),
        weight=float(np.round(np.clip(body.normal(0.5, 0.13), 0.15, 0.9), 3)),
        muscle=float(np.round(np.clip(body.normal(0.38 if female else 0.55, 0.1), 0.15, 0.8), 3)),
        skin_tone=round(tone, 3),
        eye_colour=eyes[int(body.integers(len(eyes)))],
        brow_style=int(body.integers(1, styles.BROW_STYLES + 1)),
        lash_style=int(body.integers(1, styles.LASH_STYLES + 1)),
        traits=traits,
        group=ethnicity if mixture else "",
        skin=skin,
    )
    hair = _sample_hair(person, years, attributes, seed, hair_colours)
    habits = _random(seed, "habits")
    glasses = "none" if habits.random() > 0.1 else ("round", "square")[habits.integers(2)]
    makeup = float(habits.uniform(0.0, 0.9)) if female and habits.random() < 0.75 else 0.0
    return Identity(person, years, hair, glasses, makeup)


def _with_requested(demographics: Mapping[str, str], attributes: Mapping[str, int]) -> dict[str, str]:
    """``demographics``, with open dimensions filled from ``Male``, ``Young`` and beards; UserError if they contradict."""
    asked = dict(demographics)
    if "Male" in attributes:
        gender = "male" if attributes["Male"] == 1 else "female"
        if asked.get("gender", UNKNOWN) not in (UNKNOWN, gender):
            raise UserError(f"Male = {attributes['Male']:+d} is asked for on a {asked['gender']} face")
        asked["gender"] = gender
    if "Young" in attributes:
        age = "young" if attributes["Young"] == 1 else "senior"
        other = "senior" if attributes["Young"] == 1 else "young"
        if asked.get("age", UNKNOWN) == other:
            raise UserError(f"Young = {attributes['Young']:+d} is asked for on a face of the age band {other}")
        if asked.get("age", UNKNOWN) == UNKNOWN:
            asked["age"] = age
    if asked.get("gender", UNKNOWN) == UNKNOWN and wants_facial_hair(attributes):
        asked["gender"] = "male"
    return asked


def _ages(band: str, young: int) -> tuple[float, float]:
    """Range of years in a band; if ``Young`` is requested, it keeps away from 40, where ``Young`` changes."""
    low, high = years_drawn(band)
    return (low, min(high, 36.9)) if young == 1 else (max(low, 43.1), high) if young == -1 else (low, high)


def _trait_names() -> list[str]:
    return sorted({trait for trait, _ in TRAIT_ATTRIBUTES.values()})


def _sample_hair(
    person: Person, age: float, attributes: Mapping[str, int], seed: int, colours: Mapping[str, float] | None
) -> Hair:
    random = _random(seed, "hair colour")
    wanted = [c for c, name in HAIR_COLOURS.items() if attributes.get(name) == 1]
    banned = {c for c, name in HAIR_COLOURS.items() if attributes.get(name) == -1}
    weights = {c: w for c, w in (colours or dict.fromkeys(HAIR_COLOURS, 1.0)).items() if c not in banned}
    colour = wanted[0] if wanted else _pick(random, weights)
    pigment_of = colour if colour != "gray" else _pick(random, {"black": 0.4, "brown": 0.4, "blond": 0.2})
    low, high = LIGHTNESS[pigment_of]
    lightness = float(random.uniform(low, high))
    warmth = 0.3 + 0.85 * math.sin(math.pi * min(lightness, 0.55) / 1.1) + float(random.normal(0, 0.18))
    if colour == "gray":
        gray = float(random.uniform(0.48, 1.0))
    else:
        # Some strands turn gray with the years, even if the hair is not called gray.
        gray = float(random.uniform(0.4, 1.0) * np.interp(age, (34, 47, 60, 80), (0.0, 0.08, 0.14, 0.20)))
    style = _sample_style(person, attributes, seed)
    beard = _random(seed, "beard")
    male = person.gender == "male"
    amounts = dict.fromkeys(("stubble", "beard", "moustache", "goatee", "sideburns"), 0.0)
    if male:
        kind = _pick(beard, {"shaved": 0.5, "stubble": 0.2, "beard": 0.14, "goatee": 0.08, "moustache": 0.08})
        if (
            any(attributes.get(n) == 1 for n in ("Goatee", "Mustache", "5_o_Clock_Shadow"))
            or attributes.get("No_Beard") == 1
        ):
            kind = "shaved"
        if kind != "shaved":
            amounts[kind] = float(beard.uniform(0.35, 0.8) if kind == "stubble" else beard.uniform(0.65, 1.0))
        if kind == "beard" or (kind == "goatee" and beard.random() < 0.6):
            amounts["moustache"] = max(amounts["moustache"], 0.7)
        for name, part in (
            ("Goatee", "goatee"),
            ("Mustache", "moustache"),
            ("5_o_Clock_Shadow", "stubble"),
            ("Sideburns", "sideburns"),
        ):
            if attributes.get(name) == 1:
                amounts[part] = 0.8
        for name, absent in _WITHOUT.items():
            if attributes.get(name) == -1:
                amounts |= dict.fromkeys(absent, 0.0)
        worn = max(amounts["beard"], amounts["goatee"], amounts["moustache"], amounts["stubble"] * 0.8)
        if attributes.get("No_Beard") == -1 and worn < 0.3:
            amounts |= _some_beard(attributes)
    receding = float(np.clip(beard.normal((age - 35) / 45, 0.25), 0, 0.9)) if male else 0.0
    if "Receding_Hairline" in attributes:
        receding = 0.8 if attributes["Receding_Hairline"] == 1 else 0.0
    return Hair(
        style, pigment.hair_colour(lightness, max(warmth, 0.0)), gray=round(gray, 4), receding=round(receding, 3),
        **{k: round(v, 3) for k, v in amounts.items()},
    )  # fmt: skip


#: Styles that are excluded when a kind of facial hair is asked to be absent; a full beard shows every kind.
_WITHOUT = {
    "Goatee": ("goatee", "beard"), "Mustache": ("moustache", "beard"), "Sideburns": ("sideburns", "beard"),
    "5_o_Clock_Shadow": ("stubble",),
}  # fmt: skip


def _some_beard(attributes: Mapping[str, int]) -> dict[str, float]:
    """A full beard, or the fullest facial hair that the other requests permit."""
    for names, amounts in (
        (("Goatee", "Mustache", "Sideburns"), {"beard": 0.85, "moustache": 0.8}),
        (("Goatee",), {"goatee": 0.85}),
        (("Mustache",), {"moustache": 0.85}),
        (("5_o_Clock_Shadow",), {"stubble": 0.8}),
    ):
        if not any(attributes.get(name) == -1 for name in names):
            return amounts
    raise UserError("a beard is asked for (No_Beard = -1) while every kind of facial hair is excluded")


def _sample_style(person: Person, attributes: Mapping[str, int], seed: int) -> str:
    if attributes.get("Bald") == 1:
        return styles.BALD
    main = max(person.ethnicity, key=person.ethnicity.get)
    names = styles.hair_styles(person.gender, main)
    for name, flag in (("Bangs", "bangs"), ("Straight_Hair", "straight"), ("Wavy_Hair", "wavy")):
        if name in attributes:
            fitting = [n for n in names if getattr(styles.HAIR_STYLES[n], flag) == (attributes[name] == 1)]
            names = fitting or [n for n, s in styles.HAIR_STYLES.items() if getattr(s, flag) == (attributes[name] == 1)]
    if attributes.get("Receding_Hairline") == 1 and attributes.get("Bangs") != 1:
        names = [n for n in names if not styles.HAIR_STYLES[n].bangs] or names
    return _pick(_random(seed, "style"), {n: styles.HAIR_STYLES[n].weight for n in names})


def sample_face(
    identity: Identity,
    attributes: Mapping[str, int],
    seed: int,
    *,
    place: Domain,
    framing: Framing | None = None,
    expression: str = "",
) -> Face:
    """One picture of a person: expression, clothes, pose, light and backdrop drawn from ``seed``.

    ``expression`` is the name of one (``expressions``), or empty: what people show to a camera.
    """
    if expression:
        check_names("expression", [expression], EXPRESSIONS)
    return Face(
        person=identity.person,
        age=identity.age,
        hair=identity.hair,
        look=_sample_look(identity, attributes, seed),
        expression=sample_expression(expression, _random(seed, "expression"))
        if expression
        else _sample_expression(attributes, seed),
        pose=_sample_pose(place, seed),
        light=_sample_light(place, seed),
        backdrop=_sample_backdrop(seed),
        framing=framing or Framing(),
        detail_seed=seed_from(seed, "detail") & 0x7FFFFFFF,
    )


def _colour(random: np.random.Generator, low: float, high: float, spread: float) -> tuple[float, float, float]:
    value = random.uniform(low, high) * np.exp(random.normal(0, spread, 3))
    return tuple(float(np.round(v, 4)) for v in np.clip(value, 0.01, 1.0))


#: Requests that a hat would hide.
_HIDDEN_BY_HAT = {"Bald", "Bangs", "Receding_Hairline", "Straight_Hair", "Wavy_Hair"}


def _sample_look(identity: Identity, attributes: Mapping[str, int], seed: int) -> Look:
    random = _random(seed, "look")
    clothes = styles.CLOTHES[identity.person.gender]
    glasses = identity.glasses if random.random() < 0.9 else "none"
    if attributes.get("Eyeglasses") == 1 and glasses == "none":
        glasses = ("round", "square", "square", "sun")[int(random.integers(4))]
    elif attributes.get("Eyeglasses") == -1:
        glasses = "none"
    hat = "none"
    if attributes.get("Wearing_Hat") == 1 or (
        "Wearing_Hat" not in attributes and random.random() < 0.03 and not _HIDDEN_BY_HAT & attributes.keys()
    ):
        hat = styles.HATS[int(random.integers(len(styles.HATS)))]
    makeup = identity.makeup * float(random.uniform(0.7, 1.1))
    lipstick, eyeshadow, blush = makeup * 0.85, makeup * 0.6, makeup * 0.5
    if "Heavy_Makeup" in attributes:
        lipstick, eyeshadow, blush = (0.75, 0.65, 0.5) if attributes["Heavy_Makeup"] == 1 else (0.0, 0.0, 0.0)
    if "Wearing_Lipstick" in attributes:
        lipstick = 0.7 if attributes["Wearing_Lipstick"] == 1 else 0.0
    if "Rosy_Cheeks" in attributes:
        blush = 0.75 if attributes["Rosy_Cheeks"] == 1 else 0.0
    red = random.uniform(0.25, 0.5)
    return Look(
        glasses=glasses,
        glasses_colour=_colour(random, 0.01, 0.12, 0.3),
        hat=hat,
        hat_colour=_colour(random, 0.03, 0.5, 0.25),
        clothes=clothes[int(random.integers(len(clothes)))],
        clothes_tint=_colour(random, 0.06, 0.7, 0.22),
        lipstick=round(float(np.clip(lipstick, 0, 1)), 3),
        lipstick_colour=tuple(
            float(np.round(v, 4)) for v in (red, red * random.uniform(0.12, 0.4), red * random.uniform(0.15, 0.45))
        ),
        eyeshadow=round(float(np.clip(eyeshadow, 0, 1)), 3),
        eyeshadow_colour=_colour(random, 0.03, 0.12, 0.3),
        blush=round(float(np.clip(blush, 0, 1)), 3),
    )


def _sample_expression(attributes: Mapping[str, int], seed: int) -> Expression:
    random = _random(seed, "expression")
    smiling = random.random() < 0.48
    if "Smiling" in attributes:
        smiling = attributes["Smiling"] == 1
    smile = random.uniform(0.5, 1.0) if smiling else random.uniform(0.0, 0.18)
    teeth = smile * random.uniform(0.5, 0.95) if smiling and random.random() < 0.7 else 0.0
    opened = random.random() < 0.15
    if "Mouth_Slightly_Open" in attributes:
        opened = attributes["Mouth_Slightly_Open"] == 1
        teeth = teeth if opened else 0.0
    mouth = random.uniform(0.35, 0.7) if opened else random.uniform(0.0, 0.08)
    closed = random.random() < 0.015
    return Expression(
        smile=round(float(smile), 3),
        teeth=round(float(teeth), 3),
        mouth_open=round(float(mouth), 3),
        eyes_closed=1.0 if closed else round(float(np.clip(random.normal(0.03, 0.06), 0, 0.25)), 3),
        frown=round(float(random.uniform(0, 0.2)), 3) if not smiling and random.random() < 0.2 else 0.0,
        pucker=round(float(random.uniform(0, 0.25)), 3) if not smiling and random.random() < 0.12 else 0.0,
        brow_raise=round(float(np.clip(random.normal(0.12, 0.2), -0.3, 0.8)), 3),
        gaze=(
            round(float(np.clip(random.normal(0, 0.18), -0.6, 0.6)), 3),
            round(float(np.clip(random.normal(0, 0.08), -0.3, 0.3)), 3),
        ),
    )


def _sample_pose(place: Domain, seed: int) -> Pose:
    random = _random(seed, "pose")
    yaw = float(np.clip(random.normal(0, place.yaw), -0.6, 0.6))
    return Pose(
        yaw=round(yaw, 4),
        pitch=round(float(np.clip(random.normal(0.0, place.pitch), -0.22, 0.22)), 4),
        roll=round(float(np.clip(random.normal(0, place.roll), -0.25, 0.25)), 4),
        body_yaw=round(yaw * 0.35 + float(random.normal(0, 0.12)), 4),
    )


def _sample_light(place: Domain, seed: int) -> Light:
    random = _random(seed, "light")
    cast, tint = random.normal(0, place.colour_cast), random.normal(0, place.tint)
    white = np.exp([cast, tint, -cast])
    key = random.uniform(*place.key_intensity)
    azimuth = float(random.uniform(-1.15, 1.15))
    other = np.exp(random.normal(0, place.colour_cast * 0.7, 3))
    ambient = random.uniform(*place.ambient)

    def rgb(values) -> tuple[float, float, float]:
        return tuple(float(np.round(v, 4)) for v in values)

    return Light(
        key_azimuth=round(azimuth, 4),
        key_elevation=round(float(random.uniform(*place.key_elevation)), 4),
        key_colour=rgb(key * white),
        fill_azimuth=round(-math.copysign(float(random.uniform(0.5, 2.2)), azimuth), 4),
        fill_elevation=round(float(random.uniform(-0.1, 0.5)), 4),
        fill_colour=rgb(random.uniform(0.08, 0.5) * other),
        sky_colour=rgb(ambient * np.sqrt(white) * np.exp(random.normal(0, 0.04, 3))),
        ground_colour=rgb(ambient * 0.5 * np.array([1.08, 1.0, 0.88]) * np.exp(random.normal(0, 0.08, 3))),
    )


def _sample_backdrop(seed: int) -> Backdrop:
    random = _random(seed, "backdrop")
    kind = _pick(random, {"plain": 0.2, "gradient": 0.3, "blurred": 0.5})
    return Backdrop(
        kind, int(random.integers(1 << 31)), _colour(random, 0.04, 0.65, 0.09), _colour(random, 0.03, 0.5, 0.09)
    )


def sample(
    demographics: Mapping[str, str],
    attributes: Mapping[str, int],
    seed: int,
    settings: Mapping[str, Any] | None = None,
) -> Face:
    """A new person in a new scene, for one request.

    ``settings``: ``domain`` (name, default studio) and ``size`` (width, height in pixels; the eyes
    stay at their relative place in aligned CelebA). Raises UserError for requests that cannot be drawn.
    """
    settings = settings or {}
    identity = sample_identity(demographics, attributes, seed_from(seed, "identity"))
    face = sample_face(identity, attributes, seed_from(seed, "scene"), place=domain(settings.get("domain", "studio")))
    return replace(face, framing=scaled_framing(*settings.get("size", (178, 218))))


def scaled_framing(width: int, height: int) -> Framing:
    """CelebA's framing scaled to fit an image of another size, eyes at the same relative place."""
    base = Framing()
    scale = min(width / base.width, height / base.height)
    return replace(
        base, width=width, height=height, eye_x=width / 2, eye_y=height / 2 + (base.eye_y - base.height / 2) * scale,
        eye_distance=base.eye_distance * scale,
    )  # fmt: skip
