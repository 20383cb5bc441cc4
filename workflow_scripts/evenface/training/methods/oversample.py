"""Over-sampling: images are drawn with replacement, so that every group, or class, is shown equally often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from evenface.parts import Method
from evenface.training.settings import TargetGroupSettings

if TYPE_CHECKING:
    from evenface.training.method import Problem


class OversampleSettings(TargetGroupSettings):
    """Its block of the configuration."""

    by: Literal["group", "class"] = Field("group", description="What is balanced: groups, or the target's two classes.")


def create(problem: Problem, settings: OversampleSettings):
    """Plain training; an epoch draws as many images as there are (BalancingGroups' ``rwg`` and ``rwy``)."""
    import numpy as np

    from evenface.seeds import seed_from
    from evenface.training.method import Classification
    from evenface.training.target_groups import codes_by, drawn_evenly, target_groups

    codes = codes_by(target_groups(problem, settings), settings.by)[problem.train_rows]

    class Oversampled(Classification):
        def order(self, epoch):
            random = np.random.Generator(np.random.PCG64(seed_from(self._seed, "order", epoch)))
            return problem.train_rows[drawn_evenly(codes, len(codes), random)]

    return Oversampled(problem, settings)


PART = Method(
    name="oversample",
    summary="Draws images with replacement, every group or class equally often.",
    code="evenface.training.methods.oversample:create",
    settings=OversampleSettings,
    needs_groups=lambda settings: () if settings["by"] == "class" else ("train",),
)
