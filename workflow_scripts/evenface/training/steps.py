"""Training for a fixed number of steps, for generative models: no epochs, no judging; averaged weights are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from evenface.seeds import seed_from
from evenface.training.method import Method
from evenface.training.session import Session
from evenface.training.settings import StepSettings


@dataclass(frozen=True)
class StepBatch:
    """``rows`` int64 (n,) of one step, their content, and the random number generator of the step."""

    rows: np.ndarray
    content: Any
    generator: torch.Generator


class StepMethod(Method):
    """Passes over ``rows`` int64 (n,) in batches, in a new order each time; define :meth:`content` and ``loss_of``."""

    unit = "step"
    selects = None

    def __init__(self, session: Session, networks: Mapping[str, nn.Module], rows: np.ndarray, settings: StepSettings):
        self.session, self.networks, self.shown, self.loop = session, dict(networks), rows, settings
        self.steps, self.round = settings.steps, settings.log_every
        self._orders: dict[int, np.ndarray] = {}

    def rate(self, step: int) -> float:
        """Linear warm-up, constant, linear to 0 over the last share ``decay`` of the steps."""
        settings = self.loop
        left = (settings.steps - step) / max(settings.decay * settings.steps, 1)
        return settings.learning_rate * min((step + 1) / max(settings.warmup, 1), left, 1.0)

    def rows(self, step: int) -> np.ndarray:
        """The rows of a step (from 0), int64 (batch_size,)."""
        count, size = len(self.shown), self.loop.batch_size
        places = np.arange(step * size, (step + 1) * size)
        self._orders = {int(p): self._order(int(p)) for p in np.unique(places // count)}
        order = [self._orders[p][i] for p, i in zip(places // count, places % count, strict=True)]
        return self.shown[np.array(order, np.int64)]

    def _order(self, number: int) -> np.ndarray:
        known = self._orders.get(number)
        if known is not None:
            return known
        random = np.random.Generator(np.random.PCG64(seed_from(self.session.seed, "order", number)))
        return random.permutation(len(self.shown))

    def batch(self, step: int) -> StepBatch:
        """The step's rows, their content, and its own random number generator."""
        generator = torch.Generator().manual_seed(seed_from(self.session.seed, "step", step))
        rows = self.rows(step)
        return StepBatch(rows, self.content(rows, step, generator), generator)

    def content(self, rows: np.ndarray, step: int, generator: torch.Generator) -> Any:
        """The content of the rows; it may draw from ``generator``, before the loss does."""
        raise NotImplementedError
