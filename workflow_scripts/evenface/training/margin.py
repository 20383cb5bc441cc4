"""Parameters of the MagFace loss (Meng et al., CVPR 2021), and their checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from evenface.errors import UserError, check_names

KINDS = ("arc", "cos")


@dataclass(frozen=True)
class Margin:
    """Parameters of the loss; the defaults are the published MagFace recipe.

    ``l_a`` and ``u_a`` bound the lengths that count. ``l_m`` and ``u_m`` are the margins there (radians for
    kind "arc", a share of cosine for kind "cos", which is Mag-CosFace). ``s`` scales the logits, and
    ``lambda_g`` weights the regulariser. With ``easy``, own-class cosines of 0 or less do not get a margin, as
    in the published training; otherwise they get ArcFace's linear continuation.
    """

    l_a: float = 10.0
    u_a: float = 110.0
    l_m: float = 0.45
    u_m: float = 0.8
    s: float = 64.0
    lambda_g: float = 35.0
    kind: str = "arc"
    easy: bool = True

    @property
    def smallest_lambda_g(self) -> float:
        """The smallest weight with which even the shortest embedding gains by growing, at any cost of its margin.

        Below it, the penalty's slope at ``l_a`` is flatter than the steepest slope of the margin, and all lengths
        may stay at ``l_a``. The published trainers print this number.
        """
        slope = (self.u_m - self.l_m) / (self.u_a - self.l_a)
        return self.s * slope * self.u_a**2 * self.l_a**2 / (self.u_a**2 - self.l_a**2)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], where: str) -> Margin:
        """Checked parameters; UserError naming the key below ``where`` that is unknown or out of range."""
        check_names(where, settings, [f.name for f in fields(cls)])
        margin = cls(**settings)
        margin.check(where)
        return margin

    def check(self, where: str) -> None:
        """Raise UserError for the first parameter out of range."""
        check_names(f"{where}.kind", [self.kind], KINDS)
        if not 0 < self.l_a < self.u_a:
            raise UserError(f"{where}: l_a {self.l_a:g} must be above 0 and below u_a {self.u_a:g}")
        if not 0 <= self.l_m <= self.u_m or (self.kind == "arc" and self.u_m >= math.pi):
            raise UserError(f"{where}: margins need 0 <= l_m <= u_m (below pi), got {self.l_m:g} and {self.u_m:g}")
        if self.s <= 0:
            raise UserError(f"{where}.s is {self.s:g}; it must be above 0")
        if self.lambda_g < self.smallest_lambda_g:
            raise UserError(
                f"{where}.lambda_g is {self.lambda_g:g}; with these margins and bounds lengths follow quality only "
                f"from {self.smallest_lambda_g:.4g} on"
            )

    def of(self, lengths):
        """The margin at clamped lengths, numbers or a tensor."""
        return self.l_m + (self.u_m - self.l_m) / (self.u_a - self.l_a) * (lengths - self.l_a)

    def penalty(self, lengths):
        """The regulariser at clamped lengths: convex, falling up to ``u_a``."""
        return lengths / self.u_a**2 + 1 / lengths
