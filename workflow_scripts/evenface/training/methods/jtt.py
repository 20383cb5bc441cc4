"""JTT (Liu et al., ICML 2021): train briefly, and then from the start with what was wrong repeated.

The released code (github.com/anniesliu/jtt) collects the errors while it trains the last epoch: every prediction is made with batch
statistics, just before its batch changes the weights. ``errors: while_training`` does the same. The default looks at
all images once, after that epoch. Published lambda counts the further copies, so that an error counts lambda + 1 times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from evenface.parts import Method, Settings

if TYPE_CHECKING:
    import numpy as np

    from evenface.training.method import Problem


class JTTSettings(Settings):
    """Its block of the configuration."""

    epochs: int = Field(1, ge=1, description="Epochs of the first training, after which errors are collected.")
    copies: int = Field(20, ge=1, description="Further copies of every error in the second training (lambda).")
    errors: Literal["after", "while_training"] = Field(
        "after", description="after: in a pass over all images. while_training: in the last epoch, as published."
    )


def repeated(rows: np.ndarray, wrong: np.ndarray, copies: int) -> np.ndarray:
    """The rows, followed by ``copies`` times those that are ``wrong`` (bool, one per row)."""
    import numpy as np

    return np.concatenate([rows, np.tile(rows[wrong], copies)])


def create(problem: Problem, settings: JTTSettings):
    """Two trainings; an image is wrong if any of its known labels is."""
    import numpy as np
    import torch

    from evenface.errors import UserError
    from evenface.pixels.order import epoch_order
    from evenface.seeds import seed_from
    from evenface.training.method import Classification

    def is_wrong(method, outputs, rows):
        labels = method.labels[rows]
        right = (outputs.cpu() >= 0) == (labels > 0)
        for place in method.blocks.values():
            own = labels[:, place]
            chosen = outputs.cpu()[:, place].argmax(1)
            right[:, place] = (own.argmax(1) == chosen)[:, None]
        return ((labels != 0) & ~right).any(1)

    class First(Classification):
        selects = None
        patience = 0
        keeps = ("wrong",)

        def __init__(self):
            super().__init__(problem.but(settings={"epochs": settings.epochs}), settings)
            self.wrong = torch.zeros(len(problem.labels), dtype=torch.bool)

        def loss(self, outputs, features, rows):
            if settings.errors == "while_training":
                self.wrong[torch.from_numpy(rows)] = is_wrong(self, outputs.detach(), rows)
            return super().loss(outputs, features, rows)

    class Second(Classification):
        rows = problem.train_rows

        def order(self, epoch):
            random = np.random.Generator(np.random.PCG64(seed_from(self._seed, "order", epoch)))
            return self.rows[epoch_order(len(self.rows), problem.settings.order, random)]

        def run(self, session):
            first = First()
            session.fit(first, "errors")
            train = problem.train_rows
            if settings.errors == "after":
                wrong = is_wrong(self, problem.outputs(first.networks["network"], train), train).numpy()
            else:
                wrong = first.wrong.numpy()[train]
            if not wrong.any():
                raise UserError(
                    "method jtt: the first training has no error, so nothing is repeated; lower method.epochs"
                )
            self.rows = repeated(train, wrong, settings.copies)
            return session.fit(self)

    return Second(problem, settings)


PART = Method(
    name="jtt",
    summary="Trains briefly, and then from the start with the errors repeated (JTT).",
    code="evenface.training.methods.jtt:create",
    settings=JTTSettings,
)
