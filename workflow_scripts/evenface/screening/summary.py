"""The screening of a whole generated set: acceptance by group, and who was rejected and why."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pandas as pd

from evenface.datasets.synthetic import shard_demographics
from evenface.screening.acceptance import acceptance as by_group
from evenface.storage.atomic import atomic_path
from evenface.storage.tables import read_table


def write_acceptance(
    shards: Sequence[str],
    tables: Sequence[str],
    *,
    acceptance: str | os.PathLike,
    rejected: str | os.PathLike,
) -> None:
    """Write the acceptance table (see :func:`evenface.screening.acceptance.acceptance`) and the rejected rows.

    ``shards`` and ``tables`` are in one order; groups are those the prompts asked for.
    """
    demographics = shard_demographics(shards)
    screening = pd.concat([read_table(path) for path in tables], ignore_index=True)
    with atomic_path(rejected) as temporary:
        dropped = screening.loc[~screening["accepted"], ["image_id", "reason", "detail"]]
        merged = dropped.merge(demographics, on="image_id", how="left")
        merged.sort_values("image_id").to_csv(temporary, index=False, lineterminator="\n")
    with atomic_path(acceptance) as temporary:
        table = by_group(screening, demographics)
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.10g")
