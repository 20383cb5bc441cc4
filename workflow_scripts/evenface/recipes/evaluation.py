"""Fairness tables and report: everything that decides them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface.assets.needs import used_datasets
from evenface.configuration import config_digest
from evenface.configuration.domains import accepted_shifts
from evenface.names import user_path
from evenface.parts import version
from evenface.targets import class_names, expanded
from evenface.taxonomy import study_levels
from evenface.training.settings import categorical, predictions_file

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


#: Assumed number of images of a test set that has not been read; VGGFace2's has 169,396.
_IMAGES = 170_000


class Evaluation:
    """Recipes and inputs of the fairness tables and of the report."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self.dataset = flow.settings["evaluation"]["dataset"]

    def predictions(self) -> list[str]:
        """Predictions of every run and seed on the test set."""
        return self._flow.of_models("results/predictions/{run}/{seed}/{dataset}.parquet", dataset=self.dataset)

    def confusions(self) -> list[str]:
        """The user's files of annotators' errors."""
        confusion = self._flow.settings["evaluation"]["confusion"]
        return [user_path(path) for path in confusion.values() if isinstance(path, str)]

    def recipe(self) -> dict[str, Any]:
        """Everything that decides the fairness tables, except the predictions."""
        return {
            "version": version("fairness", "evaluation"),
            "dataset": self.dataset,
            "models": [[run, seed] for run in self._flow.runs for seed in self._flow.seeds],
            "settings": self._settings(),
        }

    def _settings(self) -> dict[str, Any]:
        """The section ``evaluation`` without what only plans depend on."""
        section = {key: value for key, value in self._flow.settings["evaluation"].items() if key != "planning"}
        demographics = self._flow.settings.get("demographics")
        levels = {"levels": {k: list(v) for k, v in study_levels(demographics).items()}} if demographics else {}
        classes = self._classes(section["attributes"], accuracy=True)
        return {"seed": self._flow.settings["seed"], **section, **levels, **classes}

    def _classes(self, names: list[str], *, accuracy: bool) -> dict[str, Any]:
        """Settings of the categorical targets among ``names``; of each, its classes and, if asked, its accuracy are attributes."""
        classes = {name: found for name, found in categorical(self._flow.settings).items() if name in names}
        if not classes:
            return {}
        dimensions = study_levels(self._flow.settings.get("demographics") or {})
        circular = {one: name for name in classes if name in dimensions for one in class_names(name, classes[name])}
        return {
            "attributes": [*expanded(names, classes), *(classes if accuracy else ())],
            "classes": classes,
            "circular": {**self._flow.settings["evaluation"]["circular"], **circular},
        }

    def power_recipe(self) -> dict[str, Any]:
        """Everything that decides what the test set can see, except its faces table."""
        settings = self._settings()
        return {
            "version": version("fairness", "power"),
            # The labels of a target's classes say what can be seen; its accuracy has no labels of its own.
            "settings": {**settings, **self._classes(self._flow.settings["evaluation"]["attributes"], accuracy=False)},
            "planning": self._flow.settings["evaluation"]["planning"],
            "seeds": len(self._flow.seeds),
        }

    def sets(self) -> list[str]:
        """Every faces table: those of the data sets in use, and those of generators."""
        return [*used_datasets(self._flow.settings), *self._flow.generators]

    def representation_recipe(self, sets: Sequence[str]) -> dict[str, Any]:
        """Everything that decides how evenly groups are represented in ``sets``, except their faces tables."""
        settings = self._flow.settings
        dimensions = study_levels(settings.get("demographics") or {})
        names = [*settings["evaluation"]["attributes"], *settings["training"]["attributes"]]
        attributes = expanded([name for name in names if name not in dimensions], categorical(settings))
        return {
            "version": version("fairness", "representation"),
            "sets": [*sets],
            "groupings": settings["evaluation"]["groupings"],
            "attributes": list(dict.fromkeys(attributes)),
        }

    def import_recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides how predictions of another classifier are read, except files and faces."""
        attributes = self.columns()
        return {
            "version": version("fairness", "imported"),
            "attributes": attributes,
            "key": f"runs.{wildcards.run}.predictions",
        }

    def columns(self) -> list[str]:
        """The attributes, and the classes of categorical targets, that predictions have."""
        return expanded(self._flow.settings["evaluation"]["attributes"], categorical(self._flow.settings))

    def imported_file(self, wildcards: Any) -> str:
        """The file of predictions that a run brings."""
        return predictions_file(self._flow.settings, wildcards.run, int(wildcards.seed))

    def mem_mb(self, wildcards: Any) -> int:
        """Megabytes of the fairness job, by the test set's size if it has been read."""
        evaluation = self._flow.settings["evaluation"]
        images = images_of(f"data/faces/{self.dataset}.json", "test")
        models = len(self._flow.runs) * len(self._flow.seeds)
        replicates = max(evaluation["n_boot"], evaluation["n_perm"])
        return fairness_mem_mb(models, len(self._settings()["attributes"]), images, replicates)

    def power_mem_mb(self, wildcards: Any) -> int:
        """Megabytes of the job that plans: those of one model, without replicates; at least those of any job."""
        images = images_of(f"data/faces/{self.dataset}.json", "test")
        return max(1000, fairness_mem_mb(1, len(self._settings()["attributes"]), images, 0))

    def report_recipe(self) -> dict[str, Any]:
        """Everything that decides the report, except its tables."""
        flow = self._flow
        datasets, used = flow.settings["datasets"], used_datasets(flow.settings)
        return {
            "version": version("report", "report"),
            "models": [f"{run}-{seed}" for run in flow.trained for seed in flow.seeds],
            "imported": {run: flow.settings["runs"][run]["predictions"] for run in flow.imported},
            "generators": flow.generators,
            "provenance": {"generators": flow.generators, "config digest": config_digest(flow.settings)},
            "baseline": flow.settings["evaluation"]["baseline"],
            "domain_shift": accepted_shifts(flow.settings),
            "standins": {
                name: datasets[name]["standin"] for name in datasets if name in used and datasets[name]["standin"]
            },
        }


def fairness_mem_mb(models: int, attributes: int, images: int | None = None, replicates: int = 1000) -> int:
    """Megabytes of memory that the fairness job asks for.

    ``models`` are runs times seeds; ``images`` are those of the test set (None if it has not been read yet);
    ``replicates`` is the larger of n_boot and n_perm. Libraries and one block of replicates take at most 800 MB. The
    rows of the tables take up to 3.2 MB per model and attribute. One table of predictions at a time takes up to 20
    bytes per image and attribute. The draws take 4 bytes per image and replicate if every image is another person.
    """
    images = _IMAGES if images is None else images
    return round(800 + 3.2 * models * attributes + (20 * attributes + 4 * replicates) * images / 1e6)


def images_of(summary: str | Path, split: str) -> int | None:
    """Number of images of a split, from the summary that reading a data set writes; None if it does not exist yet."""
    try:
        return int(json.loads(Path(summary).read_text(encoding="utf-8"))["splits"][split])
    except (OSError, ValueError, KeyError, TypeError):
        return None
