"""Faces from prompts: writing prompts, and drawing shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface.errors import UserError
from evenface.names import split_reference
from evenface.parts import Generator, Needs, Writer, part
from evenface.plan import paths
from evenface.plan.generators import described, settings_of
from evenface.resources import Asks

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenface.recipes.flow import Flow


class Generation:
    """Recipes, inputs and needs of the jobs that write prompts and draw faces."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self.asks = Asks(lambda wildcards: [self.needs(wildcards.generator)])
        self.writing = Asks(lambda wildcards: [_writer_needs(self.prompt_task(wildcards))])

    def settings(self, generator: str) -> dict[str, Any]:
        """The settings to create a generator with."""
        return settings_of(self._flow.settings, generator)

    def part(self, generator: str) -> Generator:
        """The description of a generator."""
        return described(generator)

    def prompt_task(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides what a language model writes, and how it is asked."""
        return self._flow.prompts[f"data/prompts/{wildcards.catalogue}.csv"]

    def prompts_from_afar(self) -> bool:
        """Whether a writer asks another machine, which compute nodes may be unable to reach."""
        return any(_writer(task).remote for task in self._flow.prompts.values())

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides a shard's images. It is part of the DAG, so Snakemake notices an edit."""
        plan = self._flow.plans[wildcards.generator]
        if wildcards.shard not in plan.shards:
            raise UserError(f"the configuration asks for no shard {wildcards.shard} of {wildcards.generator}")
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
            sizes = [Path(path).stat().st_size for path in self.inputs(wildcards) if Path(path).is_file()]
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


def _writer(task: dict[str, Any]) -> Writer:
    return part(Writer, task["task"]["writer"], "generation.prompts.contextual.writer")


def _writer_needs(task: dict[str, Any]) -> Needs:
    writer = _writer(task)
    return writer.needs_of(task["settings"].get(writer.name, {}))
