"""Readers: every data set, real, stand-in or generated, becomes one faces table.

Every reader is a part in its own package. Importing this package loads no slow libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evenface import parts

if TYPE_CHECKING:
    import pandas as pd

#: Raise a number when the same shards give another faces table. Readers of data sets have their own versions.
VERSIONS = {"synthetic": 4, "demographics": 1, "annotated": 1}


def read(reader: str, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces table, rejected table and JSON-ready summary of one data set.

    ``settings`` are those of the reader's part, with ``name`` and ``root``; ``synthetic`` reads generated faces.
    Raises UserError naming the file, row or key that is wrong.
    """
    if reader == "synthetic":
        from evenface.datasets import synthetic

        return synthetic.read(settings)
    return parts.part(parts.Reader, reader, "datasets").load()(settings)
