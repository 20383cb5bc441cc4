"""The order in which an epoch passes over its rows."""

from __future__ import annotations

import numpy as np

from evenface.pixels.store import BLOCK

#: Number of blocks whose rows are shuffled together.
_MIXED = 32


def epoch_order(count: int, order: str, random: np.random.Generator) -> np.ndarray:
    """Positions int64 (count,), each once.

    ``order`` "permutation": every order is equally likely. "blocks": blocks of 256 neighbours come in random order, and
    the rows of 32 blocks at a time are shuffled together, so that a disk reads long stretches. Two rows are then in
    the same batch only if their blocks are among the same 32.
    """
    if order == "permutation":
        return random.permutation(count)
    blocks = [np.arange(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]
    chosen = random.permutation(len(blocks))
    mixed = [np.concatenate([blocks[b] for b in chosen[i : i + _MIXED]]) for i in range(0, len(chosen), _MIXED)]
    return np.concatenate([random.permutation(rows) for rows in mixed]) if mixed else np.zeros(0, np.int64)
