"""How paths and sizes of assets are written. It imports nothing of evenface, so jobs need not load the registry."""

from __future__ import annotations

import os
from pathlib import PurePath

#: Largest download, in bytes, if the registry states neither size nor bound.
MAX_BYTES = 20 * 10**9

#: Folders that the workflow's own rules fill; the user need not provide files in them.
MADE_HERE = ("results", "data/standins", "data/synthetic", "data/faces")

#: The model that is part of the repository.
SHIPPED = "models/text-to-face"

#: Folders of the text-to-face model, which learned from renderings: as shipped, and as the workflow trains it anew.
RENDERED_MODELS = (SHIPPED, "results/text_to_face/model")

#: The value of a key for weights that a rule of the workflow trains.
TRAINED_HERE = "trained_here"


def made_here(path: str) -> bool:
    """Whether a rule of the workflow writes a configured path; also true for ``trained_here``."""
    if path == TRAINED_HERE:
        return True
    parts = PurePath(place(path)).parts
    return any(parts[: folder.count("/") + 1] == PurePath(folder).parts for folder in MADE_HERE)


def place(path: str | os.PathLike) -> str:
    """A path in one spelling: relative if it is below the working directory, else absolute."""
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
