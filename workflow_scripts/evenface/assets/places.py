"""How paths and sizes of assets are written; it imports nothing of ours, so jobs do not need the parser of the registry."""

from __future__ import annotations

import os
from pathlib import PurePath

#: Most bytes of a download whose size and bound the registry does not tell.
MAX_BYTES = 20 * 10**9

#: Folders the workflow's own rules fill: what is configured to lie there is not asked of the user.
MADE_HERE = ("results", "data/standins", "data/synthetic", "data/faces")

#: The model that is part of the repository.
SHIPPED = "models/text-to-face"

#: What a key for weights says where a rule of the workflow trains them.
TRAINED_HERE = "trained_here"


def made_here(path: str) -> bool:
    """Whether a configured path is one that a rule of the workflow writes, or the word for it."""
    if path == TRAINED_HERE:
        return True
    parts = PurePath(place(path)).parts
    return any(parts[: folder.count("/") + 1] == PurePath(folder).parts for folder in MADE_HERE)


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
