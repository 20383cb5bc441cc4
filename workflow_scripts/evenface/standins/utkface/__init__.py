"""A stand-in in the files of UTKFace."""

from typing import Literal

from pydantic import Field

from evenface.generators.parametric.mixtures import HAIR
from evenface.parts import Needs, StandinFormat
from evenface.standins.settings import Hair, StandinSettings, shares_of
from evenface.taxonomy import VOCABULARIES

_LEVELS = VOCABULARIES["utkface"]["ethnicity"]


class UTKFaceSettings(StandinSettings):
    """A stand-in of UTKFace."""

    ethnicities = _LEVELS

    ethnicity: shares_of(Literal[_LEVELS]) = Field(
        dict.fromkeys(_LEVELS, 1), description="Shares of people. Levels that the renderer lacks are mixtures."
    )
    hair_given_ethnicity: dict[Literal[_LEVELS], Hair] = Field(
        {level: HAIR[level] for level in _LEVELS}, description="Shares of hair colours within an ethnicity."
    )
    malformed_names: bool = Field(
        True, description="Whether three pictures have the three published names that lack a field. Readers drop them."
    )


PART = StandinFormat(
    name="utkface",
    summary="UTKFace's aligned pictures, with age, gender and race in their names.",
    code="evenface.standins.utkface.assemble:assemble_utkface",
    settings=UTKFaceSettings,
    framing={"width": 200, "height": 200, "eye_x": 100, "eye_y": 63, "eye_distance": 70},
    needs=Needs(mem_mb=1000, runtime=30, conda="generate"),
)
