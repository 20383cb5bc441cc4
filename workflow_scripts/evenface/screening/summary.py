"""Summarises the screening of a whole generated set: acceptance and quality by group, and rejections with reasons."""

from __future__ import annotations

import os
from collections.abc import Sequence

from evenface.checkpoints.origin import gathered
from evenface.datasets.synthetic import read_quality, shard_demographics, with_quality
from evenface.screening import acceptance as by_group
from evenface.storage.atomic import write_json
from evenface.storage.csv import write_csv
from evenface.storage.tables import read_tables, table_meta


def write_acceptance(
    shards: Sequence[str],
    tables: Sequence[str],
    quality_tables: Sequence[str] = (),
    *,
    acceptance: str | os.PathLike,
    rejected: str | os.PathLike,
    quality: str | os.PathLike,
    differences: str | os.PathLike,
    weights: str | os.PathLike,
    seed: int = 0,
) -> None:
    """Write four CSV files: acceptance, quality and differences (see :mod:`evenface.screening.acceptance`), and rejected.

    ``weights`` gets the verdicts on the published weights that judged, as JSON.

    ``shards`` and ``tables`` have the same order. ``quality_tables`` are those of MagFace, if it judged. Groups are
    those that the prompts asked for. ``seed`` is the seed of the permutations.
    """
    write_json(weights, gathered(map(table_meta, (*tables, *quality_tables))))
    demographics = shard_demographics(shards)
    screening = read_tables(tables, columns=["image_id", "accepted", "reason", "detail", "quality"])
    if quality_tables:
        screening = with_quality(screening, read_quality(quality_tables))
    dropped = screening.loc[~screening["accepted"], ["image_id", "reason", "detail"]]
    write_csv(dropped.merge(demographics, on="image_id", how="left").sort_values("image_id"), rejected)
    write_csv(by_group.acceptance(screening, demographics), acceptance)
    write_csv(by_group.quality(screening, demographics), quality)
    write_csv(by_group.differences(screening, demographics, seed=seed), differences)
