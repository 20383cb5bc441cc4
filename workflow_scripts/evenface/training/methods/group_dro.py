"""GroupDRO (Sagawa et al., ICLR 2020): groups with a large loss count more and more.

The released code (github.com/kohpangwei/group_DRO, ``loss.py``) differs from the paper in what it calls the loss: with an adjustment
it adds C / sqrt(n) to the group losses in place, so its loss value contains it. Gradients are the same. ``value_with_shift``
gives that value. It also switches the whole adjustment off if one group's C is not above 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from evenface.parts import Method
from evenface.training.settings import TargetGroupSettings

if TYPE_CHECKING:
    from torch import Tensor

    from evenface.training.method import Problem


class GroupDROSettings(TargetGroupSettings):
    """Its block of the configuration."""

    step: float = Field(0.01, gt=0, description="How fast the weights of groups follow their losses.")
    adjustment: float = Field(
        0.0, ge=0, description="C: groups of n images count as if their loss were C / sqrt(n) larger."
    )
    normalise: bool = Field(False, description="Whether weights follow the losses' shares of their sum.")
    worst_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Instead of weights that follow: the groups of largest running loss that make up this share of the images.",
    )
    balanced_batches: bool = Field(True, description="Whether groups are drawn equally often, as published.")


class GroupWeights:
    """Weights q (G,) of groups, and what decides them.

    ``counts`` (G,) are the groups' training images. ``running`` (G,) are exponential means of the groups' losses, without
    adjustment; ``seen`` says which groups have had one. Everything is float64 or float32, as ``counts`` is.
    """

    def __init__(self, counts: Tensor, step: float = 0.01, adjustment: Tensor | float = 0.0, *, normalise: bool = False,
                 worst_share: float | None = None, gamma: float = 0.1):  # fmt: skip
        import torch

        self.counts, self.step, self.normalise, self.gamma, self.worst_share = (
            counts,
            step,
            normalise,
            gamma,
            worst_share,
        )
        given = torch.as_tensor(adjustment, dtype=counts.dtype, device=counts.device).expand(len(counts))
        # As published: one C that is not above 0 switches the adjustment off.
        self.shift = given / counts.sqrt() if bool((given > 0).all()) else torch.zeros_like(counts)
        # The greedy form adds C where it is given.
        self.greedy_shift = given / counts.sqrt()
        self.q = torch.full_like(counts, 1 / len(counts))
        self.running = torch.zeros_like(counts)
        self.seen = torch.zeros(len(counts), dtype=torch.bool, device=counts.device)

    def means(self, losses: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss (G,) of every group, 0 if absent, and its number of images (G,)."""
        import torch

        member = torch.nn.functional.one_hot(groups, len(self.counts)).to(losses.dtype)
        number = member.sum(0)
        return (losses @ member) / number.clamp(min=1), number

    def loss(self, losses: Tensor, groups: Tensor, *, value_with_shift: bool = False) -> Tensor:
        """The robust loss of a batch; it moves the weights. ``losses`` (n,), ``groups`` int64 (n,) without unknown ones."""
        import torch

        means, number = self.means(losses, groups)
        now, there = means.detach(), number > 0
        fresh = torch.where(self.seen, self.gamma * there.to(now.dtype), torch.ones_like(now))
        self.running = self.running * (1 - fresh) + now * fresh
        self.seen = self.seen | there
        if self.worst_share is not None:
            self.q = self._worst()
            return means @ self.q
        shifted = now + self.shift
        drive = shifted / shifted.sum() if self.normalise else shifted
        q = self.q * torch.exp(self.step * drive)
        self.q = q / q.sum()
        return (means + self.shift if value_with_shift else means) @ self.q

    def _worst(self) -> Tensor:
        """Weights (G,) of the groups of largest running loss that hold ``worst_share`` of the images, the last one in part."""
        import torch

        shares = self.counts / self.counts.sum()
        order = torch.argsort(self.running + self.greedy_shift, descending=True, stable=True)
        sorted_shares = shares[order]
        before = torch.cumsum(sorted_shares, 0) - sorted_shares
        part = (self.worst_share - before).clamp(min=0).minimum(sorted_shares) / self.worst_share
        weights = torch.zeros_like(shares)
        weights[order] = part
        return weights


def create(problem: Problem, settings: GroupDROSettings):
    """Plain losses, averaged by group, and weighted by q."""
    import numpy as np
    import torch

    from evenface.seeds import seed_from
    from evenface.training.method import Classification
    from evenface.training.target_groups import drawn_evenly, target_groups

    groups = target_groups(problem, settings)
    codes = torch.from_numpy(groups.codes)
    counts = torch.from_numpy(groups.counts(problem.train_rows)).float().to(problem.session.device)

    class GroupDRO(Classification):
        keeps = ("q", "running", "seen")

        def __init__(self):
            super().__init__(problem, settings)
            self.weights = GroupWeights(
                counts,
                settings.step,
                settings.adjustment,
                normalise=settings.normalise,
                worst_share=settings.worst_share,
            )

        q = property(lambda self: self.weights.q, lambda self, value: setattr(self.weights, "q", value))
        running = property(
            lambda self: self.weights.running, lambda self, value: setattr(self.weights, "running", value)
        )
        seen = property(lambda self: self.weights.seen, lambda self, value: setattr(self.weights, "seen", value))

        def order(self, epoch):
            if not settings.balanced_batches:
                return super().order(epoch)
            random = np.random.Generator(np.random.PCG64(seed_from(self._seed, "order", epoch)))
            return problem.train_rows[drawn_evenly(groups.codes[problem.train_rows], len(problem.train_rows), random)]

        def loss(self, outputs, features, rows):
            defined = self.defined(rows)
            losses = (self.losses(outputs, rows) * defined).sum(1) / defined.sum(1).clamp(min=1)
            mine = codes[rows].to(outputs.device)
            known = mine >= 0
            if not known.any():
                return losses.sum() * 0
            return self.weights.loss(losses[known], mine[known])

    return GroupDRO()


PART = Method(
    name="group_dro",
    summary="Groups with a large loss count more and more (GroupDRO).",
    code="evenface.training.methods.group_dro:create",
    settings=GroupDROSettings,
    needs_groups=("train",),
)
