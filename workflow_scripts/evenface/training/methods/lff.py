"""Learning from failure (Nam et al., NeurIPS 2020): one network is made to learn shortcuts, and shows which images need more weight.

Formulas and constants follow the released code (github.com/alinlab/LfF, ``train.py`` and ``module/loss.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from evenface.parts import Method, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from evenface.training.method import Problem


class LfFSettings(Settings):
    """Its block of the configuration."""

    q: float = Field(0.7, gt=0, le=1, description="How much the biased network prefers what it finds easy.")
    alpha: float = Field(0.7, ge=0, lt=1, description="Weight of the past in the running loss of every image.")


def generalised(losses: Tensor, probability: Tensor, q: float) -> Tensor:
    """The biased network's loss (n,): cross entropy times q p^q, where p is its probability of the label, without gradient.

    Its gradient is q times that of the generalised cross entropy.
    """
    return losses * q * probability.detach() ** q


class RunningLoss:
    """Exponential means of every image's loss, (N, a), and their largest value in each class of each attribute.

    ``classes`` int64 (N, a) in [0, c), -1 where the label is not known. An image that was never seen has 0; its first loss counts as
    it is.
    """

    def __init__(self, classes: Tensor, alpha: float, dtype=None):
        import torch

        self.classes, self.alpha, self.number = classes, alpha, int(classes.max()) + 1
        self.mean = torch.zeros(classes.shape, dtype=dtype or torch.float32, device=classes.device)
        self.seen = torch.zeros(classes.shape, dtype=torch.bool, device=classes.device)

    def update(self, rows: Tensor, losses: Tensor) -> None:
        """Take in the losses (n, a) of ``rows``."""
        past = self.alpha * self.seen[rows].to(self.mean.dtype)
        self.mean[rows] = self.mean[rows] * past + losses.detach() * (1 - past)
        self.seen[rows] = True

    def largest(self) -> Tensor:
        """Largest mean (c, a) of each class over the whole training set."""
        import torch

        return torch.stack([(self.mean * (self.classes == k)).max(0).values for k in range(self.number)])

    def relative(self, rows: Tensor) -> Tensor:
        """Means (n, a) of ``rows``, each divided by the largest of its class."""
        top = self.largest().gather(0, self.classes[rows].clamp(min=0))
        return self.mean[rows] / top


def difficulty(biased: Tensor, debiased: Tensor) -> Tensor:
    """Weight in [0, 1] of every image, from relative losses of both networks: high if only the biased one fails."""
    return biased / (biased + debiased + 1e-8)


def create(problem: Problem, settings: LfFSettings):
    """Two networks on the same batches; ``network`` is the debiased one."""
    import torch

    from evenface.training.last_linear import check_binary
    from evenface.training.method import Classification

    check_binary(problem.attributes, "lff")

    class LearningFromFailure(Classification):
        keeps = ("means", "seen")

        def __init__(self):
            super().__init__(problem, settings)
            self.networks["biased"] = problem.draw("biased")
            device = problem.session.device
            classes = torch.where(self.labels == 0, -1, (self.labels > 0).long()).to(device)
            self.running = {name: RunningLoss(classes, settings.alpha) for name in ("biased", "network")}

        @property
        def means(self):
            return torch.stack([one.mean for one in self.running.values()])

        @means.setter
        def means(self, value):
            for one, mean in zip(self.running.values(), value, strict=True):
                one.mean = mean.clone()

        @property
        def seen(self):
            return torch.stack([one.seen for one in self.running.values()])

        @seen.setter
        def seen(self, value):
            for one, seen in zip(self.running.values(), value, strict=True):
                one.seen = seen.clone()

        def loss_of(self, batch):
            outputs = {name: self.forward(batch, name)[0] for name in self.running}
            rows = torch.from_numpy(batch.rows).to(outputs["network"].device)
            defined = self.defined(batch.rows)
            losses = {name: self.losses(out, batch.rows) for name, out in outputs.items()}
            for name, loss in losses.items():
                self.running[name].update(rows, loss)
            weight = difficulty(*(self.running[name].relative(rows).nan_to_num(0.0) for name in ("biased", "network")))
            sign = self.labels[batch.rows].to(rows.device).float()
            easy = generalised(losses["biased"], torch.sigmoid(outputs["biased"] * sign), settings.q)
            count = defined.sum().clamp(min=1)
            total = ((easy + weight * losses["network"]) * defined).sum() / count
            return total, {"weight": float((weight * defined).sum() / count)}

    return LearningFromFailure()


PART = Method(
    name="lff",
    summary="A second network learns shortcuts; images that it fails on count more (LfF).",
    code="evenface.training.methods.lff:create",
    settings=LfFSettings,
)
