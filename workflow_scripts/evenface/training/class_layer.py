"""MagFace: the class layer and the loss. With them, the length of an embedding says how good the face is.

Meng et al., MagFace, CVPR 2021. Own-class angles get a margin that grows with the embedding's length,
and a regulariser increases lengths. Embeddings of faces that are easy to recognise become long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evenface.training.margin import Margin


@dataclass(frozen=True)
class Losses:
    """``total`` = ``identity`` + lambda_g ``length``, all means over the batch."""

    total: Tensor
    identity: Tensor
    length: Tensor


class MagFaceLayer(nn.Module):
    """Class vectors and the loss of embeddings against them.

    ``weight`` float (features, classes) as in the DataParallel trainer's files (``fc.weight``): one
    column a class. Only the direction of a column counts; columns start as unit vectors.
    """

    def __init__(self, features: int, classes: int, margin: Margin | None = None):
        super().__init__()
        self.margin = margin or Margin()
        start = torch.empty(features, classes).uniform_(-1, 1)
        self.weight = nn.Parameter(functional.normalize(start, dim=0))

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Cosines (n, classes) of embeddings (n, features) and class vectors, in [-1, 1] for kind "arc"."""
        cosines = functional.normalize(embeddings) @ functional.normalize(self.weight, dim=0)
        return cosines.clamp(-1, 1) if self.margin.kind == "arc" else cosines

    def lengths(self, embeddings: Tensor) -> Tensor:
        """Lengths (n,) clamped to the bounds; no gradient passes where the clamp acts."""
        return embeddings.norm(dim=1).clamp(self.margin.l_a, self.margin.u_a)

    def own(self, cosines: Tensor, lengths: Tensor) -> Tensor:
        """Own-class cosines (n,) with the margin."""
        if self.margin.kind == "cos":
            return cosines - self.margin.of(lengths)
        angle = self.margin.of(lengths)
        # The floor avoids an infinite slope if the cosine is exactly 1; float32 has no values in between.
        sines = (1 - cosines**2).clamp(min=1e-12).sqrt()
        moved = cosines * angle.cos() - sines * angle.sin()
        if self.margin.easy:
            return torch.where(cosines > 0, moved, cosines)
        fallback = cosines - angle * torch.sin(math.pi - angle)
        return torch.where(cosines > torch.cos(math.pi - angle), moved, fallback)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Losses:
        """Losses of embeddings float (n, features), not normalised, of classes int64 (n,)."""
        cosines = self.cosines(embeddings)
        lengths = self.lengths(embeddings)
        column = labels[:, None]
        own = self.own(cosines.gather(1, column)[:, 0], lengths)
        logits = self.margin.s * cosines.scatter(1, column, own[:, None])
        identity = functional.cross_entropy(logits, labels)
        length = self.margin.penalty(lengths).mean()
        return Losses(identity + self.margin.lambda_g * length, identity, length)
