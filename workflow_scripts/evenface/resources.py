"""The resources of jobs: memory in MB, minutes, GPUs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def scaled(base: int | Callable[[Any], int], most: Callable[[], float] = lambda: math.inf) -> Callable[..., int]:
    """Resource function: ``base`` (or ``base(wildcards)``) times the attempt (from 1), at most ``most()``.

    A job that ran out of memory or time would run out again with the same request. The result is never below ``base``.
    """

    def amount(wildcards: Any, attempt: int) -> int:
        first = base(wildcards) if callable(base) else base
        return first if attempt == 1 else max(first, int(min(attempt * first, most())))

    return amount
