"""UTKFace's published files: aligned pictures whose names are the labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from evenface.seeds import seed_from
from evenface.standins.assemble import NOTE, shuffled, sorted_rows, truth_table, write_images
from evenface.standins.labels import class_label
from evenface.standins.population import settings_of
from evenface.storage.atomic import write_text
from evenface.storage.tables import write_table

#: The published names that lack a field. The labels of these pictures are not known.
MALFORMED = ("39_1_20170116174525125", "61_1_20170109150557335", "61_1_20170109142408075")

_GENDERS = ("male", "female")
_FIRST = datetime(2017, 1, 9, 12)


def assemble_utkface(
    name: str, config: Mapping[str, Any], seed: int, parts: Sequence[str | os.PathLike], outputs: Mapping[str, str]
) -> None:
    """Write ``UTKFace/[age]_[gender]_[race]_[date&time].jpg.chip.jpg`` and the truth (Parquet) beside it.

    Gender is 0 male or 1 female, race the place among UTKFace's five. Times are drawn and differ. If the settings say so,
    the last three pictures have the three published names that lack a field.
    """
    settings = settings_of(name, config)
    table = shuffled(sorted_rows(parts), name, seed)
    table["identity_name"] = table["identity"].astype(str)
    truths = [json.loads(t) for t in table["truth"]]
    stems = []
    for place, (image, truth) in enumerate(zip(table["image_id"], truths, strict=True)):
        codes = [
            levels.index(class_label(truth[what], levels, settings.label_noise, seed, name, image, what))
            for what, levels in (("gender", _GENDERS), ("ethnicity", settings.ethnicities))
        ]
        time = _FIRST + timedelta(seconds=20 * place, milliseconds=seed_from(seed, name, "time", image) % 20_000)
        stems.append(f"{int(truth['years'])}_{codes[0]}_{codes[1]}_{time:%Y%m%d%H%M%S}{time.microsecond // 1000:03d}")
    if settings.malformed_names:
        count = min(len(MALFORMED), len(stems))
        stems[len(stems) - count :] = MALFORMED[:count]
    table["name"] = [f"{stem}.jpg.chip.jpg" for stem in stems]
    root = Path(outputs["truth"]).parent
    write_images(table, root / "UTKFace")
    write_text(root / "README.txt", NOTE.format(real="UTKFace"))
    write_table(truth_table(table, truths), outputs["truth"], kind="standin_truth", meta={"standin": name})
