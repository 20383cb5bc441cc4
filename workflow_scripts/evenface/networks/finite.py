"""Outputs of networks that are not numbers. Importing this module does not import torch.

The argmax of NaN is the first class, and the sigmoid of infinity is 1. The outputs of every network therefore pass
here before anything is decided by them; what follows treats NaN as no answer.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Code of the failure of a face, in all tables.
NOT_FINITE = "not_finite"
#: The same in words.
IN_WORDS = "the network's answer holds numbers that are not finite"


def answers_of(*outputs: Tensor) -> tuple[Tensor, ...]:
    """Outputs of one batch, (n, ...) each, as float32 on the CPU.

    If any number of an image is NaN or infinite, in whichever of the outputs, all of that image's numbers become NaN.
    Those of the other images do not change.
    """
    values = [output.float().cpu() for output in outputs]
    finite = reduce(and_, (value.isfinite().flatten(1).all(1) for value in values))
    if finite.all():
        return tuple(values)
    return tuple(value.masked_fill(~finite.view(-1, *[1] * (value.ndim - 1)), math.nan) for value in values)


def softmax(logits: Tensor, dim: int) -> Tensor:
    """Softmax along ``dim``; NaN where any of its logits is NaN or infinite, since minus infinity would become a 0."""
    return logits.masked_fill(~logits.isfinite().all(dim, keepdim=True), math.nan).softmax(dim)
