"""Data sets: the files that reading one needs, and everything that decides how it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface.assets.needs import used_datasets
from evenface.names import inside
from evenface.parts import Reader, part, version
from evenface.resources import Asks

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenface.recipes.flow import Flow


class Datasets:
    """Recipes and inputs of readers."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self._all = flow.settings["datasets"]
        self.asks = Asks(lambda wildcards: [self.part(wildcards.dataset).needs_of(self._all[wildcards.dataset])])

    @property
    def names(self) -> list[str]:
        """Every data set."""
        return list(self._all)

    @property
    def annotated(self) -> list[str]:
        """The data sets whose demographics come from an annotator."""
        return [name for name in self._all if self._all[name].get("demographics_from")]

    @property
    def labelled(self) -> list[str]:
        """The data sets that keep the demographics that they are read with."""
        return [name for name in self._all if name not in self.annotated]

    def as_read(self, ending: str) -> Callable[[Any], str]:
        """Input function: a file of a data set as it was read, with ``ending``, before an annotator is asked."""
        return lambda wildcards: (
            f"data/faces/{wildcards.dataset}{'.as_read' * (wildcards.dataset in self.annotated)}{ending}"
        )

    def annotation(self, wildcards: Any) -> str:
        """The annotation table that a data set's demographics come from."""
        return f"data/faces/{wildcards.dataset}.{self._all[wildcards.dataset]['demographics_from']}.parquet"

    def annotated_recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides the demographics of a data set that come from an annotator."""
        settings = self._all[wildcards.dataset]
        name = settings["demographics_from"]
        return {
            "version": version("datasets", "annotated"),
            "annotator": name,
            "dimensions": list(self._flow.annotation.part(name).dimensions),
            "vocabulary": self._flow.settings.get("demographics") or {},
            "levels": settings.get("levels") or {},
        }

    def confusions(self) -> list[str]:
        """Of the data sets in use, how far an annotator that their demographics come from agrees with their labels."""
        used = used_datasets(self._flow.settings)
        return [
            f"results/annotation/{name}/{self._all[name]['demographics_from']}.csv"
            for name in self.annotated
            if name in used
        ]

    def part(self, dataset: str) -> Reader:
        """The description of a data set's reader."""
        return part(Reader, self._all[dataset]["reader"], f"datasets.{dataset}.reader")

    def files(self, wildcards: Any) -> list[str]:
        """Every file whose edit changes the faces table: its stand-in's, or those that the reader opens; demographics."""
        settings, reader = self._all[wildcards.dataset], self.part(wildcards.dataset)
        if settings["standin"]:
            files = self._flow.standins.files(settings["standin"])
        else:
            root = Path(settings["root"])
            files = [str(_first(root, names, reader)) for names in reader.tables]
            files += [str(path) for names in reader.optional if os.path.exists(path := _first(root, names, reader))]
            files += reader.files(settings).values()
        return list(dict.fromkeys([*files, *filter(None, [settings["demographics"]])]))

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides how a data set is read."""
        settings = self._all[wildcards.dataset]
        kept = {
            k: v for k, v in settings.items() if k not in ("reader", "standin", "demographics_from") and v is not None
        }
        return {
            "version": self.part(wildcards.dataset).version,
            "reader": settings["reader"],
            "settings": {"name": wildcards.dataset, **kept, **self._flow.vocabulary("vocabulary")},
        }

    def demographics_recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides the demographics in use of a generated set."""
        annotation = self._flow.annotation
        return {
            "version": version("datasets", "demographics"),
            "shards": sorted(self._flow.plans[wildcards.generator].shards),
            "annotators": annotation.grouping(wildcards),
            "demographics": annotation.sources(wildcards)["demographics"],
            "validate": annotation.relabelling(wildcards),
            **self._flow.vocabulary("vocabulary"),
        }

    def synthetic_recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides how a generated set is read."""
        plan = self._flow.plans[wildcards.generator]
        return {
            "version": version("datasets", "synthetic"),
            "shards": sorted(plan.shards),
            "annotators": self._flow.annotation.used(wildcards),
            "settings": {
                "name": wildcards.generator,
                **self._flow.annotation.sources(wildcards),
                "order": plan.order,
                "seed": self._flow.settings["seed"],
            },
        }


def _first(root: Path, names: tuple[str, ...], reader: Reader) -> Path:
    """The first of the names that exists, or else the usual name, which Snakemake reports as missing if it is required."""
    paths = [inside(root, name, f"the reader {reader.name}") for name in names]
    return next((path for path in paths if os.path.exists(path)), paths[0])
