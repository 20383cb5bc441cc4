"""Under-sampling: every group, or class, is shown as often as the rarest one (BalancingGroups' ``subg`` and ``suby``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from evenface.parts import Method
from evenface.training.settings import TargetGroupSettings

if TYPE_CHECKING:
    from evenface.training.method import Problem


class UndersampleSettings(TargetGroupSettings):
    """Its block of the configuration."""

    by: Literal["group", "class"] = Field("group", description="What is balanced: groups, or the target's two classes.")
    redraw: bool = Field(
        False,
        description="Whether every epoch shows another subset. The published form keeps one for the whole training.",
    )


def create(problem: Problem, settings: UndersampleSettings):
    """Plain training on a balanced subset."""
    import numpy as np

    from evenface.seeds import seed_from
    from evenface.training.method import Classification
    from evenface.training.target_groups import codes_by, first_of_each, target_groups

    codes = codes_by(target_groups(problem, settings), settings.by)[problem.train_rows]

    class Undersampled(Classification):
        def order(self, epoch):
            drawn = np.random.Generator(
                np.random.PCG64(seed_from(self._seed, "subset", epoch if settings.redraw else 0))
            ).permutation(len(codes))
            rows = problem.train_rows[np.sort(first_of_each(codes, drawn))]
            shuffled = np.random.Generator(np.random.PCG64(seed_from(self._seed, "order", epoch)))
            return rows[shuffled.permutation(len(rows))]

    return Undersampled(problem, settings)


PART = Method(
    name="undersample",
    summary="Shows every group, or class, as often as the rarest one.",
    code="evenface.training.methods.undersample:create",
    settings=UndersampleSettings,
    needs_groups=lambda settings: () if settings["by"] == "class" else ("train",),
)
