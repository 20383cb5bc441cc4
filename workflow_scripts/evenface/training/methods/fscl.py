"""FSCL and FSCL+ (Park et al., CVPR 2022): embeddings that tell the target apart, and the protected value as little as possible.

An image is drawn to images of its target value, and pushed away only from images of another target value that share its protected value, so
that nothing is learned from differences between protected groups. FSCL+ gives every group the same weight. A linear layer
on the frozen embeddings follows. Formulas are those of the released code (github.com/sungho-CoolG/FSCL, ``losses.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from evenface.parts import Method
from evenface.training.settings import TargetGroupSettings

if TYPE_CHECKING:
    from torch import Tensor

    from evenface.training.method import Problem

#: The released code multiplies by temperature / 0.07.
_BASE = 0.07


class FSCLSettings(TargetGroupSettings):
    """Its block of the configuration."""

    temperature: float = Field(0.1, gt=0, description="Temperature of the similarities.")
    width: int = Field(128, ge=2, description="Width of the projection that the loss sees.")
    classifier_epochs: int = Field(5, ge=1, description="Epochs of the linear layer after the embeddings.")


def fair_contrastive(
    features: Tensor, target: Tensor, protected: Tensor, *, temperature: float = 0.1, even_groups: bool = False,
    shifted: bool = False,
) -> Tensor:  # fmt: skip
    """The loss of a batch.

    features     (n, v, d), v views of every image, rows of length 1
    target, protected  int64 (n,)
    even_groups  FSCL+: positives and anchors count by the inverse size of their group in the batch
    shifted      the released value: the row's largest similarity is subtracted also where an anchor has no negative,
                 so that each such anchor adds about 14 to the loss. Gradients are the same
    """
    import torch

    n, views, _ = features.shape
    z = features.transpose(0, 1).reshape(n * views, -1)
    t, s = target.repeat(views), protected.repeat(views)
    logits = z @ z.T / temperature
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (t[:, None] == t) & ~itself
    negative = (t[:, None] != t) & (s[:, None] == s)
    lonely = ~negative.any(1)
    away = torch.logsumexp(logits.masked_fill(~negative, float("-inf")), 1)
    top = logits.detach().max(1).values if shifted else torch.zeros_like(away)
    away = torch.where(lonely, top, away)
    pulled = logits - away[:, None]
    same = (t[:, None] == t) & (s[:, None] == s)
    if even_groups:
        size = same.sum(1)  # of an image's group in the batch, all views counted
        per_anchor = (positive * pulled / (size - 1).clamp(min=1)).sum(1) * (n * views / 8) / size
    else:
        per_anchor = (positive * pulled).sum(1) / positive.sum(1)
    return -(temperature / _BASE) * per_anchor.mean()


def made(problem: Problem, settings: FSCLSettings, *, even_groups: bool):
    """The method: embeddings by the contrastive loss, then a linear layer by cross entropy."""
    from dataclasses import dataclass

    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    from evenface.seeds import seed_from
    from evenface.training.augmentation import Batch
    from evenface.training.forward import autocast
    from evenface.training.last_linear import last_linear
    from evenface.training.method import Classification, ImageMethod
    from evenface.training.target_groups import target_groups

    groups = target_groups(problem, settings)
    levels = len(groups.names) // 2
    codes = torch.from_numpy(groups.codes)
    shown = problem.train_rows[groups.codes[problem.train_rows] >= 0]

    @dataclass(frozen=True)
    class Views:
        rows: np.ndarray
        views: tuple[Batch, Batch]

    class Embeddings(ImageMethod):
        selects = None
        patience = 0

        def __init__(self):
            super().__init__(problem, settings)
            network = self.networks["network"]
            with torch.no_grad():
                sample = self.augmented(problem.train_rows[:2], "width")
                network.eval()
                width = network.to("cpu").embed(problem.normalisation(self.input(sample).cpu())).shape[1]
            self.networks["projection"] = problem.session.draw(
                lambda: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, settings.width)),
                "projection",
            )

        def order(self, epoch):
            random = np.random.Generator(np.random.PCG64(seed_from(self._seed, "order", epoch)))
            return shown[random.permutation(len(shown))]

        def batch(self, step):
            first = super().batch(step)
            return Views(first.rows, (first, self.augmented(first.rows, "second view", step)))

        def validate(self):
            return {}

        def loss_of(self, batch):
            network, projection = self.networks["network"], self.networks["projection"]
            with autocast(problem.session.device, problem.session.precision):
                both = torch.stack([projection(network.embed(self.input(view))) for view in batch.views], 1)
            features = functional.normalize(both.float(), dim=2)
            mine = codes[batch.rows].to(features.device)
            loss = fair_contrastive(
                features, mine // levels, mine % levels, temperature=settings.temperature, even_groups=even_groups
            )
            return loss, {}

    class FSCL(Classification):
        def __init__(self):
            self.embeddings = Embeddings()
            super().__init__(problem.but(settings={"epochs": settings.classifier_epochs}), settings)
            self.networks["network"] = self.embeddings.networks["network"]
            _, self.last = last_linear(self.networks["network"], len(problem.attributes), "fscl")

        def train_mode(self):
            self.networks["network"].eval()  # batch statistics of the embeddings stay

        def parameters(self):
            return [{"params": list(self.last.parameters())}]

        def run(self, session):
            session.fit(self.embeddings, "embeddings")
            for parameter in self.networks["network"].parameters():
                parameter.requires_grad_(False)
            for parameter in self.last.parameters():
                parameter.requires_grad_(True)
            return session.fit(self)

    return FSCL()


def create(problem: Problem, settings: FSCLSettings):
    """FSCL."""
    return made(problem, settings, even_groups=False)


PART = Method(
    name="fscl",
    summary="Contrastive embeddings that tell groups apart as little as possible (FSCL).",
    code="evenface.training.methods.fscl:create",
    settings=FSCLSettings,
    needs_groups=("train",),
)
