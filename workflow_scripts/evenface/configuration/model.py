"""The model of a whole configuration: the sections of the rooms, with the blocks of all parts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import Field, create_model

from evenface.annotators.settings import AnnotationSettings
from evenface.datasets.settings import DatasetSettings
from evenface.directions.settings import DirectionSettings
from evenface.fairness.settings import EvaluationSettings
from evenface.fields import Name, Text
from evenface.generators.settings import GenerationSettings
from evenface.parts import (
    VARIABLE,
    Annotator,
    Detector,
    FilePath,
    Generator,
    Part,
    Reader,
    Settings,
    StandinFormat,
    Writer,
    entry_settings,
    parts,
)
from evenface.pixels.settings import PixelsSettings
from evenface.prompts.settings import ContextualSettings, PromptsSettings
from evenface.screening.settings import ScreeningSettings
from evenface.standins.settings import StandinSettings
from evenface.text_to_face.settings import TextToFaceSettings
from evenface.training.settings import RunSettings, TrainingSettings


def configuration_model() -> type[Settings]:
    """The model with the library's parts and those of the folders given to :func:`evenface.parts.activate`."""
    return _build(os.environ.get(VARIABLE, ""))


@cache
def _build(extensions: str) -> type[Settings]:
    """One model per set of extensions, which :func:`evenface.parts.parts` reads from the environment."""
    contextual = _with_blocks(ContextualSettings, Writer)
    prompts = _changed(PromptsSettings, contextual=(contextual | None, Field(None)))
    generators = _with_blocks(Settings, Generator, "One block per generator; only those of chosen generators are read.")
    datasets = Annotated[dict[Name, _entries(DatasetSettings, "reader", Reader)], Field(min_length=1)]
    standins = dict[Name, _entries(StandinSettings, "format", StandinFormat)]
    return create_model(
        "Configuration",
        __base__=Settings,
        __doc__="The configuration of evenface.",
        seed=(int, Field(0, ge=0, description="Every random draw depends on it.")),
        registry=(
            FilePath,
            Field(
                "models/registry.yaml",
                description="List of third-party weights and data sets, relative to the folder of the Snakefile.",
            ),
        ),
        extensions=(
            list[FilePath],
            Field(
                [],
                description="Folders with your own generators, annotators, readers and other parts, one Python file "
                "each.",
            ),
        ),
        demographics=(
            dict[Name, Text | Annotated[list[Text], Field(min_length=2)]],
            Field(
                {},
                description="Levels of the dimensions of groups, where they are not the default's: for gender, age, ethnicity or a "
                "dimension of your own, a list of levels, or the name of a published vocabulary (`utkface`, `fairface`, "
                "`fairface_4`, `facexformer`, `deepface`). Bands of age say their years: `0-19`, `20-39`, `40+`.",
            ),
        ),
        generation=(
            _changed(GenerationSettings, prompts=(prompts, Field()), settings=(generators, Field({}))),
            Field(),
        ),
        standins=(
            standins,
            Field({}, description="Data sets rendered on this machine in the published file formats, by name."),
        ),
        datasets=(datasets, Field(description="Data sets on disk and how they are read, by name.")),
        screening=(_with_blocks(ScreeningSettings, Detector), Field({})),
        annotation=(_with_blocks(AnnotationSettings, Annotator), Field({})),
        text_to_face=(TextToFaceSettings, Field({})),
        latent_directions=(DirectionSettings, Field({})),
        pixels=(PixelsSettings, Field({})),
        training=(TrainingSettings, Field({})),
        runs=(
            Annotated[dict[Name, RunSettings], Field(min_length=1)],
            Field(description="What classifiers are trained on, by name: one classifier per run and seed."),
        ),
        evaluation=(EvaluationSettings, Field()),
    )


def _changed(base: type[Settings], **fields: Any) -> type[Settings]:
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, **fields)


def _with_blocks(base: type[Settings], kind: type[Part], description: str | None = None) -> type[Settings]:
    """``base`` with a block for every part of a kind that has settings."""
    blocks: Mapping[str, Any] = {
        name: (part.settings, Field({})) for name, part in parts(kind).items() if part.settings.model_fields
    }
    return create_model(
        f"{base.__name__}With{kind.__name__}s", __base__=base, __doc__=description or base.__doc__, **blocks
    )


def _entries(base: type[Settings], key: str, kind: type[Part]) -> Any:
    """Type of an entry; its ``key`` names a part, which adds its own keys."""
    description = base.model_fields[key].description
    models = tuple(
        create_model(
            f"{name}{base.__name__}",
            __base__=entry_settings(part, base),
            __doc__=part.summary,
            **{key: (Literal[name], Field(description=description))},
        )
        for name, part in parts(kind).items()
    )
    return Annotated[Union[models], Field(discriminator=key)] if len(models) > 1 else models[0]  # noqa: UP007
