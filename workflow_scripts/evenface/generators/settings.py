"""Settings of ``generation``, and settings that several generators share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evenface.fields import Names
from evenface.parts import Generator, NameOf, Settings
from evenface.prompts.settings import PromptsSettings

Count = Annotated[int, Field(ge=1)]
GeneratorName = Annotated[str, NameOf(Generator)]


class GenerationSettings(Settings):
    """What is generated, and by what."""

    generator: GeneratorName | Names[GeneratorName] = Field(
        description="The generator, or a list of several. Runs with `synthetic: true` train on the first one's faces. An empty "
        "list, with `also: null`, generates nothing."
    )
    images_per_prompt: Count | Annotated[dict[GeneratorName, Count], Field(min_length=1)] = Field(
        12,
        description="Images of every prompt; with several generators optionally a number for each, by name. Raising "
        "it draws the further ones and no other.",
    )
    also: dict[GeneratorName, Count | None] | None = Field(
        {},
        description="Further generators, and how many prompts each draws; null for all. The subset is balanced over "
        "groups and hair colours; larger subsets contain smaller ones.",
    )
    images_per_shard: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None,
        description="Most images in a file. One job draws it and one screens it; each loads its model once. null: an "
        "eighth of all images, but from 512 to 4096. Lower it to spread a slow generator over more jobs. It does not "
        "change any image.",
    )
    negative_prompt: str = Field(
        "", description="Passed to the generator with every prompt; the parametric generator ignores it."
    )
    prompts: PromptsSettings = Field()


class WalkSettings(Settings):
    """How latents walk towards the wanted levels."""

    target: float = Field(0.9, gt=0, lt=1, description="A walk ends when every wanted level has this probability.")
    step: float = Field(0.25, gt=0, le=2, description="Length of a step, in standard deviations of the latent.")
    max_steps: int = Field(60, ge=1, description="A walk ends after this many steps.")
    max_distance: float = Field(
        4,
        gt=0,
        description="A walk ends at this distance from the origin along a direction, in standard deviations of the "
        "latent.",
    )
