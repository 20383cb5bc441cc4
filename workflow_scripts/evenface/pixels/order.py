"""The order in which an epoch passes over its rows."""

from __future__ import annotations

import numpy as np

from evenface.pixels.store import BLOCK

#: Blocks that are shuffled into each other.
_MIXED = 32


def epoch_order(count: int, order: str, random: np.random.Generator) -> np.ndarray:
    """Positions int64 (count,), each once.

    ``order`` "permutation": any order is equally likely. "blocks": blocks of 256 neighbours come in random order, and
    the rows of 32 blocks at a time are shuffled among each other, so that a disk reads long stretches; rows that lie
    far apart then never stand in one batch unless their blocks do.
    """
    if order == "permutation":
        return random.permutation(count)
    blocks = [np.arange(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]
    chosen = random.permutation(len(blocks))
    mixed = [np.concatenate([blocks[b] for b in chosen[i : i + _MIXED]]) for i in range(0, len(chosen), _MIXED)]
    return np.concatenate([random.permutation(rows) for rows in mixed]) if mixed else np.zeros(0, np.int64)
