"""Settings of ``annotation``; each annotator adds the block of its name."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal

from pydantic import Field

from evenface.fields import Names, Precision, Share, Text
from evenface.parts import Annotator, NameOf, Settings
from evenface.plan.generators import REQUESTED

AnnotatorName = Annotated[str, NameOf(Annotator)]
Source = Annotated[str, NameOf(Annotator, (REQUESTED,))]
Sources = Source | Annotated[Names[Source], Field(min_length=1)]

BATCH_SIZE = {"ge": 1, "description": "Faces the network processes at once. It does not change any label."}


class PublishedSettings(Settings):
    """Settings of every published annotator."""

    batch_size: int = Field(32, **BATCH_SIZE)
    precision: Precision = Field("float32")


class ValidateSettings(Settings):
    """What happens to a generated face in which an annotator sees another group than the prompt asked for."""

    by: AnnotatorName | None = Field(None, description="The annotator whose answers count; null checks nothing.")
    dimensions: Annotated[Names[Text], Field(min_length=1)] = Field(
        ["ethnicity"], description="Dimensions that are compared."
    )
    policy: Literal["report", "drop", "relabel"] = Field(
        "report",
        description="report: mismatches are counted and the face is kept as requested. drop: it is rejected. relabel: "
        "it counts as what the annotator sees.",
    )
    unknown: Literal["keep", "drop"] = Field(
        "keep",
        description="A face in which the annotator sees no level of the study, or no face: keep it as requested, or "
        "drop it.",
    )
    min_probability: Share = Field(0, description="Answers less certain than this never count as a mismatch.")


with warnings.catch_warnings():  # pydantic has a deprecated method of the name `validate`
    warnings.filterwarnings("ignore", "Field name .validate. .* shadows")

    class AnnotationSettings(Settings):
        """Who labels the generated faces."""

        annotators: Annotated[Names[AnnotatorName], Field(min_length=1)] = Field(
            ["ground_truth"], description="Every annotator that runs; all pairs are compared."
        )
        demographics_from: Sources = Field(
            REQUESTED,
            description="Where gender, age and ethnicity of a generated face come from: an annotator, or requested "
            "(what the prompt asked for). Each generator uses the first entry of a list that knows its faces.",
        )
        labels_from: Sources = Field(
            "ground_truth",
            description="The annotator whose labels train the classifiers, or requested. Each generator uses the first "
            "entry of a list that knows its faces; ground_truth knows only those of the parametric generator.",
        )
        validate: ValidateSettings = Field({})
        accept_domain_shift: Names[Annotated[str, NameOf(Annotator, ("magface",))]] = Field(
            [],
            description="Networks that may label photographs, although they learned from renderings or do not say from "
            "what: annotators, and magface for the quality network. The report names them.",
        )
        parts: int = Field(
            1,
            ge=1,
            description="Jobs that label a data set for one annotator, each an equal part of it. A killed job starts over.",
        )
        shards_per_batch: int = Field(
            2, ge=1, description="Shards that one job labels, at most and about; it loads its network once for all."
        )
