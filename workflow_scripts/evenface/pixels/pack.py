"""Packs the pixels of a faces table (rule ``pack``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from evenface.pixels.faces import digest_of_checksums
from evenface.pixels.store import Pack, write_pack
from evenface.storage.atomic import write_json


def pack_faces(
    faces: pd.DataFrame, recipe: Mapping[str, Any], descriptor: str | os.PathLike, *, threads: int = 1
) -> None:
    """Write the pixels of the rows of ``faces`` that have one of the recipe's splits, and a JSON file about them.

    ``recipe``: splits, size (width, height), crop, and store and reserve_gb as in the configuration's ``pixels``.
    The pixels lie beside the JSON file ``descriptor``, with the suffix .pixels. The JSON file says what they are, how
    they are kept and why, and which pictures cannot be read.
    """
    descriptor = Path(descriptor)
    path = descriptor.with_suffix(".pixels")
    rows = faces.loc[faces["split"].isin(recipe["splits"]), ["image_id", "image"]].reset_index(drop=True)
    storage = write_pack(
        path, rows, tuple(reversed(recipe["size"])), crop=recipe["crop"], store=recipe["store"],
        reserve=round(recipe["reserve_gb"] * 1e9), threads=threads, label=descriptor.stem,
    )  # fmt: skip
    index = Pack(path).index
    described = {key: recipe[key] for key in ("splits", "size", "crop")}
    described |= {
        "images": len(index),
        "unreadable": index.loc[index["reason"] != "", "image_id"].tolist(),
        "pixels": digest_of_checksums(index["checksum"]),
        "storage": asdict(storage),
    }
    write_json(descriptor, described)
