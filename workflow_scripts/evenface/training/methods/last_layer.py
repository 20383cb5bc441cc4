"""Class-balanced last-layer retraining: DFR without groups (LaBonte et al., NeurIPS 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from evenface.parts import Method, Settings
from evenface.training.methods.dfr import made

if TYPE_CHECKING:
    from evenface.training.method import Problem


class LastLayerSettings(Settings):
    """Its block of the configuration."""

    rows: Literal["validation", "training"] = Field(
        "validation", description="Images that the last layer is fitted on."
    )
    strengths: tuple[float, ...] = Field(
        (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01), min_length=1, description="Inverse penalties C to choose from."
    )
    refits: int = Field(20, ge=1, description="Balanced subsets whose coefficients are averaged.")


def create(problem: Problem, settings: LastLayerSettings):
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
    settings=LastLayerSettings,
)
