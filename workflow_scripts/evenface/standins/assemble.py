"""Write the rendered parts to disk in exactly the published file formats."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.seeds import seed_from
from evenface.standins.labels import celeba_row, maad_row
from evenface.standins.population import StandinSettings
from evenface.storage.atomic import atomic_path, write_text
from evenface.storage.shards import read_shard
from evenface.storage.tables import write_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, MAAD_ATTRIBUTES

_NOTE = """This is a stand-in, not {real}.

Its faces are parametric renderings made by evenface from a declared distribution; no photograph and
no person is in it. The files have the published formats, so that the same readers serve both.
Labels are known from the rendering, with the label noise the configuration declares.
standin_truth.parquet holds what was really rendered. Do not report results on it as results on {real}.
"""


def _rows(parts: Sequence[str | os.PathLike]) -> pd.DataFrame:
    frames = []
    for path in parts:
        with read_shard(path) as shard:
            frames.append(shard.table.assign(part=str(path)))
    table = pd.concat(frames, ignore_index=True)
    return table.sort_values(["identity", "index"], ignore_index=True)


def _write_images(table: pd.DataFrame, folder: Path) -> None:
    """Write every image under its final ``name`` and remove files that belong to no row."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(table["name"])
    for old in folder.rglob("*.jpg"):
        if old.relative_to(folder).as_posix() not in wanted:
            old.unlink()
    for path, rows in table.groupby("part"):
        with read_shard(path) as shard:
            for member, name in zip(rows["member"], rows["name"], strict=True):
                with atomic_path(folder / name) as temporary:
                    temporary.write_bytes(shard.image_bytes(member))


def _truth_table(table: pd.DataFrame, truths: list[dict[str, Any]]) -> pd.DataFrame:
    columns: dict[str, Any] = {"image": table["name"], "identity": table["identity_name"].astype(str)}
    for dimension in DIMENSIONS:
        columns[dimension] = [t[dimension] for t in truths]
    columns["years"] = np.array([t["years"] for t in truths], np.float32)
    for a in CELEBA_ATTRIBUTES:
        columns[a] = np.array([t["attributes"][a] for t in truths], np.int8)
    columns["face"] = [json.dumps(t["face"], sort_keys=True) for t in truths]
    return pd.DataFrame(columns)


def assemble_celeba(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Write CelebA's layout around ``outputs``: attributes, partition, identity (txt) and truth (Parquet).

    Images go to ``img_align_celeba`` beside the attribute file, numbered from 000001 with the
    training images first, as in CelebA; within a split their order is shuffled.
    """
    settings = StandinSettings.from_config(name, config)
    table = _rows(parts)
    rank = table["split"].map({"train": 0, "val": 1, "test": 2})
    shuffle = [seed_from(seed, name, "order", i) for i in table["image_id"]]
    table = table.assign(rank=rank, shuffle=shuffle).sort_values(["rank", "shuffle"], ignore_index=True)
    table["name"] = [f"{i:06d}.jpg" for i in range(1, len(table) + 1)]
    numbers = np.random.Generator(np.random.PCG64(seed_from(seed, name, "identity numbers"))).permutation(10_177) + 1
    table["identity_name"] = [int(numbers[i % len(numbers)]) + 10_177 * (i // len(numbers)) for i in table["identity"]]
    truths = [json.loads(t) for t in table["truth"]]
    root = Path(outputs["attributes"]).parent
    _write_images(table, root / "img_align_celeba")

    def attribute_lines() -> Iterator[str]:
        yield str(len(table))
        yield " ".join(CELEBA_ATTRIBUTES) + " "
        for image, image_id, truth in zip(table["name"], table["image_id"], truths, strict=True):
            labels = celeba_row(truth, settings.label_noise, seed, name, image_id)
            yield image + " " + " ".join(f"{labels[a]:2d}" for a in CELEBA_ATTRIBUTES)

    write_text(root / "README.txt", _NOTE.format(real="CelebA"))
    write_text(outputs["partition"], "".join(f"{n} {r}\n" for n, r in zip(table["name"], table["rank"], strict=True)))
    write_text(
        outputs["identity"], "".join(f"{n} {i}\n" for n, i in zip(table["name"], table["identity_name"], strict=True))
    )
    write_table(_truth_table(table, truths), outputs["truth"], kind="standin_truth", meta={"standin": name})
    write_text(outputs["attributes"], "\n".join(attribute_lines()) + "\n")


def assemble_vggface2(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Write VGGFace2's layout (``test/n000001/0001_01.jpg``) and ``MAAD_Face.csv`` around ``outputs``."""
    settings = StandinSettings.from_config(name, config)
    table = _rows(parts)
    table["identity_name"] = [f"n{i + 1:06d}" for i in table["identity"]]
    table["name"] = [f"{i}/{k + 1:04d}_01.jpg" for i, k in zip(table["identity_name"], table["index"], strict=True)]
    truths = [json.loads(t) for t in table["truth"]]
    root = Path(outputs["attributes"]).parent
    _write_images(table, root / "test")

    def lines() -> Iterator[str]:
        yield ",".join(("Filename", "Identity", *MAAD_ATTRIBUTES))
        for file, identity, image_id, truth in zip(
            table["name"], table["identity"], table["image_id"], truths, strict=True
        ):
            labels = maad_row(truth, settings.label_noise, settings.undefined_rate, seed, name, image_id)
            yield ",".join([file, str(identity + 1), *(str(labels[a]) for a in MAAD_ATTRIBUTES)])

    write_text(root / "README.txt", _NOTE.format(real="VGGFace2 with MAAD-Face"))
    write_table(_truth_table(table, truths), outputs["truth"], kind="standin_truth", meta={"standin": name})
    write_text(outputs["attributes"], "\n".join(lines()) + "\n")


def assemble(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Assemble a stand-in in the format its configuration names."""
    {"celeba": assemble_celeba, "vggface2": assemble_vggface2}[config["format"]](name, config, seed, parts, outputs)
