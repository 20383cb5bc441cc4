"""A stand-in in the files of FairFace."""

from typing import Literal

from pydantic import Field

from evenface.generators.parametric.mixtures import HAIR
from evenface.parts import Needs, StandinFormat
from evenface.standins.settings import Hair, StandinSettings, shares_of
from evenface.taxonomy import VOCABULARIES

_LEVELS = VOCABULARIES["fairface"]["ethnicity"]


class FairFaceSettings(StandinSettings):
    """A stand-in of FairFace."""

    ethnicities = _LEVELS

    ethnicity: shares_of(Literal[_LEVELS]) = Field(
        dict.fromkeys(_LEVELS, 1), description="Shares of people. Levels that the renderer lacks are mixtures."
    )
    hair_given_ethnicity: dict[Literal[_LEVELS], Hair] = Field(
        {level: HAIR[level] for level in _LEVELS}, description="Shares of hair colours within an ethnicity."
    )


PART = StandinFormat(
    name="fairface",
    summary="FairFace's pictures with the narrow margin, and both of its lists.",
    code="evenface.standins.fairface.assemble:assemble_fairface",
    settings=FairFaceSettings,
    outputs={"train": "fairface_label_train.csv", "val": "fairface_label_val.csv"},
    framing={"width": 224, "height": 224, "eye_x": 112, "eye_y": 70.5, "eye_distance": 78.5},
    needs=Needs(mem_mb=1000, runtime=30, conda="generate"),
)
