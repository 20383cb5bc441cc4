"""FER2013's published file: a table of expressions and of the pixels of gray pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.standins.assemble import NOTE, shuffled, sorted_rows, truth_table
from evenface.standins.labels import class_label
from evenface.standins.population import settings_of
from evenface.storage.atomic import write_text
from evenface.storage.csv import write_csv
from evenface.storage.shards import read_shard
from evenface.storage.tables import write_table
from evenface.taxonomy import DEEPFACE_EMOTION

_USAGE = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}


def assemble_fer2013(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Write ``fer2013.csv`` (emotion, pixels, Usage) and the truth (Parquet) around ``outputs``.

    The rows for training come first, as in FER2013. The truth names a picture by its line in the file (``00002`` is the first).
    """
    settings = settings_of(name, config)
    table = shuffled(sorted_rows(parts), name, seed)
    table = table.sort_values("split", key=lambda s: s.map(list(_USAGE).index), kind="stable", ignore_index=True)
    table["name"] = [f"{line:05d}" for line in range(2, len(table) + 2)]
    table["identity_name"] = table["identity"].astype(str)
    truths = [json.loads(t) for t in table["truth"]]
    labels = [
        class_label(t["expression"], DEEPFACE_EMOTION, settings.label_noise, seed, name, image, "expression")
        for image, t in zip(table["image_id"], truths, strict=True)
    ]
    pixels: dict[str, str] = {}
    for path, rows in table.groupby("part"):
        with read_shard(path) as shard:
            for image, member in zip(rows["image_id"], rows["member"], strict=True):
                pixels[image] = " ".join(map(str, _gray(shard.image(member)).ravel().tolist()))
    written = pd.DataFrame(
        {
            "emotion": [DEEPFACE_EMOTION.index(label) for label in labels],
            "pixels": table["image_id"].map(pixels),
            "Usage": table["split"].map(_USAGE),
        }
    )
    write_text(Path(outputs["table"]).parent / "README.txt", NOTE.format(real="FER2013"))
    write_table(truth_table(table, truths), outputs["truth"], kind="standin_truth", meta={"standin": name})
    write_csv(written, outputs["table"])


def _gray(image: np.ndarray) -> np.ndarray:
    """Gray uint8 (rows, columns) of half the size of an RGB uint8 picture, in whole numbers, alike on every processor."""
    luma = image.astype(np.int64) @ np.array([299, 587, 114])
    rows, columns = (side // 2 for side in luma.shape)
    blocks = luma[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2).sum((1, 3))
    return ((blocks + 2000) // 4000).astype(np.uint8)
