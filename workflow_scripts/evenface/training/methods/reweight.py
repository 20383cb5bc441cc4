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
    """Cross entropy with weights of mean 1 over the defined training labels of every attribute."""
    import numpy as np
    import torch

    from evenface.targets import blocks
    from evenface.training.method import Classification

    group = problem.groups(settings.groups)[0][:, None] * (settings.by != "class")
    cell = 2 * group + (problem.labels > 0) * (settings.by != "group")
    weights = np.zeros(problem.labels.shape, np.float32)

    def weigh(counted, column, cells):
        counts = np.bincount(cells)[cells]
        inverse = counts ** (-0.5 if settings.square_root else -1.0)
        weights[counted, column] = inverse / inverse.mean()

    targets = blocks(problem.attributes)
    of_targets = {column for place in targets.values() for column in range(place.start, place.stop)}
    for column, labels in enumerate(problem.labels.T):
        if column not in of_targets:
            counted = problem.train_rows[labels[problem.train_rows] != 0]
            weigh(counted, column, cell[counted, column])
    for place in targets.values():  # only the loss of an image's own class counts
        own = problem.labels[:, place]
        counted = problem.train_rows[(own[problem.train_rows] > 0).any(axis=1)]
        chosen = own[counted].argmax(axis=1)
        width = own.shape[1]
        weigh(counted, place.start + chosen, width * group[counted, 0] + chosen * (settings.by != "group"))

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
