"""Latent directions: samples in parts, guiding and judging annotators, and pictures along directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenface.errors import UserError
from evenface.parts import Annotator, Generator, Needs, part
from evenface.plan.directions import annotator_recipe, direction_problems, fit_recipe, sample_recipe
from evenface.plan.generators import settings_of
from evenface.resources import Asks

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


class Latent:
    """Recipes, inputs and paths of the stages below ``results/latent``."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self.settings = flow.settings["latent_directions"]
        self.generator = self.settings["generator"]
        self.folder = f"results/latent/{self.generator}"
        self.drawing = Asks(lambda _: [self._drawn_needs()])
        self.labelling = Asks(lambda _: [flow.annotation.needs(self.settings["labels_from"])])
        self.judging = Asks(lambda _: [self._drawn_needs(), flow.annotation.needs(self.settings["accepted_by"])])
        self.parts = [f"{self.folder}/samples/{part}.tar" for part in range(self.settings["parts"])]

    def _checked(self) -> dict[str, Any]:
        """The configuration; UserError if its block latent_directions cannot be used."""
        if problems := direction_problems(self._flow.settings):
            raise UserError("config.yaml cannot be used:\n  " + "\n  ".join(problems))
        return self._flow.settings

    def _part(self) -> Generator:
        return part(Generator, self.generator, "latent_directions.generator")

    def _drawn_needs(self) -> Needs:
        return self._part().needs_of(settings_of(self._flow.settings, self.generator))

    def files(self, wildcards: Any = None) -> dict[str, str]:
        """File key -> path of what the latent generator reads."""
        return self._part().files(settings_of(self._flow.settings, self.generator))

    def inputs(self, wildcards: Any) -> list[str]:
        """The same paths."""
        return list(self.files().values())

    def sample_part(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides one part of the samples."""
        return {**sample_recipe(self._checked()), "part": int(wildcards.part)}

    def fit(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides the directions, except samples and labels."""
        return fit_recipe(self._checked())

    def drawn(self, *keys: str) -> Callable[[Any], dict[str, Any]]:
        """Params function: everything that decides pictures along directions, including ``keys`` of the block."""

        def recipe(wildcards: Any) -> dict[str, Any]:
            kept = ("version", "generator", "generator_version", "settings", "seed")
            sampled = sample_recipe(self._checked())
            return {key: sampled[key] for key in kept} | {key: self.settings[key] for key in keys}

        return recipe

    def reader_files(self, key: str) -> Callable[[Any], list[str]]:
        """Input function: the files of the annotator that ``labels_from`` or ``accepted_by`` names."""
        return lambda wildcards: list(self._reader_files(key).values())

    def reader(self, key: str) -> Callable[[Any], dict[str, Any]]:
        """Params function: the recipe of that annotator."""

        def recipe(wildcards: Any) -> dict[str, Any]:
            recipe = annotator_recipe(self._checked(), self.settings[key])
            return {"annotator": recipe, "files": self._reader_files(key), "factors": self.settings["factors"]}

        return recipe

    def _reader_files(self, key: str) -> dict[str, str]:
        name = self.settings[key]
        return part(Annotator, name, f"latent_directions.{key}").files(self._flow.settings["annotation"].get(name, {}))
