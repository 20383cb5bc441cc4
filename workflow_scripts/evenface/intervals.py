"""Intervals of shares. It uses only NumPy, because some conda environments do not have SciPy."""

from __future__ import annotations

import numpy as np

#: Standard normal quantile of a two-sided 95 % interval.
Z95 = 1.959963984540054


def wilson(share: np.ndarray, n: np.ndarray, z: float = Z95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of shares (...) in [-1, 1] of ``n`` (...) independent units: lower and upper bounds.

    A negative share, such as a signed bias, gets the interval of its absolute value, with the sign. NaN if the share is
    NaN, as for 0 of 0 units. Wilson, JASA 22, 1927.
    """
    share, n = np.asarray(share, np.float64), np.maximum(n, 1)
    sign, p = np.where(share < 0, -1.0, 1.0), np.abs(share)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(np.maximum(p * (1 - p), 0) / n + z**2 / (4 * n**2))
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, 1)
    low, high = np.where(p == 0, 0.0, low), np.where(p == 1, 1.0, high)
    return np.where(sign < 0, -high, low), np.where(sign < 0, -low, high)
