"""Settings of the prompt catalogue, ``generation.prompts``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evenface.fields import Attribute, HairColour, Name, Names, Text
from evenface.parts import FilePath, NameOf, Settings, Writer
from evenface.prompts.vocabulary import CLIP_PROMPT_TOKENS
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS

#: Description of the setting in every catalogue that writes prompts.
WORDS = "How levels are written into prompts: dimension -> level -> words. Published levels have words; others are written as they are."


class FactorialSettings(Settings):
    """A prompt for every combination of the listed levels."""

    left_out = frozenset({"further", "words"})

    ethnicity: Annotated[Names[Text], Field(min_length=1)] = Field(
        list(DIMENSIONS["ethnicity"]), description="Levels of ethnicity."
    )
    gender: Annotated[Names[Text], Field(min_length=1)] = Field(
        list(DIMENSIONS["gender"]), description="Levels of gender."
    )
    age: Annotated[Names[Text], Field(min_length=1)] = Field(list(DIMENSIONS["age"]), description="Age bands.")
    hair_colour: Annotated[Names[HairColour], Field(min_length=1)] = Field(
        list(HAIR_COLOURS), description="Hair colours."
    )
    further: dict[str, Annotated[Names[Text], Field(min_length=1)]] = Field(
        {}, description="Levels of your own dimensions (`demographics`), which the template names too."
    )
    words: dict[str, dict[str, Text]] = Field({}, description=WORDS)
    prompts_per_cell: int = Field(1, ge=1, le=1000, description="Prompts of one cell; they differ in their traits.")
    template: Text = Field(
        "portrait photo of a {age} {ethnicity} {gender} with {hair}{traits}", description="The sentence of a prompt."
    )
    traits: list[str] = Field([], description="Secondary traits, drawn independently of the cell.")
    traits_per_prompt: int = Field(0, ge=0, description="How many traits each prompt gets.")


class PhrasesSettings(Settings):
    """The two phrases of a target attribute."""

    present: Text = Field(description="Phrase in prompts that ask for the attribute, such as smiling.")
    absent: Text = Field(
        description="Phrase in the other prompts, worded positively, such as neutral expression; negations are refused."
    )


class ContextualSettings(Settings):
    """Every combination of the listed levels, each in the same varied contexts (place, light, clothing, pose ...)."""

    left_out = frozenset({"words"})

    ethnicity: Names[Text] = Field(
        list(DIMENSIONS["ethnicity"]), description="Levels of ethnicity; an empty list leaves it unsaid."
    )
    gender: Names[Text] = Field(
        list(DIMENSIONS["gender"]), description="Levels of gender; an empty list leaves it unsaid."
    )
    age: Names[Text] = Field(list(DIMENSIONS["age"]), description="Age bands; an empty list leaves it unsaid.")
    hair_colour: Names[HairColour] = Field(
        list(HAIR_COLOURS), description="Hair colours; an empty list leaves them unsaid."
    )
    attributes: dict[Attribute, PhrasesSettings] = Field(
        {}, description="Further target attributes to cross with the groups: CelebA name -> its phrases."
    )
    words: dict[str, dict[str, Text]] = Field({}, description=WORDS)
    protect: Names[Attribute] = Field(
        [], description="Attributes that contexts must not mention, beside those that are crossed."
    )
    forbidden: Names[Text] = Field([], description="Words that no context may contain.")
    prompts_per_cell: int = Field(10, ge=1, le=10000, description="Prompts of every group.")
    template: Text = Field(
        "portrait photo of {person}, {context}",
        description="The sentence of a prompt; {person} is written from the levels.",
    )
    design: Literal["paired", "independent"] = Field(
        "paired",
        description="paired: every group is shown in the same contexts. independent: each group combines the same "
        "phrases anew (grammar), or draws its contexts from a pool (model).",
    )
    accept: Names[Literal["balance", "negation", "target", "group", "association"]] = Field(
        [], description="Checks whose findings are noted instead of stopping the workflow."
    )
    writer: Annotated[str, NameOf(Writer)] = Field(
        "grammar",
        description="Who writes the contexts: the built-in grammar, a language model in a folder, or an endpoint that "
        "speaks OpenAI's protocol.",
    )
    name: Name = Field(
        "contextual",
        description="Start of the name of the file in data/prompts that a model writes.",
    )
    ask: Literal["contexts", "prompts"] = Field(
        "contexts",
        description="What a model is asked for. All groups share contexts; prompts are written group by group.",
    )
    pool: int | None = Field(
        None,
        ge=1,
        le=100000,
        description="Contexts that a model writes. null: prompts_per_cell, or twice as many for an independent design.",
    )


class PromptsSettings(Settings):
    """The catalogue of prompts; give exactly one of factorial, contextual and file."""

    file: FilePath | None = Field(
        None,
        description="A .txt with one prompt per line, or a table (.csv, .tsv, .jsonl) with a prompt column and optional cell, "
        "gender, age, ethnicity and CelebA attribute columns, which overrule the words.",
    )
    max_tokens: int = Field(
        CLIP_PROMPT_TOKENS,
        ge=8,
        le=4096,
        description="Longest prompt, in CLIP tokens. Raise it only where the text encoder of every generator takes "
        "more; a generator's own limit still holds.",
    )
    factorial: FactorialSettings | None = Field(None)
    contextual: ContextualSettings | None = Field(None)
