"""How paths and sizes of assets are written; imports nothing, so that jobs need no parser of the registry."""

from __future__ import annotations

import os

#: Most bytes of a download whose size and bound the registry does not tell.
MAX_BYTES = 20 * 10**9


def place(path: str | os.PathLike) -> str:
    """A path in one spelling: relative to the working directory where it lies below it, else absolute."""
    absolute = os.path.abspath(path)
    below = os.path.relpath(absolute)
    return absolute if below.startswith(os.pardir + os.sep) or below == os.pardir else below.replace(os.sep, "/")


def bytes_in_words(count: int) -> str:
    """A number of bytes with two digits and a decimal unit, ``335 MB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError
