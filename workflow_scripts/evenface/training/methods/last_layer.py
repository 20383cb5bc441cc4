"""Class-balanced last-layer retraining: DFR without groups (LaBonte et al., NeurIPS 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenface.parts import Method
from evenface.training.methods.dfr import RefitSettings, made

if TYPE_CHECKING:
    from evenface.training.method import Problem


def create(problem: Problem, settings: RefitSettings):
    """Plain training; then the last layer is fitted on balanced classes, attribute by attribute."""
    import numpy as np

    def codes_of(name):
        labels = problem.labels[:, list(problem.attributes).index(name)]
        return np.where(labels == 0, -1, (labels > 0).astype(np.int64)), (f"{name}=-1", f"{name}=1")

    return made(problem, settings, "last_layer", codes_of)


PART = Method(
    name="last_layer",
    summary="Fits the last layer anew on class-balanced subsets; needs no groups.",
    code="evenface.training.methods.last_layer:create",
    settings=RefitSettings,
)
