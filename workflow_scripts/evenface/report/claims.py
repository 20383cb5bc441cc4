"""What the report's sentences are about, by the seeds of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from evenface.fairness.claims import subject


@dataclass(frozen=True)
class Claims:
    """``seeds`` holds the number of training seeds of every run."""

    seeds: Mapping[str, int]

    @classmethod
    def of(cls, shown: pd.DataFrame, runs: list[str]) -> Claims:
        """From the rows of whole runs of the table ``fairness``."""
        known = shown.groupby("model")["n_seeds"].max()
        return cls({run: int(known.get(run, 1)) for run in runs})

    @property
    def n_seeds(self) -> int:
        """The most seeds of a run."""
        return max(self.seeds.values(), default=1)

    @property
    def single(self) -> list[str]:
        """The runs of one network each."""
        return [run for run, count in self.seeds.items() if count == 1]

    @property
    def subject(self) -> str:
        """What all runs are, or ``each run`` where they differ."""
        names = {subject(count) for count in self.seeds.values()} or {subject(1)}
        return names.pop() if len(names) == 1 else "each run"

    def of_run(self, run: str) -> str:
        """What one run is."""
        return subject(self.seeds[run])
