"""Linear probe: only the last layer is trained, on embeddings that stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenface.parts import Method, NoSettings

if TYPE_CHECKING:
    from evenface.training.method import Problem


def create(problem: Problem, settings: NoSettings):
    """Plain training of the last linear layer; the rest stays in evaluation mode."""
    from evenface.training.last_linear import last_linear
    from evenface.training.method import Classification
    from evenface.training.methods.partial_fine_tune import frozen_but

    class LinearProbe(Classification):
        def __init__(self):
            super().__init__(problem, settings)
            network = self.networks["network"]
            frozen_but(network, last_linear(network, len(problem.attributes), "linear_probe")[:1], "linear_probe")

        def train_mode(self):
            self.networks["network"].eval()

    return LinearProbe()


PART = Method(
    name="linear_probe",
    summary="Trains only the last layer, on given weights.",
    code="evenface.training.methods.linear_probe:create",
)
