"""A stand-in in the file of FER2013."""

from typing import Literal

from pydantic import Field

from evenface.parts import Needs, StandinFormat
from evenface.standins.settings import StandinSettings, shares_of
from evenface.taxonomy import DEEPFACE_EMOTION


class FER2013Settings(StandinSettings):
    """A stand-in of FER2013."""

    expression: shares_of(Literal[DEEPFACE_EMOTION]) = Field(
        dict.fromkeys(DEEPFACE_EMOTION, 1), description="Shares of pictures."
    )


PART = StandinFormat(
    name="fer2013",
    summary="FER2013's table with expressions and gray pixels.",
    code="evenface.standins.fer2013.assemble:assemble_fer2013",
    settings=FER2013Settings,
    outputs={"table": "fer2013.csv"},
    framing={"width": 96, "height": 96, "eye_x": 48, "eye_y": 36, "eye_distance": 34},
    needs=Needs(mem_mb=1000, runtime=30, conda="generate"),
)
