"""Settings of a stand-in, an entry of ``standins``; a format may add keys of its own."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from evenface.fields import Age, Ethnicity, Gender, HairColour, Share, Weight
from evenface.generators.parametric.domains import DomainName
from evenface.parts import NameOf, Settings, StandinFormat
from evenface.taxonomy import DIMENSIONS


def _some(shares: dict[str, float]) -> dict[str, float]:
    if sum(shares.values()) <= 0:
        raise ValueError("the shares sum to 0")
    return shares


def shares_of(names: Any) -> Any:
    """The type of shares of ``names``, one of which is above 0."""
    return Annotated[dict[names, Weight], AfterValidator(_some)]


#: The type of shares of hair colours.
Hair = Annotated[dict[HairColour, Share], AfterValidator(_some)]


class StandinSettings(Settings):
    """A data set rendered on this machine, in the file formats of a published one.

    ``ethnicities`` are the levels that its labels tell apart, in the order of its codes.
    """

    ethnicities: ClassVar[tuple[str, ...]] = DIMENSIONS["ethnicity"]

    format: Annotated[str, NameOf(StandinFormat)] = Field(description="Layout of the published files.")
    identities: int = Field(200, ge=1, description="Number of people.")
    images_per_identity: int = Field(6, ge=1, description="Pictures of each person.")
    parts: int = Field(2, ge=1, description="Number of rendering jobs. It does not change any picture.")
    domain: DomainName = Field("studio", description="How the pictures are lit, framed and degraded.")
    gender: shares_of(Gender) = Field({"female": 0.5, "male": 0.5}, description="Shares of people.")
    age: shares_of(Age) = Field(dict.fromkeys(DIMENSIONS["age"], 1), description="Shares of people.")
    ethnicity: shares_of(Ethnicity) = Field(dict.fromkeys(DIMENSIONS["ethnicity"], 1), description="Shares of people.")
    hair_given_ethnicity: dict[Ethnicity, Hair] = Field(
        {}, description="Shares of hair colours within an ethnicity; equal shares by default."
    )
    label_noise: float = Field(0, ge=0, lt=1, description="Share of labels that are flipped.")
    undefined_rate: float = Field(
        0, ge=0, lt=1, description="Share of labels that are left undefined, as in MAAD-Face."
    )
