"""Readers: every data set, real, stand-in or generated, becomes one faces table.

Every reader is a part in a package of its own. Importing this package is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evenface import parts

if TYPE_CHECKING:
    import pandas as pd

#: Raised when the same shards give another faces table; readers of data sets have versions of their own.
VERSIONS = {"synthetic": 2}


def read(reader: str, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces table, rejected table and JSON-ready summary of one data set.

    ``settings`` are those of the reader's part, and ``name``, ``root``; ``synthetic`` reads what was generated here.
    Raises UserError naming the file, row or key that is wrong.
    """
    if reader == "synthetic":
        from evenface.datasets import synthetic

        return synthetic.read(settings)
    return parts.part(parts.Reader, reader, "datasets").load()(settings)
