"""Named choices a parametric face can wear: hair, clothes, hats, glasses, brows, irises.

The names are part of a :class:`~evenface.generators.parametric.face.Face`; the assets decide how they
look. Flags such as ``bangs`` or ``wavy`` are what a person would say of the style, so annotation labels
follow from them.
"""

from __future__ import annotations

from dataclasses import dataclass

FEMALE, MALE = "female", "male"


@dataclass(frozen=True)
class HairStyle:
    """One hair style.

    ``asset`` is the MakeHuman hair mesh ("" means painted on the scalp only); ``genders`` the
    genders it is usual for; ``length`` is buzz, short, medium or long; ``volume`` says it stands
    well off the head (a hat cannot sit on it). ``wave`` (0..1) bends the strands of the asset.
    ``inflate`` scales its distance to the skull. ``trim`` is the height below the eyes, in units of the
    eye distance, where it is cut (``None``: as modelled). ``fringe`` is the height above the eyes
    (decimetres on the rest head) where strands before the face end; ``sweep`` draws them aside.
    ``weight`` is how common the style is among the styles of a gender (relative frequency for sampling).
    ``textures`` lists the hair textures (levels of ethnicity) for which it is plausible.
    """

    asset: str
    genders: tuple[str, ...]
    length: str
    bangs: bool = False
    straight: bool = False
    wavy: bool = False
    afro: bool = False
    volume: bool = False
    covers_ears: bool = False
    wave: float = 0.0
    inflate: float = 1.0
    trim: float | None = None
    fringe: float = 0.24
    sweep: bool = False
    weight: float = 1.0
    textures: tuple[str, ...] = ("asian", "black", "white")


_BOTH = (FEMALE, MALE)

HAIR_STYLES: dict[str, HairStyle] = {
    # Men and close cuts.
    "buzz": HairStyle("", (MALE,), "buzz", weight=1.0),
    "cropped": HairStyle("short01", (MALE,), "short", weight=1.2),
    "textured": HairStyle("short02", _BOTH, "short", wavy=True, weight=1.0),
    "slicked": HairStyle("short04", _BOTH, "short", straight=True, weight=1.0),
    "side_fringe": HairStyle("short03", _BOTH, "short", bangs=True, straight=True, weight=0.6),
    "afro_short": HairStyle("afro01", _BOTH, "short", afro=True, inflate=0.55, weight=1.2, textures=("black",)),
    "afro": HairStyle("afro01", _BOTH, "medium", afro=True, volume=True, weight=1.0, textures=("black",)),
    # Longer hair.
    "bob": HairStyle("bob02", (FEMALE,), "medium", straight=True, covers_ears=True, sweep=True),
    "bob_wavy": HairStyle("bob02", (FEMALE,), "medium", wavy=True, covers_ears=True, wave=0.9, sweep=True, weight=0.8),
    "bob_fringe": HairStyle("bob02", (FEMALE,), "medium", bangs=True, straight=True, covers_ears=True, weight=0.8),
    "bob_full": HairStyle("bob01", (FEMALE,), "medium", bangs=True, straight=True, covers_ears=True, weight=0.5),
    "shoulder": HairStyle("long01", (FEMALE,), "medium", straight=True, covers_ears=True, trim=1.9, weight=0.9),
    "shoulder_wavy": HairStyle(
        "long01",
        (FEMALE,),
        "medium",
        wavy=True,
        covers_ears=True,
        wave=1.0,
        trim=2.1,
        inflate=1.15,
        weight=0.9,
    ),
    "long": HairStyle("long01", (FEMALE,), "long", straight=True, covers_ears=True, weight=1.2),
    "long_wavy": HairStyle(
        "long01", (FEMALE,), "long", wavy=True, covers_ears=True, wave=1.0, inflate=1.15, weight=1.2
    ),
    "braid": HairStyle("Braid01", (FEMALE,), "long", bangs=True, covers_ears=True, weight=0.5),
    "ponytail": HairStyle("ponytail01", (FEMALE,), "long", straight=True, weight=1.0),
    "updo": HairStyle("ponytail01", (FEMALE,), "short", straight=True, trim=0.9, weight=0.7),
}

#: No hair on the scalp; not a key of ``HAIR_STYLES`` because it has no asset or colour.
BALD = "bald"

CLOTHES: dict[str, tuple[str, ...]] = {
    FEMALE: ("female_casualsuit01", "female_casualsuit02", "female_elegantsuit01", "female_sportsuit01"),
    MALE: (
        "male_casualsuit01",
        "male_casualsuit02",
        "male_casualsuit03",
        "male_casualsuit04",
        "male_casualsuit05",
        "male_casualsuit06",
        "male_elegantsuit01",
        "male_worksuit01",
    ),
}

#: Hats; ``beanie`` is built from the scalp's own geometry.
HATS: tuple[str, ...] = ("fedora", "fedora_cocked", "beanie")

#: ``Person.brow_style`` runs from 1 to this.
BROW_STYLES = 12

#: ``Person.lash_style`` runs from 1 to this.
LASH_STYLES = 4

EYE_COLOURS: tuple[str, ...] = (
    "brown",
    "brownlight",
    "blue",
    "bluegreen",
    "deepblue",
    "green",
    "grey",
    "ice",
    "lightblue",
)


def hair_styles(gender: str, ethnicity: str | None = None) -> list[str]:
    """Names of the hair styles usual for a gender (and plausible for an ethnicity), in file order."""
    return [
        name
        for name, style in HAIR_STYLES.items()
        if gender in style.genders and (ethnicity is None or ethnicity in style.textures)
    ]
