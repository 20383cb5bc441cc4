"""Rules that select the weights of a training by its validation images.

The names are those of SubpopBench (Yang et al., ICML 2023): the average, the smallest recall of a class (which needs no groups), the
smallest accuracy of a group, and the mean recall of classes. Rules that look at test images are not among them.
"""

from __future__ import annotations

import numpy as np

#: ``training.select`` -> whether a small or a large number is better.
RULES: dict[str, str] = {
    "loss": "min", "accuracy": "max", "balanced_accuracy": "max", "worst_class": "max", "worst_group": "max",
}  # fmt: skip


def rates(right: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Share of right decisions (bool (n,)) in every code that occurs, float64, in the order of the codes; -1 does not count.

    >>> rates(np.array([True, False, True]), np.array([0, 0, 3]))
    array([0.5, 1. ])
    """
    known = codes >= 0
    counts = np.bincount(codes[known])
    return (np.bincount(codes[known], right[known])[counts > 0] / counts[counts > 0]) if known.any() else np.array([])


def numbers(right: np.ndarray, labels: np.ndarray, levels: np.ndarray) -> dict[str, float]:
    """``worst_class`` and ``worst_group`` of decisions.

    right   bool (n, a): decisions that equal the label
    labels  int8 (n, a) in {+1, -1, 0}; 0 does not count
    levels  int64 (n,): the combination of levels of every image, -1 unknown. A group is a label crossed with such a combination

    Of several attributes, the mean. A class or group that does not occur does not count; without any the number is left out.
    """
    found: dict[str, list[float]] = {"worst_class": [], "worst_group": []}
    for column, label in enumerate(labels.T):
        classes = np.where(label == 0, -1, (label > 0).astype(np.int64))
        groups = np.where((label == 0) | (levels < 0), -1, 2 * levels + (label > 0))
        for name, codes in (("worst_class", classes), ("worst_group", groups)):
            if len(shares := rates(right[:, column], codes)):
                found[name].append(float(shares.min()))
    return {name: float(np.mean(values)) for name, values in found.items() if values}
