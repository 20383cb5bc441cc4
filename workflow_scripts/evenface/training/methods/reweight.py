"""Reweighting: labels count more if their class, their group, or their class within a group is rare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from evenface.parts import Method, Settings

if TYPE_CHECKING:
    from evenface.training.method import Problem


class ReweightSettings(Settings):
    """Its block of the configuration."""

    by: Literal["class", "group", "group_and_class"] = Field(
        "class", description="What is counted, attribute by attribute."
    )
    groups: tuple[str, ...] = Field(
        ("gender", "ethnicity"), min_length=1, description="Dimensions whose combinations are the groups."
    )
    square_root: bool = Field(False, description="Whether weights are the square root of the inverse frequency.")


def create(problem: Problem, settings: ReweightSettings):
    """Binary cross entropy with weights of mean 1 over the defined training labels of every attribute."""
    import numpy as np
    import torch

    from evenface.training.method import Classification

    group = problem.groups(settings.groups)[0][:, None] * (settings.by != "class")
    cell = 2 * group + (problem.labels > 0) * (settings.by != "group")
    weights = np.zeros(problem.labels.shape, np.float32)
    for column, labels in enumerate(problem.labels.T):
        counted = problem.train_rows[labels[problem.train_rows] != 0]
        counts = np.bincount(cell[counted, column])[cell[counted, column]]
        inverse = counts ** (-0.5 if settings.square_root else -1.0)
        weights[counted, column] = inverse / inverse.mean()

    class Reweighted(Classification):
        def loss(self, outputs, features, rows):
            weight = torch.from_numpy(weights[rows]).to(outputs.device)
            return (self.losses(outputs, rows) * weight).sum() / self.defined(rows).sum().clamp(min=1)

    return Reweighted(problem, settings)


PART = Method(
    name="reweight",
    summary="Rare classes, groups, or classes of a group count more in the loss.",
    code="evenface.training.methods.reweight:create",
    settings=ReweightSettings,
    needs_groups=lambda settings: () if settings["by"] == "class" else ("train",),
)
