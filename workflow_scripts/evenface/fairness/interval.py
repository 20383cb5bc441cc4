"""Intervals of statistics, and how they were made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINOMIAL = "binomial_identities"
SIMULTANEOUS, CONSERVATIVE = "simultaneous", "simultaneous_conservative"

MIN_VALID = 0.9  # share of replicates that must be defined


@dataclass(frozen=True)
class Interval:
    """Interval of one statistic, for each attribute (and group).

    low, high  float64, NaN without an interval
    n_valid    int64, replicates in which the statistic is defined
    method     object, how the interval was made; empty without an interval
    """

    low: np.ndarray
    high: np.ndarray
    n_valid: np.ndarray
    method: np.ndarray

    @classmethod
    def of(cls, low, high, n_valid, method, n_boot: int) -> Interval:
        """An interval, if at least 90 % of the replicates are valid and both ends are numbers; NaN otherwise."""
        low, high = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
        none = (n_valid < MIN_VALID * n_boot) | np.isnan(low) | np.isnan(high)
        low[none] = high[none] = np.nan
        method = np.where(none, "", method).astype(object)
        return cls(low, high, np.broadcast_to(n_valid, low.shape), method)

    @classmethod
    def concatenate(cls, parts: list[Interval]) -> Interval:
        """The intervals of consecutive attributes."""
        return cls(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("low", "high", "n_valid", "method")))

    def map(self, function, n_boot: int, method: str | None = None) -> Interval:
        """The interval of a monotone function of the statistic."""
        ends = function(self.low), function(self.high)
        method = self.method if method is None else method
        return Interval.of(np.minimum(*ends), np.maximum(*ends), self.n_valid, method, n_boot)
