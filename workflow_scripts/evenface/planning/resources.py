"""What jobs need of a machine, from the configuration and from what is known of the data."""

from __future__ import annotations

import json
from pathlib import Path

#: Images that a test set is taken to have before it was read: VGGFace2's has 169,396.
_IMAGES = 170_000


def fairness_mem_mb(models: int, attributes: int, images: int | None = None, replicates: int = 1000) -> int:
    """Megabytes of memory that the fairness job asks for.

    ``models`` are runs times seeds, ``images`` those of the test set (None where it was not read yet),
    ``replicates`` the larger of n_boot and n_perm. Libraries and one block of replicates take 800 MB at most,
    the rows of the tables up to 2.5 MB per model and attribute, one table of predictions at a time up to 20 bytes
    per image and attribute, and the draws 4 bytes per image and replicate where every image is a person of its own.
    """
    images = _IMAGES if images is None else images
    return round(800 + 2.5 * models * attributes + (20 * attributes + 4 * replicates) * images / 1e6)


def images_of(summary: str | Path, split: str) -> int | None:
    """Images of a split by the summary that reading a data set writes; None where there is none yet."""
    try:
        return int(json.loads(Path(summary).read_text(encoding="utf-8"))["splits"][split])
    except (OSError, ValueError, KeyError, TypeError):
        return None
