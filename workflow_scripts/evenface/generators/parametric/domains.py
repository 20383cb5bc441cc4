"""Photographic domains: how a set of pictures is lit and how its cameras degrade them.

Every number is the spread or range of one draw; ``sampling`` reads the light, ``camera`` the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evenface.errors import UserError, unknown_name


@dataclass(frozen=True)
class Domain:
    """Ranges and spreads of a domain.

    Light: ``key_intensity`` range, ``key_elevation`` range (radians), ``colour_cast`` standard
    deviation of the log gain between red and blue of the light, ``tint`` the same for green,
    ``ambient`` range. Pose: ``yaw``, ``pitch``, ``roll`` standard deviations (radians). Camera:
    ``exposure`` standard deviation in stops and ``exposure_bias``, ``white_balance`` standard
    deviation of the log gains, ``contrast`` spread, ``blur`` largest Gaussian sigma (pixels of a
    178-pixel-wide image), ``motion`` share of motion-blurred pictures, ``noise`` largest standard
    deviation (of full scale), ``low_resolution`` share of pictures and ``smallest_scale`` they are
    reduced to, ``vignette`` largest corner darkening, ``occlusion`` share of pictures with something
    in front, ``saturation`` spread, ``jpeg`` quality range.
    """

    key_intensity: tuple[float, float] = (0.7, 1.3)
    key_elevation: tuple[float, float] = (0.1, 0.9)
    colour_cast: float = 0.05
    tint: float = 0.02
    ambient: tuple[float, float] = (0.45, 0.75)
    yaw: float = 0.18
    pitch: float = 0.06
    roll: float = 0.04
    exposure: float = 0.12
    exposure_bias: float = 0.0
    white_balance: float = 0.03
    contrast: float = 0.05
    saturation: float = 0.05
    blur: float = 0.4
    motion: float = 0.0
    noise: float = 0.008
    low_resolution: float = 0.0
    smallest_scale: float = 1.0
    vignette: float = 0.0
    occlusion: float = 0.0
    jpeg: tuple[int, int] = (92, 97)


DOMAINS: dict[str, Domain] = {
    "studio": Domain(),
    "celebrity_photo": Domain(
        key_intensity=(0.6, 1.4), key_elevation=(0.0, 1.0), colour_cast=0.07, tint=0.025, ambient=(0.35, 0.8),
        yaw=0.22, pitch=0.07, roll=0.05, exposure=0.20, white_balance=0.04, contrast=0.10, saturation=0.10, blur=0.7,
        motion=0.04, noise=0.018, low_resolution=0.2, smallest_scale=0.55, vignette=0.15, occlusion=0.05, jpeg=(70, 95),
    ),
    "web_crop": Domain(
        key_intensity=(0.55, 1.45), key_elevation=(-0.1, 1.1), colour_cast=0.06, tint=0.02, ambient=(0.4, 0.85),
        yaw=0.28, pitch=0.10, roll=0.08, exposure=0.16, exposure_bias=-0.04, white_balance=0.035, contrast=0.10,
        saturation=0.10, blur=0.9, motion=0.08, noise=0.025, low_resolution=0.3, smallest_scale=0.5, vignette=0.25,
        occlusion=0.06, jpeg=(50, 90),
    ),
}  # fmt: skip

#: Type of a setting that names one.
DomainName = Literal[tuple(DOMAINS)]


def domain(name: str) -> Domain:
    """The domain called ``name``; UserError listing all domains if there is none of this name."""
    if name not in DOMAINS:
        raise UserError(unknown_name("domain", name, DOMAINS))
    return DOMAINS[name]
