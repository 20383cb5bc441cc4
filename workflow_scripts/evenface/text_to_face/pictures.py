"""The training faces in memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenface.pixels.decoding import fit_image
from evenface.storage.shards import read_shard


@dataclass(frozen=True)
class Pictures:
    """Faces in the order of their index: ``pixels`` uint8 (N, size, size, 3), and the truth about each.

    ``held_out`` marks faces that no stage is trained on; ``sha256`` is the hash over the pixels.
    """

    pixels: np.ndarray
    truth: list[dict[str, Any]]
    held_out: np.ndarray
    sha256: str


#: One face in this many is held out, in runs of a whole round of cells.
HELD_OUT_EVERY = 40


def load_pictures(shards: Sequence[str | os.PathLike], size: int, cells: int) -> Pictures:
    """Read shards of training faces at ``size`` pixels; ``cells`` is the length of a round."""
    found: list[tuple[int, np.ndarray, dict[str, Any]]] = []
    for path in shards:
        with read_shard(path) as shard:
            for row in shard.table.itertuples():
                image = fit_image(shard.image(row.member), (size, size))
                found.append((int(row.index), image, json.loads(row.truth)))
    found.sort(key=lambda entry: entry[0])
    pixels = np.stack([image for _, image, _ in found])
    rounds = np.array([index // cells for index, _, _ in found])
    return Pictures(
        pixels,
        [truth for _, _, truth in found],
        rounds % HELD_OUT_EVERY == HELD_OUT_EVERY - 1,
        hashlib.sha256(pixels.tobytes()).hexdigest(),
    )
