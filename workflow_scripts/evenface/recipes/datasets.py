"""Data sets: the files that reading one needs, and everything that decides how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface.parts import Reader, part, version
from evenface.resources import Asks

if TYPE_CHECKING:
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

    def part(self, dataset: str) -> Reader:
        """The description of a data set's reader."""
        return part(Reader, self._all[dataset]["reader"], f"datasets.{dataset}.reader")

    def files(self, wildcards: Any) -> list[str]:
        """Files that must exist before a data set can be read: its stand-in, or its published tables."""
        settings = self._all[wildcards.dataset]
        if settings["standin"]:
            return self._flow.standins.files(settings["standin"])
        root = Path(settings["root"])
        return [str(_first(root, names)) for names in self.part(wildcards.dataset).tables]

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides how a data set is read."""
        settings = self._all[wildcards.dataset]
        kept = {k: v for k, v in settings.items() if k not in ("reader", "standin") and v is not None}
        return {
            "version": self.part(wildcards.dataset).version,
            "reader": settings["reader"],
            "settings": {"name": wildcards.dataset, **kept},
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


def _first(root: Path, names: tuple[str, ...]) -> Path:
    """The first published name that exists, or else the usual name, which Snakemake then reports as missing."""
    paths = [root / name for name in names]
    return next((path for path in paths if path.exists()), paths[0])
