"""CelebA's published files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenface.seeds import seed_from
from evenface.standins.assemble import NOTE, shuffled, sorted_rows, truth_table, write_images
from evenface.standins.labels import celeba_row
from evenface.standins.population import settings_of
from evenface.storage.atomic import write_text
from evenface.storage.tables import write_table
from evenface.taxonomy import CELEBA_ATTRIBUTES


def assemble_celeba(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Write CelebA's layout around ``outputs``: attributes, partition, identity (txt) and truth (Parquet).

    Images go to ``img_align_celeba`` beside the attribute file, numbered from 000001 with the
    training images first, as in CelebA; within a split their order is shuffled.
    """
    settings = settings_of(name, config)
    table = shuffled(sorted_rows(parts), name, seed)
    table["rank"] = table["split"].map({"train": 0, "val": 1, "test": 2})
    table = table.sort_values("rank", kind="stable", ignore_index=True)
    table["name"] = [f"{i:06d}.jpg" for i in range(1, len(table) + 1)]
    numbers = np.random.Generator(np.random.PCG64(seed_from(seed, name, "identity numbers"))).permutation(10_177) + 1
    table["identity_name"] = [int(numbers[i % len(numbers)]) + 10_177 * (i // len(numbers)) for i in table["identity"]]
    truths = [json.loads(t) for t in table["truth"]]
    root = Path(outputs["attributes"]).parent
    write_images(table, root / "img_align_celeba")

    def attribute_lines() -> Iterator[str]:
        yield str(len(table))
        yield " ".join(CELEBA_ATTRIBUTES) + " "
        for image, image_id, truth in zip(table["name"], table["image_id"], truths, strict=True):
            labels = celeba_row(truth, settings.label_noise, seed, name, image_id)
            yield image + " " + " ".join(f"{labels[a]:2d}" for a in CELEBA_ATTRIBUTES)

    write_text(root / "README.txt", NOTE.format(real="CelebA"))
    write_text(outputs["partition"], "".join(f"{n} {r}\n" for n, r in zip(table["name"], table["rank"], strict=True)))
    write_text(
        outputs["identity"], "".join(f"{n} {i}\n" for n, i in zip(table["name"], table["identity_name"], strict=True))
    )
    write_table(truth_table(table, truths), outputs["truth"], kind="standin_truth", meta={"standin": name})
    write_text(outputs["attributes"], "\n".join(attribute_lines()) + "\n")
