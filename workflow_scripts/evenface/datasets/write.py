"""Read a data set and write its three files: faces, rejections, summary."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from evenface.datasets import read
from evenface.datasets.faces import check_faces
from evenface.datasets.synthetic import read_all
from evenface.storage.atomic import write_json
from evenface.storage.tables import write_table

log = logging.getLogger("evenface")


def write_dataset(
    reader: str,
    settings: Mapping[str, Any],
    *,
    faces: str | os.PathLike,
    rejected: str | os.PathLike,
    summary: str | os.PathLike,
    demographics: str | os.PathLike | None = None,
) -> None:
    """Read with ``reader`` and write the faces table, the rejected table and the JSON summary.

    For generated faces also ``demographics``, those in use of every image (``synthetic.IN_USE``); its header says in words
    where they come from. Everything that groups generated images reads it: contact sheet, acceptance, agreement.

    The faces table is written last, so that its presence means that all are there. The summary is
    logged line by line.
    """
    if demographics is None:
        table, dropped, counts = read(reader, settings)
    else:
        table, dropped, counts, in_use = read_all(settings)
        meta = {"demographics": counts["demographics"]}
        write_table(in_use, demographics, kind="demographics", meta=meta)
    check_faces(table, str(faces))
    for key, value in counts.items():
        log.info("%s: %s", key, value)
    meta = {"reader": reader, "settings": {k: v for k, v in settings.items() if not isinstance(v, (list, dict))}}
    write_table(dropped, rejected, kind="rejected", meta=meta)
    write_json(summary, counts)
    write_table(table, faces, kind="faces", meta=meta)
