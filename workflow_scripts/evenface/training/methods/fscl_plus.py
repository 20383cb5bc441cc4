"""FSCL+: FSCL with every group of the same weight (:mod:`evenface.training.methods.fscl`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evenface.parts import Method
from evenface.training.methods.fscl import FSCLSettings, made

if TYPE_CHECKING:
    from evenface.training.method import Problem


def create(problem: Problem, settings: FSCLSettings):
    """FSCL+."""
    return made(problem, settings, even_groups=True)


PART = Method(
    name="fscl_plus",
    summary="FSCL with every group of the same weight (FSCL+).",
    code="evenface.training.methods.fscl_plus:create",
    settings=FSCLSettings,
    needs_groups=("train",),
)
