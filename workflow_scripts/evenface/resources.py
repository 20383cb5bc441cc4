"""The resources of jobs: memory in MB, minutes, GPUs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenface.parts import Needs


def scaled(base: int | Callable[[Any], int], most: Callable[[], float] = lambda: math.inf) -> Callable[..., int]:
    """Resource function: ``base`` (or ``base(wildcards)``) times the attempt (from 1), at most ``most()``.

    A job that ran out of memory or time would run out again with the same request. The result is never below ``base``.
    """

    def amount(wildcards: Any, attempt: int) -> int:
        first = base(wildcards) if callable(base) else base
        return first if attempt == 1 else max(first, int(min(attempt * first, most())))

    return amount


class Asks:
    """What the jobs of one rule ask for: what the rule says, and what the parts that they run declare.

    ``declared`` maps the wildcards to the needs of those parts. Every method takes what the rule says and gives a
    function of the wildcards. The order of the parts matters for the conda environment only.
    """

    def __init__(self, declared: Callable[[Any], Iterable[Needs]]):
        self._declared = declared

    def gpu(self, usual: int) -> Callable[[Any], int]:
        """The most GPUs that a part declares, or ``usual`` where none says anything."""
        return lambda wildcards: max(self._values("gpu", wildcards), default=usual)

    def mem_mb(self, least: int) -> Callable[[Any], int]:
        """The most memory that a part declares, and no less than ``least``."""
        return lambda wildcards: max([least, *self._values("mem_mb", wildcards)])

    def runtime(self, least: int) -> Callable[[Any], int]:
        """The most minutes that a part declares, and no less than ``least``."""
        return lambda wildcards: max([least, *self._values("runtime", wildcards)])

    def conda(self, usual: str) -> Callable[[Any], str]:
        """The environment of the first part that declares one, or ``usual``: a file, relative to the rule's."""

        def path(wildcards: Any) -> str:
            name = next(iter(self._values("conda", wildcards)), None)
            if name is None or name.endswith((".yaml", ".yml")):
                return name or usual
            return f"{usual.rpartition('/')[0]}/{name}.yaml"

        return path

    def _values(self, key: str, wildcards: Any) -> list[Any]:
        found = [getattr(needs, key) for needs in self._declared(wildcards)]
        return [value for value in found if value is not None]
