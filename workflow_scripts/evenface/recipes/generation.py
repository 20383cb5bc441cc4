"""Faces from prompts: writing prompts, and drawing shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface.errors import UserError
from evenface.parts import Generator, Needs, Writer, part
from evenface.plan import paths
from evenface.plan.generators import described, settings_of

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


class Generation:
    """Recipes, inputs and needs of the jobs that write prompts and draw faces."""

    def __init__(self, flow: Flow):
        self._flow = flow

    def settings(self, generator: str) -> dict[str, Any]:
        """The settings to create a generator with."""
        return settings_of(self._flow.settings, generator)

    def part(self, generator: str) -> Generator:
        """The description of a generator."""
        return described(generator)

    def prompt_task(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides what a language model writes, and how it is asked."""
        return self._flow.prompts[f"data/prompts/{wildcards.catalogue}.csv"]

    def prompt_gpus(self, wildcards: Any) -> int:
        """GPUs a writer can use: an endpoint has its own."""
        return _writer(self.prompt_task(wildcards)).needs_of({}).gpu

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
        return [*self.files(wildcards).values(), *dict.fromkeys(i.partition("::")[0] for i in initial)]

    def needs(self, wildcards: Any) -> Needs:
        """A generating job's needs, without the size of its model."""
        return described(wildcards.generator).needs_of(self.settings(wildcards.generator))

    def gpus(self, wildcards: Any) -> int:
        """GPUs a generator can use."""
        return self.needs(wildcards).gpu

    def mem_mb(self, wildcards: Any) -> int:
        """MB of a generating job: twice the files, for loading and converting them, and room for images."""
        needed = self.needs(wildcards)
        if not needed.gpu:
            return needed.mem_mb
        sizes = [Path(path).stat().st_size for path in self.inputs(wildcards) if Path(path).is_file()]
        return needed.mem_mb + 3 * sum(sizes) // 10**6

    def runtime(self, wildcards: Any) -> int:
        """Minutes of a generating job."""
        return self.needs(wildcards).runtime

    def conda(self, wildcards: Any) -> str:
        """Path of the conda environment, as seen from ``rules/``."""
        return environment(self.needs(wildcards))

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


def environment(needs: Needs) -> str:
    """Path of the conda environment that a job asks for, as seen from ``rules/``."""
    return needs.conda if needs.conda.endswith((".yaml", ".yml")) else f"../envs/{needs.conda}.yaml"
