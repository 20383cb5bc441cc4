"""Fairness tables and report: all that decides them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.configuration import config_digest
from evenface.parts import version

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


class Evaluation:
    """Recipes and inputs of the fairness tables and of the report."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self.dataset = flow.settings["evaluation"]["dataset"]

    def predictions(self) -> list[str]:
        """Predictions of every run and seed on the test set."""
        return self._flow.of_classifiers("results/predictions/{run}/{seed}/{dataset}.parquet", dataset=self.dataset)

    def recipe(self) -> dict[str, Any]:
        """All that decides the fairness tables, the predictions aside."""
        return {
            "version": version("fairness", "evaluation"),
            "dataset": self.dataset,
            "models": [[run, seed] for run in self._flow.runs for seed in self._flow.seeds],
            "settings": {"seed": self._flow.settings["seed"], **self._flow.settings["evaluation"]},
        }

    def report_recipe(self) -> dict[str, Any]:
        """All that decides the report, its tables aside."""
        flow = self._flow
        datasets = flow.settings["datasets"]
        return {
            "version": version("report", "report"),
            "models": [f"{run}-{seed}" for run in flow.runs for seed in flow.seeds],
            "generators": flow.generators,
            "provenance": {"generators": flow.generators, "config digest": config_digest(flow.settings)},
            "baseline": flow.settings["evaluation"]["baseline"],
            "standins": {name: d["standin"] for name, d in datasets.items() if d["standin"]},
        }
