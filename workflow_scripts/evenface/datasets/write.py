"""Read a data set and write its three files: faces, rejections, summary."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from evenface.datasets import read
from evenface.datasets.faces import check_faces
from evenface.storage.atomic import write_json
from evenface.storage.tables import write_table
from evenface.taxonomy import study_levels

log = logging.getLogger("evenface")


def write_dataset(
    reader: str,
    settings: Mapping[str, Any],
    *,
    faces: str | os.PathLike,
    rejected: str | os.PathLike,
    summary: str | os.PathLike,
) -> None:
    """Read with ``reader`` and write the faces table, the rejected table and the JSON summary.

    The faces table is written last, so that its presence means all three are there. The summary is
    logged line by line.
    """
    table, dropped, counts = read(reader, settings)
    given = settings.get("vocabulary")
    check_faces(table, str(faces), vocabulary=study_levels(given) if given else None)
    for key, value in counts.items():
        log.info("%s: %s", key, value)
    meta = {"reader": reader, "settings": {k: v for k, v in settings.items() if not isinstance(v, (list, dict))}}
    write_table(dropped, rejected, kind="rejected", meta=meta)
    write_json(summary, counts)
    write_table(table, faces, kind="faces", meta=meta)
