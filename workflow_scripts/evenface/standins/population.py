"""Who is in a stand-in: people and pictures drawn from the shares its configuration declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenface.errors import UserError
from evenface.generators.parametric.domains import domain
from evenface.planning.seeds import seed_from
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS

FORMATS = ("celeba", "vggface2")


def _equal(names) -> dict[str, float]:
    return dict.fromkeys(names, 1.0)


@dataclass(frozen=True)
class StandinSettings:
    """Declaration of a stand-in (one entry of ``standins`` in the configuration).

    Shares are weights and need not sum to 1. ``label_noise`` is the share of labels that are
    flipped, ``undefined_rate`` the share that MAAD-Face would leave undefined, ``parts`` the number
    of jobs that share the rendering (it changes no picture).
    """

    format: str
    identities: int = 200
    images_per_identity: int = 6
    parts: int = 2
    domain: str = "studio"
    gender: Mapping[str, float] = field(default_factory=lambda: _equal(DIMENSIONS["gender"]))
    age: Mapping[str, float] = field(default_factory=lambda: _equal(DIMENSIONS["age"]))
    ethnicity: Mapping[str, float] = field(default_factory=lambda: _equal(DIMENSIONS["ethnicity"]))
    hair_given_ethnicity: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: {e: _equal(HAIR_COLOURS) for e in DIMENSIONS["ethnicity"]}
    )
    label_noise: float = 0.0
    undefined_rate: float = 0.0

    @classmethod
    def from_config(cls, name: str, config: Mapping[str, Any]) -> StandinSettings:
        """Checked settings; UserError naming the key that is unknown or out of range."""
        known = [f.name for f in dataclasses.fields(cls)]
        for key in config:
            if key not in known:
                raise UserError(f"standins.{name}: unknown key {key!r}; known are {', '.join(known)}")
        settings = cls(**config)
        settings.check(name)
        return settings

    def check(self, name: str) -> None:
        """Raise UserError for the first value out of range."""
        where = f"standins.{name}"
        if self.format not in FORMATS:
            raise UserError(f"{where}.format is {self.format!r}; allowed are {', '.join(FORMATS)}")
        domain(self.domain)
        for key in ("identities", "images_per_identity", "parts"):
            if getattr(self, key) < 1:
                raise UserError(f"{where}.{key} must be at least 1")
        for key in ("label_noise", "undefined_rate"):
            if not 0 <= getattr(self, key) < 1:
                raise UserError(f"{where}.{key} must be from 0 to below 1")
        for dimension, levels in DIMENSIONS.items():
            _check_shares(f"{where}.{dimension}", getattr(self, dimension), levels)
        for ethnicity, shares in self.hair_given_ethnicity.items():
            if ethnicity not in DIMENSIONS["ethnicity"]:
                raise UserError(f"{where}.hair_given_ethnicity: {ethnicity!r} is not a level of ethnicity")
            _check_shares(f"{where}.hair_given_ethnicity.{ethnicity}", shares, tuple(HAIR_COLOURS))


def _check_shares(where: str, shares: Mapping[str, float], allowed: tuple[str, ...]) -> None:
    for key, value in shares.items():
        if key not in allowed:
            raise UserError(f"{where}: {key!r} is not one of {', '.join(allowed)}")
        if value < 0:
            raise UserError(f"{where}.{key} is negative")
    if sum(shares.values()) <= 0:
        raise UserError(f"{where}: the shares sum to 0")


@dataclass(frozen=True)
class Member:
    """One identity of a stand-in: its number, seed and what was drawn for it."""

    number: int
    seed: int
    demographics: dict[str, str]
    hair: str
    split: str


def _in_order(shares: Mapping[str, float], levels) -> dict[str, float]:
    """Shares in the vocabulary's order, so that the order of keys in a configuration decides nothing."""
    return {level: shares[level] for level in levels if level in shares}


def _deal(shares: Mapping[str, float], count: int, random: np.random.Generator) -> list[str]:
    """``count`` levels in exactly the declared shares (largest remainders), shuffled."""
    names = [n for n in shares if shares[n] > 0]
    exact = np.array([shares[n] for n in names], float) / sum(shares.values()) * count
    counts = np.floor(exact).astype(int)
    for index in np.argsort(-(exact - counts), kind="stable")[: count - counts.sum()]:
        counts[index] += 1
    return [str(n) for n in random.permutation(np.repeat(names, counts))]


def members(name: str, settings: StandinSettings, seed: int) -> list[Member]:
    """The identities of a stand-in, in the order of their numbers.

    Shares are met exactly (up to rounding) rather than in expectation; the splits of the CelebA
    format are dealt 80/10/10 within each ethnicity and hair colour.
    """
    count = settings.identities
    dealt = {
        dimension: _deal(getattr(settings, dimension), count, _random(seed, name, dimension))
        for dimension in DIMENSIONS
    }
    hair = [""] * count
    for ethnicity in DIMENSIONS["ethnicity"]:
        where = [i for i in range(count) if dealt["ethnicity"][i] == ethnicity]
        shares = _in_order(settings.hair_given_ethnicity.get(ethnicity) or _equal(HAIR_COLOURS), HAIR_COLOURS)
        for i, colour in zip(where, _deal(shares, len(where), _random(seed, name, "hair", ethnicity)), strict=True):
            hair[i] = colour
    split = [""] * count
    order = sorted(range(count), key=lambda i: (dealt["ethnicity"][i], hair[i], seed_from(seed, name, "split", i)))
    # Walking the sorted list in steps of ten gives every stratum its share of each split.
    start = int(_random(seed, name, "split").integers(10))
    for place, i in enumerate(order):
        split[i] = {0: "val", 5: "test"}.get((place + start) % 10, "train")
    return [
        Member(i, seed_from(seed, "standin", name, i), {d: dealt[d][i] for d in DIMENSIONS}, hair[i], split[i])
        for i in range(count)
    ]


def _random(*names: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_from(*names)))
