"""Summarises the screening of a whole generated set: acceptance and quality by group, and rejections with reasons."""

from __future__ import annotations

import os
from collections.abc import Sequence

from evenface.checkpoints.origin import gathered
from evenface.datasets.synthetic import demographics_in_use, read_quality, with_quality
from evenface.plan.generators import source_in_words
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
    demographics: str | os.PathLike | None = None,
    seed: int = 0,
) -> None:
    """Write four CSV files: acceptance, quality and differences (see :mod:`evenface.screening.acceptance`), and rejected.

    ``weights`` gets the verdicts on the published weights that judged, as JSON.

    ``shards`` and ``tables`` have the same order. ``quality_tables`` are those of MagFace, if it judged. Groups are those
    of the table ``demographics``, see :func:`evenface.datasets.synthetic.demographics_in_use`; the column ``demographics``
    of all files says where they come from. ``seed`` is the seed of the permutations.
    """
    people, source = demographics_in_use(shards, demographics)
    write_json(weights, gathered(map(table_meta, (*tables, *quality_tables))))
    screening = read_tables(tables, columns=["image_id", "accepted", "reason", "detail", "quality"])
    if quality_tables:
        screening = with_quality(screening, read_quality(quality_tables))
    dropped = screening.loc[~screening["accepted"], ["image_id", "reason", "detail"]].merge(
        people, on="image_id", how="left"
    )
    own = dropped.pop("demographics_source").map(lambda name: source_in_words({name: 1}))
    write_csv(dropped.assign(demographics=own).sort_values("image_id"), rejected)
    write_csv(by_group.acceptance(screening, people).assign(demographics=source), acceptance)
    write_csv(by_group.quality(screening, people).assign(demographics=source), quality)
    write_csv(by_group.differences(screening, people, seed=seed).assign(demographics=source), differences)
