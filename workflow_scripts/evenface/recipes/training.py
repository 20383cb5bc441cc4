"""Classifiers: the tables that a run is trained on, and everything that decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.parts import version
from evenface.resources import Asks
from evenface.training.packs import run_tables
from evenface.training.settings import run_files, run_needs, run_recipe

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


class Training:
    """Recipes and inputs of classifiers and predictions."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self.asks = Asks(lambda wildcards: run_needs(flow.settings, wildcards.run, "method", "network"))
        # A method has done its work when faces are scored.
        self.scoring = Asks(lambda wildcards: run_needs(flow.settings, wildcards.run, "network"))

    def tables(self, wildcards: Any) -> list[str]:
        """The faces tables a run is trained on, the real one first."""
        return [f"data/faces/{table}.parquet" for table in run_tables(self._flow.settings, wildcards.run)]

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides a classifier, except its training tables and files."""
        return run_recipe(self._flow.settings, wildcards.run, int(wildcards.seed))

    def files(self, wildcards: Any) -> list[str]:
        """Files that a classifier needs besides faces: initial weights, files of its network and method."""
        return list(run_files(self._flow.settings, wildcards.run, int(wildcards.seed)))

    def wrong_recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides the table of a run's wrong answers, except model and faces."""
        run = run_recipe(self._flow.settings, wildcards.run, int(wildcards.seed))
        return {
            "version": version("training", "wrong_answers"),
            "predictions": version("training", "predictions"),
            **{key: run[key] for key in ("real", "synthetic", "pixels")},
            **{key: run["settings"][key] for key in ("crop", "max_unreadable")},
        }

    def prediction_recipe(self) -> dict[str, Any]:
        """Everything that decides predictions, except model and faces."""
        evaluation = self._flow.settings["evaluation"]
        return {
            "version": version("training", "predictions"),
            "pixels": version("pixels", "pixels"),
            "attributes": self._flow.evaluation.columns(),
            "crop": evaluation["crop"],
            "max_unreadable": evaluation["max_unreadable"],
        }
