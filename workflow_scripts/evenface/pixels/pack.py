"""What the rule ``pack`` does, and the names of what it writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from evenface.pixels.faces import digest_of_checksums
from evenface.pixels.store import Pack, write_pack
from evenface.storage.atomic import write_json


def pack_faces(
    faces: pd.DataFrame,
    recipe: Mapping[str, Any],
    descriptor: str | os.PathLike,
    storage: str | os.PathLike,
    *,
    threads: int = 1,
) -> None:
    """Write the pixels of the rows of ``faces`` that have one of the recipe's splits, and what they are.

    ``recipe``: splits, size (width, height), crop, and store and reserve_gb as in the configuration's ``pixels``.
    The pixels lie beside ``descriptor`` (JSON: what they are, the same whatever the store) with the suffix .pixels;
    ``storage`` (JSON) says how they are kept and why. Trainings depend on the descriptor alone, so that packing again
    in another way repeats none.
    """
    descriptor = Path(descriptor)
    path = descriptor.with_suffix(".pixels")
    rows = faces.loc[faces["split"].isin(recipe["splits"]), ["image_id", "image"]].reset_index(drop=True)
    kept = write_pack(
        path, rows, tuple(reversed(recipe["size"])), crop=recipe["crop"], store=recipe["store"],
        reserve=round(recipe["reserve_gb"] * 1e9), threads=threads, label=descriptor.stem,
    )  # fmt: skip
    pack = Pack(path)
    unreadable = pack.index[pack.index["reason"] != ""]
    write_json(storage, {"store": kept.store, "why": kept.why, "bytes": kept.bytes, "file": path.name})
    write_json(
        descriptor,
        {
            "splits": list(recipe["splits"]),
            "size": list(recipe["size"]),
            "crop": recipe["crop"],
            "images": len(pack),
            "unreadable": unreadable["image_id"].tolist(),
            "pixels": digest_of_checksums(pack.index["checksum"]),
        },
    )
