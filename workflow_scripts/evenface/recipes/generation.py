"""Faces from prompts: writing prompts, and drawing shards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from evenface.names import split_reference
from evenface.parts import Generator, Needs, Writer
from evenface.plan import paths
from evenface.plan.generators import described, settings_of
from evenface.prompts.contextual import writer_of
from evenface.resources import Asks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evenface.recipes.flow import Flow


class Generation:
    """Recipes, inputs and needs of the jobs that write prompts and draw faces."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self.asks = Asks(lambda wildcards: [self.needs(wildcards.generator)])
        self.writing = Asks(lambda wildcards: [Writer.needs_of(*self.writer(wildcards))])

    def settings(self, generator: str) -> dict[str, Any]:
        """The settings to create a generator with."""
        return settings_of(self._flow.settings, generator)

    def part(self, generator: str) -> Generator:
        """The description of a generator."""
        return described(generator)

    def prompt_task(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides what a language model writes, and how it is asked."""
        return self._flow.prompts[f"data/prompts/{wildcards.catalogue}.csv"]

    def writer(self, wildcards: Any) -> tuple[Writer, Mapping[str, Any]]:
        """The language model that writes a catalogue, and its settings."""
        return writer_of(self.prompt_task(wildcards)["settings"])

    def writer_files(self, wildcards: Any) -> list[str]:
        """The files that it reads."""
        writer, settings = self.writer(wildcards)
        return list(writer.files(settings).values())

    def prompts_from_afar(self) -> bool:
        """Whether a writer asks another machine, which compute nodes may be unable to reach."""
        return any(writer_of(writing["settings"])[0].remote for writing in self._flow.prompts.values())

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides a shard's images. It is part of the DAG, so Snakemake notices an edit."""
        plan = self._flow.plans[wildcards.generator]
        if wildcards.shard not in plan.shards:
            raise self._flow.unplanned("shard", wildcards.shard, wildcards.generator)
        return plan.shards[wildcards.shard]

    def files(self, wildcards: Any) -> dict[str, str]:
        """File key -> path of the weights and assets that a generator reads."""
        return described(wildcards.generator).files(self.settings(wildcards.generator))

    def inputs(self, wildcards: Any) -> list[str]:
        """The same paths, and those of the images it starts from."""
        initial = [image for draw in self.recipe(wildcards)["draws"] for image in draw.get("images", [])]
        return [*self.files(wildcards).values(), *dict.fromkeys(split_reference(image)[0] for image in initial)]

    def needs(self, generator: str) -> Needs:
        """A generator's needs, without the size of its model."""
        return described(generator).needs_of(self.settings(generator))

    def mem_mb(self, least: int) -> Callable[[Any], int]:
        """MB of a generating job; on a GPU also three times the files, for loading and converting them."""

        def amount(wildcards: Any) -> int:
            sizes = [os.path.getsize(path) for path in self.inputs(wildcards) if os.path.isfile(path)]
            model = 3 * sum(sizes) // 10**6 if self.asks.gpu(0)(wildcards) else 0
            return self.asks.mem_mb(least)(wildcards) + model

        return amount

    def shards(self, ending: str):
        """Input function: files of one kind of all shards of a generator."""

        def files(wildcards: Any) -> list[str]:
            if self._flow.unwritten:  # the plan is empty; the run stops once they are asked for
                return self._flow.unwritten
            name = wildcards.generator
            return [paths.shard_file(name, shard, ending) for shard in self._flow.plans[name].shards]

        return files
