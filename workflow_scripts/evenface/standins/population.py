"""The people of a stand-in, and their pictures, drawn from the shares in its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenface.generators.parametric.expressions import EXPRESSIONS
from evenface.parts import StandinFormat, entry_settings, part
from evenface.seeds import seed_from
from evenface.standins.settings import StandinSettings
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS


def settings_of(name: str, config: Mapping[str, Any]) -> StandinSettings:
    """The complete settings of a stand-in; UserError naming the key that is unknown or out of range."""
    where = f"standins.{name}"
    kind = entry_settings(part(StandinFormat, config["format"], f"{where}.format"), StandinSettings)
    return kind.model_validate(kind.filled(config, where))


@dataclass(frozen=True)
class Member:
    """One identity of a stand-in: its number, seed and what was drawn for it.

    ``expressions`` has one for each picture, if the format labels expressions.
    """

    number: int
    seed: int
    demographics: dict[str, str]
    hair: str
    split: str
    expressions: tuple[str, ...] = ()


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
    ethnicity, then age, gender and the formats' splits (80/10/10) within the strata drawn before. Products of
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

    deal("ethnicity", _in_order(settings.ethnicity, settings.ethnicities))
    equal = dict.fromkeys(HAIR_COLOURS, 1.0)
    for ethnicity in settings.ethnicities:
        shares = _in_order(settings.hair_given_ethnicity.get(ethnicity) or equal, HAIR_COLOURS)
        deal("hair", shares, [i for i in everyone if traits["ethnicity"][i] == ethnicity])
    deal("age", _in_order(settings.age, DIMENSIONS["age"]))
    deal("gender", _in_order(settings.gender, DIMENSIONS["gender"]))
    deal("split", {"train": 0.8, "val": 0.1, "test": 0.1})
    expressions = _expressions(name, settings, seed, traits)
    return [
        Member(
            i,
            seed_from(seed, "standin", name, i),
            {d: traits[d][i] for d in DIMENSIONS},
            traits["hair"][i],
            traits["split"][i],
            expressions.get(i, ()),
        )
        for i in everyone
    ]


def _expressions(
    name: str, settings: StandinSettings, seed: int, traits: Mapping[str, list[str]]
) -> dict[int, tuple[str, ...]]:
    """The expressions of everybody's pictures, dealt to all pictures in order of split, gender, ethnicity and age.

    Shares are met within a split and, up to few pictures, within every group: each is a few stretches of the order.
    """
    if not (shares := getattr(settings, "expression", {})):
        return {}
    pictures = [(i, k) for i in range(settings.identities) for k in range(settings.images_per_identity)]
    order = [traits[trait] for trait in ("split", "gender", "ethnicity", "age")]
    pictures.sort(key=lambda p: ([column[p[0]] for column in order], seed_from(seed, name, "expression", *p)))
    dealt = dict(zip(pictures, _deal(_in_order(shares, EXPRESSIONS), len(pictures)), strict=True))
    return {i: tuple(dealt[i, k] for k in range(settings.images_per_identity)) for i in range(settings.identities)}
