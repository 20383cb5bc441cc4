"""The people of a stand-in, and their pictures, drawn from the shares in its configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evenface.errors import UserError, check_names
from evenface.generators.parametric.domains import domain
from evenface.parts import StandinFormat, part
from evenface.seeds import seed_from
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS


def _equal(names) -> dict[str, float]:
    return dict.fromkeys(names, 1.0)


@dataclass(frozen=True)
class StandinSettings:
    """Declaration of a stand-in (one entry of ``standins`` in the configuration).

    Shares are weights and need not sum to 1. ``label_noise`` is the share of labels that are flipped,
    ``undefined_rate`` the share that MAAD-Face would leave undefined, and ``parts`` the number of rendering
    jobs (it does not change any picture).
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
        check_names(f"standins.{name}", config, [f.name for f in dataclasses.fields(cls)])
        settings = cls(**config)
        settings.check(name)
        return settings

    def check(self, name: str) -> None:
        """Raise UserError for the first value out of range."""
        where = f"standins.{name}"
        part(StandinFormat, self.format, f"{where}.format")
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
            check_names(f"{where}.hair_given_ethnicity", [ethnicity], DIMENSIONS["ethnicity"])
            _check_shares(f"{where}.hair_given_ethnicity.{ethnicity}", shares, tuple(HAIR_COLOURS))


def _check_shares(where: str, shares: Mapping[str, float], allowed: tuple[str, ...]) -> None:
    check_names(where, shares, allowed)
    for key, value in shares.items():
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
    """Shares in the vocabulary's order, so that the order of keys in a configuration has no effect."""
    return {level: shares[level] for level in levels if level in shares}


def _deal(shares: Mapping[str, float], count: int) -> list[str]:
    """``count`` levels in the declared shares. Any stretch of the list meets the shares to within about one.

    Each place goes to the level that is furthest behind its share; ties go to the first (Webster's
    apportionment, one seat at a time).
    """
    names = [n for n in shares if shares[n] > 0]
    weights = np.array([shares[n] for n in names], float)
    dealt = np.zeros(len(names))
    order = []
    for _ in range(count):
        chosen = int(np.argmax(weights / (2 * dealt + 1)))
        dealt[chosen] += 1
        order.append(names[chosen])
    return order


def members(name: str, settings: StandinSettings, seed: int) -> list[Member]:
    """The identities of a stand-in, in the order of their numbers.

    Shares are exact up to rounding, not only on average. They also hold within strata: hair colour within each
    ethnicity, then age, gender and the CelebA format's splits (80/10/10) within the strata drawn before. Products of
    dimensions are therefore as balanced as their factors.
    """
    everyone = range(settings.identities)
    traits: dict[str, list[str]] = {}

    def deal(trait: str, shares: Mapping[str, float], among: Iterable[int] = everyone) -> None:
        """Deal a trait to people in order of the traits they have; those with the same traits are in random order."""
        among = sorted(among, key=lambda i: ([t[i] for t in traits.values()], seed_from(seed, name, trait, i)))
        column = traits.get(trait, [""] * len(everyone))
        for i, level in zip(among, _deal(shares, len(among)), strict=True):
            column[i] = level
        traits[trait] = column

    deal("ethnicity", _in_order(settings.ethnicity, DIMENSIONS["ethnicity"]))
    for ethnicity in DIMENSIONS["ethnicity"]:
        shares = _in_order(settings.hair_given_ethnicity.get(ethnicity) or _equal(HAIR_COLOURS), HAIR_COLOURS)
        deal("hair", shares, [i for i in everyone if traits["ethnicity"][i] == ethnicity])
    deal("age", _in_order(settings.age, DIMENSIONS["age"]))
    deal("gender", _in_order(settings.gender, DIMENSIONS["gender"]))
    deal("split", {"train": 0.8, "val": 0.1, "test": 0.1})
    return [
        Member(
            i,
            seed_from(seed, "standin", name, i),
            {d: traits[d][i] for d in DIMENSIONS},
            traits["hair"][i],
            traits["split"][i],
        )
        for i in everyone
    ]
