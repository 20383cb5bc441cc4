"""The description of one parametric face: exactly what decides its pixels.

A :class:`Face` is plain data. ``render.Renderer`` turns it into an image, ``sampling`` draws
one from demographics and a seed, ``truth`` reads the annotation labels off it. Because the
description is complete, two faces that differ in one field differ in that factor alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field

#: MakeHuman's macro ethnicities by the level of ``taxonomy.DIMENSIONS["ethnicity"]``.
MACRO_ETHNICITY = {"asian": "asian", "black": "african", "white": "caucasian"}

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Person:
    """What stays with a person from one picture to the next (age aside).

    ``shape_seed`` seeds the draws of head-shape details; ``ethnicity`` holds weights of the
    levels ``asian``, ``black``, ``white`` that sum to 1; ``masculinity`` runs from 0 (female)
    to 1 (male); ``weight``, ``muscle``, ``skin_tone`` from 0 to 1 (``skin_tone`` 0 is the
    lightest tone usual in that ethnicity); ``shape_strength`` scales the identity's deviation
    from the mean head (1 is natural).
    """

    shape_seed: int
    gender: str
    ethnicity: dict[str, float]
    masculinity: float
    weight: float = 0.5
    muscle: float = 0.5
    skin_tone: float = 0.5
    eye_colour: str = "brown"
    brow_style: int = 1
    lash_style: int = 2
    shape_strength: float = 1.0
    #: Deliberate shape traits on top of the drawn ones, -1..1 each: ``lips``, ``nose_size``,
    #: ``nose_point``, ``cheekbones``, ``chubbiness``, ``double_chin``, ``eye_narrowness``,
    #: ``face_oval``, ``brow_thickness``, ``brow_arch``, ``eye_bags``.
    traits: dict[str, float] = field(default_factory=dict)
    #: Coordinates of the head's shape, about standard normal each. If given, they replace the draws of
    #: ``shape_seed``, so that one head can change continuously into another (``latent``).
    shape: tuple[float, ...] = ()
    #: The level that the person was drawn for, if it is a mixture (``mixtures``), and weights of the levels whose skin the
    #: person has, if they are not those of ``ethnicity``.
    group: str = ""
    skin: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Hair:
    """Scalp and facial hair. Colours are linear-light RGB albedos in [0, 1].

    ``style`` is one of ``styles.HAIR_STYLES`` or ``"bald"``; ``gray`` is the share of gray
    strands; facial hair amounts run from 0 (none) to 1 (full).
    """

    style: str
    colour: Colour
    gray: float = 0.0
    receding: float = 0.0
    stubble: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    goatee: float = 0.0
    sideburns: float = 0.0


@dataclass(frozen=True)
class Look:
    """What a person wears. ``glasses`` is none, round, square or sun; ``hat`` is none or a hat's name."""

    glasses: str = "none"
    glasses_colour: Colour = (0.02, 0.02, 0.02)
    hat: str = "none"
    hat_colour: Colour = (0.2, 0.2, 0.2)
    clothes: str = "male_casualsuit02"
    clothes_tint: Colour = (0.8, 0.8, 0.8)
    lipstick: float = 0.0
    lipstick_colour: Colour = (0.45, 0.08, 0.09)
    eyeshadow: float = 0.0
    eyeshadow_colour: Colour = (0.10, 0.06, 0.05)
    blush: float = 0.0


@dataclass(frozen=True)
class Expression:
    """Amounts from 0 to 1, except ``brow_raise`` and ``gaze`` (right, up), from -1 to 1.

    ``name`` is the expression that was asked for (``expressions``), if one was, and ``units`` are amounts of further expression
    units, named without their side (``noseSneer``).
    """

    smile: float = 0.0
    teeth: float = 0.0
    mouth_open: float = 0.0
    eyes_closed: float = 0.0
    frown: float = 0.0
    pucker: float = 0.0
    brow_raise: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    name: str = ""
    units: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pose:
    """Head rotation in radians (yaw positive towards the image's right), and the body's yaw."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    body_yaw: float = 0.0


@dataclass(frozen=True)
class Light:
    """One key light, one fill light and an environment; colours are linear RGB intensities.

    Angles in radians; azimuth 0 is the camera's direction, positive to the image's right.
    """

    key_azimuth: float = 0.5
    key_elevation: float = 0.5
    key_colour: Colour = (1.0, 1.0, 1.0)
    fill_azimuth: float = -1.2
    fill_elevation: float = 0.2
    fill_colour: Colour = (0.25, 0.25, 0.25)
    sky_colour: Colour = (0.6, 0.6, 0.6)
    ground_colour: Colour = (0.3, 0.26, 0.22)


@dataclass(frozen=True)
class Backdrop:
    """``kind`` is plain, gradient or blurred (an out-of-focus room); colours are linear RGB."""

    kind: str = "gradient"
    seed: int = 0
    colour_a: Colour = (0.35, 0.38, 0.42)
    colour_b: Colour = (0.16, 0.18, 0.2)


@dataclass(frozen=True)
class Framing:
    """Image size and where the eyes fall in it, in pixels; the default is aligned CelebA's."""

    width: int = 178
    height: int = 218
    eye_x: float = 89.0
    eye_y: float = 111.5
    eye_distance: float = 41.0
    field_of_view: float = 0.35


@dataclass(frozen=True)
class Face:
    """One rendered face, completely described."""

    person: Person
    age: float
    hair: Hair
    look: Look = Look()
    expression: Expression = Expression()
    pose: Pose = Pose()
    light: Light = Light()
    backdrop: Backdrop = Backdrop()
    framing: Framing = Framing()
    #: Seed of fine detail that belongs to no factor (pores, strands, noise other than the sensor's).
    detail_seed: int = 0

    def to_dict(self) -> dict:
        """Plain nested dict (JSON-ready), without what few faces have and this one has not."""
        values = dataclasses.asdict(self)
        for part, names in (("person", ("shape", "group", "skin")), ("expression", ("name", "units"))):
            for name in names:
                if not values[part][name]:
                    del values[part][name]
        return values

    def digest(self) -> str:
        """Hex SHA-256 of the canonical JSON of the description."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
