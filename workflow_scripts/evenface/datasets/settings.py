"""Settings of a data set, an entry of ``datasets``; a reader may add its own keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evenface.fields import Share
from evenface.parts import Annotator, FilePath, NameOf, Reader, Settings
from evenface.taxonomy import LABEL_CODINGS


class DatasetSettings(Settings):
    """A data set on disk and how to read it."""

    left_out = frozenset({"demographics_from", "levels", "max_unreadable", "verify_images"})

    reader: Annotated[str, NameOf(Reader)] = Field(description="The reader for the data set's files.")
    root: FilePath = Field(description="Folder with the published files.")
    standin: str | None = Field(None, description="Name of the stand-in that is rendered into root.")
    demographics: FilePath | None = Field(
        None,
        description="Table (Parquet or CSV) with image_id, gender, age, ethnicity and your own dimensions, for data sets that "
        "do not label them; or the CSV of FairFace's `predict.py`.",
    )
    demographics_from: Annotated[str, NameOf(Annotator)] | None = Field(
        None,
        description="Annotator whose answers are the demographics, in place of the data set's own labels and of a table. "
        "`results/annotation/<dataset>/<annotator>.csv` compares both.",
    )
    levels: dict[str, dict[str, str]] = Field(
        {},
        description="What the data set's own words for levels mean: dimension -> word -> level, or `unknown`. Published words "
        "(FairFace's, UTKFace's ...) are known.",
    )
    label_coding: Literal[tuple(LABEL_CODINGS)] = Field(
        "minus_one_one", description="How the file writes attributes. It is never guessed."
    )
    max_unreadable: Share = Field(
        0.01,
        description="Share of its images that may be missing, and share of the others, in all and in every group, that may "
        "be unreadable, before the workflow stops. They are listed as rejected. Rows without an image are missing, and so "
        "are images without a row; of MAAD-Face's file, which lists all of VGGFace2, only the latter.",
    )
    verify_images: Literal[True, False, "sample"] | None = Field(
        "sample", description="Decode all images, none, or a sample while reading; undecodable ones are rejected."
    )
