"""What jobs ask of a machine: memory in MB, minutes, GPUs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

#: Generators that compute without a network.
RENDERERS = ("parametric",)


def scaled(base: int | Callable[[Any], int], most: Callable[[], float] = lambda: math.inf) -> Callable[..., int]:
    """Resource function: ``base``, or what it says of the wildcards, times the attempt (from 1), at most ``most()``.

    A job that ran out of memory or time would run out again with the same request. ``base`` itself is never cut.
    """

    def amount(wildcards: Any, attempt: int) -> int:
        first = base(wildcards) if callable(base) else base
        return first if attempt == 1 else max(first, int(min(attempt * first, most())))

    return amount


def generator_mem(generator: str, files: Iterable[str]) -> int:
    """MB for drawing: its ``files``, twice while they are loaded and in another precision, and room for images."""
    if generator in RENDERERS:
        return 1500
    return 2500 + 3 * sum(Path(path).stat().st_size for path in files if Path(path).is_file()) // 10**6


def generator_minutes(generator: str) -> int:
    """Minutes for drawing a shard: large models take long where there is no GPU."""
    return 60 if generator in RENDERERS else 480


def generator_gpus(generator: str, base: str | None = None) -> int:
    """GPUs a generator can use; ``base`` is the generator that ``guided`` draws with."""
    return int((base if generator == "guided" else generator) not in RENDERERS)


def annotator_mem(annotator: str) -> int:
    """MB for annotation: the published networks are large, and so are their pictures."""
    return 1500 if annotator in ("ground_truth", "trained_here") else 4000


def annotator_gpus(annotator: str) -> int:
    """GPUs an annotator can use: the generator's own truth needs no network."""
    return int(annotator != "ground_truth")
