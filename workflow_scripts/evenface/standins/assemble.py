"""Functions that stand-in formats share: rows of rendered parts, pictures on disk, the table of truth, the note."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.names import inside
from evenface.parts import StandinFormat, part
from evenface.seeds import seed_from
from evenface.storage.atomic import atomic_path
from evenface.storage.shards import read_shard
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS

NOTE = """This is a stand-in, not {real}.

Its faces are parametric renderings made by evenface from a declared distribution; no photograph and
no person is in it. The files have the published formats, so that the same readers serve both.
Labels are known from the rendering, with the label noise the configuration declares.
standin_truth.parquet holds what was really rendered. Do not report results on it as results on {real}.
"""


def sorted_rows(parts: Sequence[str | os.PathLike]) -> pd.DataFrame:
    """The rows of all rendered parts, by identity and picture, with the ``part`` each is in."""
    frames = []
    for path in parts:
        with read_shard(path) as shard:
            frames.append(shard.table.assign(part=str(path)))
    table = pd.concat(frames, ignore_index=True)
    return table.sort_values(["identity", "index"], ignore_index=True)


def shuffled(table: pd.DataFrame, name: str, seed: int) -> pd.DataFrame:
    """The rows in an order that says nothing of them; it depends on the stand-in's ``name`` and the ``seed``."""
    order = [seed_from(seed, name, "order", image) for image in table["image_id"]]
    return table.assign(shuffle=order).sort_values("shuffle", ignore_index=True)


def write_images(table: pd.DataFrame, folder: Path, *within: str) -> None:
    """Write every image under its final ``name`` and remove files that belong to no row.

    If names begin with folders that hold the pictures, ``within`` names these; only they are looked through.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(table["name"])
    for old in [old for place in within or ("",) for old in (folder / place).rglob("*.jpg")]:
        if old.relative_to(folder).as_posix() not in wanted:
            old.unlink()
    for path, rows in table.groupby("part"):
        with read_shard(path) as shard:
            for member, name in zip(rows["member"], rows["name"], strict=True):
                with atomic_path(inside(folder, name, path)) as temporary:
                    temporary.write_bytes(shard.image_bytes(member))


def truth_table(table: pd.DataFrame, truths: list[dict[str, Any]]) -> pd.DataFrame:
    """What was really rendered, one row per picture."""
    columns: dict[str, Any] = {"image": table["name"], "identity": table["identity_name"].astype(str)}
    for dimension in DIMENSIONS:
        columns[dimension] = [t[dimension] for t in truths]
    if any("expression" in t for t in truths):
        columns["expression"] = [t.get("expression", "") for t in truths]
    columns["years"] = np.array([t["years"] for t in truths], np.float32)
    for a in CELEBA_ATTRIBUTES:
        columns[a] = np.array([t["attributes"][a] for t in truths], np.int8)
    columns["face"] = [json.dumps(t["face"], sort_keys=True) for t in truths]
    return pd.DataFrame(columns)


def assemble(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Assemble a stand-in in the format that its configuration names."""
    part(StandinFormat, config["format"], f"standins.{name}.format").load()(name, config, seed, parts, outputs)
