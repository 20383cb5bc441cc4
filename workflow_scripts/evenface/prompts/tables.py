"""Prompt tables as they are written: text alone, with notes above the header."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence


def written(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as CSV text with a header and LF line ends."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def rows_digest(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """First 16 hex digits of the SHA-256 of the rows as :func:`written`: tells an edited file from a written one."""
    return hashlib.sha256(written(columns, rows).encode()).hexdigest()[:16]
