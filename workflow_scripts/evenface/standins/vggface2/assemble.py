"""VGGFace2's published files, with MAAD-Face's labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evenface.standins.assemble import NOTE, sorted_rows, truth_table, write_images
from evenface.standins.labels import maad_row
from evenface.standins.population import settings_of
from evenface.storage.atomic import write_text
from evenface.storage.tables import write_table
from evenface.taxonomy import MAAD_ATTRIBUTES


def assemble_vggface2(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Write VGGFace2's layout (``test/n000001/0001_01.jpg``) and ``MAAD_Face.csv`` around ``outputs``."""
    settings = settings_of(name, config)
    table = sorted_rows(parts)
    table["identity_name"] = [f"n{i + 1:06d}" for i in table["identity"]]
    table["name"] = [f"{i}/{k + 1:04d}_01.jpg" for i, k in zip(table["identity_name"], table["index"], strict=True)]
    truths = [json.loads(t) for t in table["truth"]]
    root = Path(outputs["attributes"]).parent
    write_images(table, root / "test")

    def lines() -> Iterator[str]:
        yield ",".join(("Filename", "Identity", *MAAD_ATTRIBUTES))
        for file, identity, image_id, truth in zip(
            table["name"], table["identity"], table["image_id"], truths, strict=True
        ):
            labels = maad_row(truth, settings.label_noise, settings.undefined_rate, seed, name, image_id)
            yield ",".join([file, str(identity + 1), *(str(labels[a]) for a in MAAD_ATTRIBUTES)])

    write_text(root / "README.txt", NOTE.format(real="VGGFace2 with MAAD-Face"))
    write_table(truth_table(table, truths), outputs["truth"], kind="standin_truth", meta={"standin": name})
    write_text(outputs["attributes"], "\n".join(lines()) + "\n")
