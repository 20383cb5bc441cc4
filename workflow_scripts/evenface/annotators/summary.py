"""Agreement of the annotators over a whole generated set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pandas as pd

from evenface.annotators.agreement import agreement
from evenface.datasets.synthetic import shard_demographics
from evenface.storage.atomic import atomic_path
from evenface.storage.tables import read_table


def write_agreement(
    shards: Sequence[str], tables: Mapping[str, Sequence[str]], attributes: Sequence[str], out: str | os.PathLike
) -> None:
    """Write the agreement table (see :func:`evenface.annotators.agreement.agreement`) as CSV.

    ``tables`` maps an annotator to its annotation tables; images are grouped by what the prompts
    asked for, and ``attributes`` and the demographic dimensions are compared.
    """
    annotations = {}
    for name, paths in tables.items():
        table = pd.concat([read_table(path) for path in paths], ignore_index=True)
        wanted = {f"label_{a}" for a in attributes}
        annotations[name] = table[[c for c in table if not c.startswith("label_") or c in wanted]]
    compared = agreement(annotations, shard_demographics(shards)).rename(columns={"name": "subject"})
    with atomic_path(out) as temporary:
        compared.to_csv(temporary, index=False, lineterminator="\n", float_format="%.10g")
