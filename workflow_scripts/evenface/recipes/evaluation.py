"""Fairness tables and report: all that decides them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface.configuration import config_digest
from evenface.parts import version

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


#: Images that a test set is taken to have before it was read: VGGFace2's has 169,396.
_IMAGES = 170_000


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

    def mem_mb(self, wildcards: Any) -> int:
        """Megabytes of the fairness job, from the test set's size where it was read already."""
        evaluation = self._flow.settings["evaluation"]
        images = images_of(f"data/faces/{self.dataset}.json", "test")
        models = len(self._flow.runs) * len(self._flow.seeds)
        replicates = max(evaluation["n_boot"], evaluation["n_perm"])
        return fairness_mem_mb(models, len(evaluation["attributes"]), images, replicates)

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


def fairness_mem_mb(models: int, attributes: int, images: int | None = None, replicates: int = 1000) -> int:
    """Megabytes of memory that the fairness job asks for.

    ``models`` are runs times seeds, ``images`` those of the test set (None where it was not read yet),
    ``replicates`` the larger of n_boot and n_perm. Libraries and one block of replicates take 800 MB at most,
    the rows of the tables up to 2.5 MB per model and attribute, one table of predictions at a time up to 20 bytes
    per image and attribute, and the draws 4 bytes per image and replicate where every image is a person of its own.
    """
    images = _IMAGES if images is None else images
    return round(800 + 2.5 * models * attributes + (20 * attributes + 4 * replicates) * images / 1e6)


def images_of(summary: str | Path, split: str) -> int | None:
    """Images of a split by the summary that reading a data set writes; None where there is none yet."""
    try:
        return int(json.loads(Path(summary).read_text(encoding="utf-8"))["splits"][split])
    except (OSError, ValueError, KeyError, TypeError):
        return None
