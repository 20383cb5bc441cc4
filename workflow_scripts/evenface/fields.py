"""Types of settings that several rooms share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from evenface.names import NAME
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, HAIR_COLOURS

T = TypeVar("T")

#: A list without repeated entries.
Names = Annotated[list[T], Field(json_schema_extra={"uniqueItems": True})]
#: A list of (width, height) has two entries.
Pair = Annotated[list[T], Field(min_length=2, max_length=2)]

#: A name of the user's choice, which becomes a part of paths.
Name = Annotated[str, Field(pattern=NAME)]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
#: A number that matters only relative to the others.
Weight = Annotated[float, Field(ge=0)]
Attribute = Literal[CELEBA_ATTRIBUTES]
Ethnicity = Literal[DIMENSIONS["ethnicity"]]
Gender = Literal[DIMENSIONS["gender"]]
Age = Literal[DIMENSIONS["age"]]
HairColour = Literal[tuple(HAIR_COLOURS)]

#: Arithmetic of a published network.
Precision = Annotated[
    Literal["float32", "bfloat16", "auto"],
    Field(
        description="Arithmetic of the network; float32 gives the published numbers. auto takes bfloat16 where the "
        "processor has it."
    ),
]
HAIR_ATTRIBUTES = list(HAIR_COLOURS.values())
