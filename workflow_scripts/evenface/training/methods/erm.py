"""Empirical risk minimisation: the plain training."""

from evenface.parts import Method

PART = Method(
    name="erm",
    summary="Plain training: every labelled image counts the same.",
    code="evenface.training.method:Classification",
)
