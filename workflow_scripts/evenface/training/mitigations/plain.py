"""No mitigation: every labelled image counts the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenface.errors import check_names
from evenface.training.loop import FitResult, fit
from evenface.training.mitigations import Context
from evenface.training.tasks import AttributeTask


class Plain:
    """Masked binary cross entropy on the training rows as they are."""

    name = "none"

    def fit(self, context: Context) -> FitResult:
        """Train on all training rows; see :class:`evenface.training.mitigations.Mitigation`."""
        return fit(
            context.new_network(),
            context.pixels,
            AttributeTask(context.labels, context.attributes),
            context.train_rows,
            context.validation_rows,
            context.settings,
            seed=context.seed,
            device=context.device,
            precision=context.precision,
            digest=context.digest,
            state_path=context.state_path,
            label=context.label,
        )


def create(settings: Mapping[str, Any]) -> Plain:
    """The plain training, which has no settings."""
    check_names("training.mitigation: none", settings, ())
    return Plain()
