"""Quantiles and spreads over replicates, some of which may be undefined (NaN)."""

from __future__ import annotations

import numpy as np


def quantiles(values: np.ndarray, probabilities: tuple[float, ...]) -> list[np.ndarray]:
    """Linear quantiles over the last axis (B), ignoring NaN; NaN if all are NaN."""
    flat = values.reshape(-1, values.shape[-1])
    out = np.full((len(probabilities), len(flat)), np.nan)
    if flat.size:
        partial = np.isnan(flat).any(axis=1)
        whole = ~partial
        if whole.any():
            n = flat.shape[1]
            need = sorted({k for p in probabilities for k in (int(p * (n - 1)), min(int(p * (n - 1)) + 1, n - 1))})
            ordered = np.partition(flat if whole.all() else flat[whole], need, axis=1)
            out[:, whole] = _interpolate(ordered, np.full(len(ordered), n), probabilities)
        if partial.any():
            ordered = np.sort(flat[partial], axis=1)  # NaN last
            out[:, partial] = _interpolate(ordered, (~np.isnan(ordered)).sum(axis=1), probabilities)
    return [row.reshape(values.shape[:-1]) for row in out]


def _interpolate(ordered: np.ndarray, n: np.ndarray, probabilities) -> np.ndarray:
    rows, out = np.arange(len(ordered)), []
    for p in probabilities:
        position = p * np.maximum(n - 1, 0)
        below = position.astype(np.int64)
        a, b = ordered[rows, below], ordered[rows, np.minimum(below + 1, np.maximum(n - 1, 0))]
        with np.errstate(invalid="ignore"):
            out.append(np.where(a == b, a, a + (b - a) * (position - below)))
    return np.array(out)


def share_below(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The probability (...) whose quantile over the last axis is ``x`` (...): the inverse of :func:`quantiles`.

    0 below all values, 1 above them; NaN values are ignored.
    """
    x = x[..., None]
    with np.errstate(invalid="ignore"):
        under = values <= x
        below = np.where(under, values, -np.inf).max(axis=-1, initial=-np.inf)
        above = np.where(values > x, values, np.inf).min(axis=-1, initial=np.inf)
    n, rank = (~np.isnan(values)).sum(axis=-1), under.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        part = np.where((rank > 0) & (rank < n), (x[..., 0] - below) / (above - below), 0)
    position = np.where(rank == n, n - 1, rank - 1 + part)
    return np.clip(position / np.maximum(n - 1, 1), 0, 1)


def tails(level: float) -> tuple[float, float]:
    """The probabilities of the two ends of a two-sided interval of a level."""
    return (1 - level) / 2, (1 + level) / 2


def exp(values: np.ndarray) -> np.ndarray:
    """The exponential; inf, without a warning, if a bound is too large."""
    with np.errstate(over="ignore"):
        return np.exp(values)


def spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the last axis, ignoring NaN; 0 if all are NaN."""
    if not np.isnan(values).any():
        return values.std(axis=-1)
    valid = ~np.isnan(values)
    n = np.maximum(valid.sum(axis=-1), 1)
    filled = np.where(valid, values, 0)
    mean = filled.sum(axis=-1) / n
    return np.sqrt((np.where(valid, filled - mean[..., None], 0) ** 2).sum(axis=-1) / n)
