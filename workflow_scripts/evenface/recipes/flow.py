"""The checked configuration, the plan and the registry of one run of the workflow, and its stages."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from evenface.assets.check import require
from evenface.assets.diffusion_check import check_diffusion
from evenface.assets.needs import Need, annotator_needs, latent_needs, needs
from evenface.assets.registry import Registry, load_registry
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.plan.shards import Plan, build_plans, shard_batches
from evenface.prompts.contextual import MissingPrompts, prompt_writing
from evenface.training.margin import Margin
from evenface.training.settings import trained_runs


def one_of(names: Iterable[str]) -> str:
    """Regular expression that matches exactly the given names; without names it matches nothing.

    It has no braces, which Snakemake would read as the end of the expression.
    """
    escaped = "|".join(re.escape(name) for name in names) or "(?!)"
    return escaped.replace(r"\{", r"\x7b").replace(r"\}", r"\x7d")


def absent(paths: Iterable[str]) -> list[str]:
    """The paths that do not exist. Existing files stay as they are, even if scripts or time stamps change."""
    return [path for path in paths if not os.path.exists(path)]


class Flow:
    """One configuration, read and checked.

    ``settings`` is the configuration with its defaults. ``prompts`` are the files of prompts that a language model
    writes. ``plans`` maps generators to plans, which are empty until those prompts are written. ``registry`` lists the
    third-party files. The stages are attributes: ``generation``, ``screening``, ``annotation`` and so on.
    """

    def __init__(
        self, settings: dict[str, Any], registry: Registry, plans: Mapping[str, Plan], prompts: dict[str, Any]
    ):
        from evenface.recipes import (
            annotation,
            assets,
            datasets,
            evaluation,
            generation,
            latent,
            pixels,
            screening,
            standins,
            text_to_face,
            training,
        )

        self.settings, self.registry, self.plans, self.prompts = settings, registry, dict(plans), prompts
        self.generators = list(plans)
        self.runs, self.trained = list(settings["runs"]), trained_runs(settings)
        self.imported = [run for run in self.runs if run not in self.trained]
        self.seeds = settings["training"]["seeds"]
        self.assets = assets.Assets(self)
        self.standins = standins.Standins(self)
        self.generation = generation.Generation(self)
        self.screening = screening.Screening(self)
        self.annotation = annotation.Annotation(self)
        self.datasets = datasets.Datasets(self)
        self.pixels = pixels.Pixels(self)
        self.training = training.Training(self)
        self.evaluation = evaluation.Evaluation(self)
        self.text_to_face = text_to_face.TextToFace(self)
        self.latent = latent.Latent(self)

    @cached_property
    def needs(self) -> list[Need]:
        """The third-party files that the configuration uses."""
        return needs(self.settings, self.registry)

    @cached_property
    def latent_needs(self) -> list[Need]:
        """Those that its latent directions use, which only targets of theirs ask for."""
        return latent_needs(self.settings, self.registry)

    @cached_property
    def needs_on_request(self) -> list[Need]:
        """Those that only targets by name ask for: of latent directions, and of annotators of data sets."""
        return [*self.latent_needs, *annotator_needs(self.settings, self.registry)]

    @cached_property
    def batches(self) -> dict[str, dict[str, list[str]]]:
        """Generator -> batch -> the shards that one job annotates."""
        size = self.settings["annotation"]["shards_per_batch"]
        return {name: shard_batches(list(plan.shards), size) for name, plan in self.plans.items()}

    def vocabulary(self, key: str) -> dict[str, Any]:
        """The levels of the study under ``key`` of a recipe; nothing if they are the default's."""
        demographics = self.settings.get("demographics")
        return {key: demographics} if demographics else {}

    @property
    def unwritten(self) -> list[str]:
        """Missing files of prompts that a language model must write. A file that exists belongs to the user."""
        return absent(self.prompts)

    def check_before_jobs(self, targets: Collection[str], absent: Collection[str] = ()) -> None:
        """Raise UserError for what prevents the first job: missing or changed files, and unwritten prompts.

        ``targets`` are the requested targets, empty for the default. A run that only writes prompts may start.
        ``absent`` are missing files that jobs wait for and no rule can fetch.
        """
        asked = [need for need in self.needs_on_request if need.paths[0] in absent]
        require(dict.fromkeys([*self.needs, *asked]), self.registry, "changed")
        if self.unwritten and not (targets and {*targets} <= {*self.prompts}):
            raise MissingPrompts(
                f"{self.unwritten[0]} has not been written yet; write it first: snakemake --cores 1 {self.unwritten[0]}"
            )

    def unplanned(self, kind: str, name: str, generator: str) -> UserError:
        """The error for a target that asks for a shard or batch that no plan has."""
        return UserError(
            f"no {kind} of the generator {generator} is called {name}: names follow from the configuration, and change "
            f"when it is edited; ask for data/faces/{generator}.parquet, or for a {kind} that a dry run lists"
        )

    def check_parts(self) -> None:
        """Raise UserError for what parts say wrongly of their files, before a rule asks for them."""
        for name in self.datasets.names:
            self.datasets.files(SimpleNamespace(dataset=name))
        for format in self.standins.formats().values():
            self.standins.outputs(format)
        _ = self.needs, self.latent_needs

    def of_generators(self, pattern: str) -> list[str]:
        """One path per generator."""
        return [pattern.format(generator=generator) for generator in self.generators]

    def of_classifiers(self, pattern: str, **values: str) -> list[str]:
        """One path per run that is trained, and seed."""
        return [pattern.format(run=run, seed=seed, **values) for run in self.trained for seed in self.seeds]

    def of_models(self, pattern: str, **values: str) -> list[str]:
        """One path per run and seed."""
        return [pattern.format(run=run, seed=seed, **values) for run in self.runs for seed in self.seeds]


def open_flow(config: Mapping[str, Any], root: str | Path) -> Flow:
    """The flow of a configuration; ``root`` is the folder of the Snakefile. UserError for every mistake in it."""
    try:
        return _open(config, Path(root))
    except OSError as error:  # of a configured path that exists, but cannot be looked at, or is too long
        raise UserError(f"{error.filename}: {error.strerror}; correct this path in the configuration") from error


def _open(config: Mapping[str, Any], root: Path) -> Flow:
    if {"{", "}"} & {*str(root)}:
        raise UserError(
            f"{root}: Snakemake cannot run in a folder with braces in its name or above it, because it fills in what stands "
            "between them; rename the folder, or move the project"
        )
    settings = check_config(dict(config))
    plans = build_plans(settings, unwritten=True)
    Margin.from_settings(
        settings["screening"]["magface"]["trained_here"]["margin"], "screening.magface.trained_here.margin"
    )
    check_diffusion(settings["generation"]["settings"], plans)
    flow = Flow(settings, load_registry(root / settings["registry"]), plans, prompt_writing(settings))
    flow.check_parts()
    return flow


__all__ = ["Flow", "UserError", "absent", "one_of", "open_flow"]
