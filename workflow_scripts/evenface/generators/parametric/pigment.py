"""Hair colour as a continuum, and where an annotator would cut it.

A hair's lightness runs from 0 (black) to 1 (light blond) on the logarithm of its linear
luminance, as perceived steps of hair colour roughly do; its warmth is the pheomelanin-like shift
towards red. Gray is not a pigment but a share of strands without any.
"""

from __future__ import annotations

import math

from evenface.generators.parametric.face import Colour, Hair

#: Linear luminances of lightness 0 and 1.
DARKEST, LIGHTEST = 0.009, 0.34

#: Lightness at which black turns brown and brown turns blond, and the share of gray strands at
#: which hair is called gray.
BLACK_BROWN, BROWN_BLOND, GRAY_SHARE = 0.29, 0.73, 0.45

#: Half widths of the zones in which annotators disagree.
LIGHTNESS_ZONE, GRAY_ZONE = 0.045, 0.10


def luminance(colour: Colour) -> float:
    """Linear luminance (Rec. 709) of a linear RGB colour."""
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def hair_colour(lightness: float, warmth: float) -> Colour:
    """Linear RGB albedo of hair of a lightness (0..1) and warmth (0 neutral, 1 as warm as brown hair)."""
    target = DARKEST * (LIGHTEST / DARKEST) ** lightness
    # Light hair is warm towards yellow, dark hair towards red; without this, blond reads as ginger.
    light = min(max((lightness - 0.55) / 0.25, 0.0), 1.0)
    tint = (1 + (0.62 - 0.18 * light) * warmth, 1 - (0.10 - 0.04 * light) * warmth, 1 - 0.55 * warmth)
    scale = target / luminance(tint)
    return tuple(round(scale * c, 6) for c in tint)


def lightness_of(colour: Colour) -> float:
    """Inverse of :func:`hair_colour`: the lightness of an albedo, unclipped."""
    return math.log(max(luminance(colour), 1e-6) / DARKEST) / math.log(LIGHTEST / DARKEST)


def _step(x: float, edge: float, zone: float) -> float:
    """Logistic step: 0.1 and 0.9 at the ends of the zone around ``edge``."""
    return 1 / (1 + math.exp(-2.2 * (x - edge) / zone))


def hair_colour_probabilities(hair: Hair) -> dict[str, float]:
    """Probability that an annotator calls the hair black, brown, blond or gray; they sum to 1.

    A bald head has no hair colour: all four are 0.
    """
    if hair.style == "bald":
        return dict.fromkeys(("black", "brown", "blond", "gray"), 0.0)
    lightness = lightness_of(hair.colour)
    gray = _step(hair.gray, GRAY_SHARE, GRAY_ZONE)
    over_black = _step(lightness, BLACK_BROWN, LIGHTNESS_ZONE)
    over_brown = _step(lightness, BROWN_BLOND, LIGHTNESS_ZONE)
    return {
        "black": (1 - gray) * (1 - over_black),
        "brown": (1 - gray) * over_black * (1 - over_brown),
        "blond": (1 - gray) * over_black * over_brown,
        "gray": gray,
    }
