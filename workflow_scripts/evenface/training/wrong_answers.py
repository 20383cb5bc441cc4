"""What a classifier gets wrong on its validation images, as a table of initial images for a generator.

The test images are left out on purpose: faces that are generated from them would carry them into the training.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.checkpoints import load_model
from evenface.decisions import selected
from evenface.storage.csv import write_csv
from evenface.storage.tables import read_table
from evenface.targets import blocks, decided
from evenface.taxonomy import UNKNOWN, study
from evenface.training.composition import validation_faces
from evenface.training.prediction import predict

log = logging.getLogger("evenface")


def write_wrong_answers(
    model: str | os.PathLike,
    tables: Mapping[str, str | os.PathLike],
    recipe: Mapping[str, Any],
    out: str | os.PathLike,
    *,
    packs: Sequence[str | os.PathLike] = (),
    threads: int = 1,
    device: str = "auto",
    label: str = "wrong answers",
) -> pd.DataFrame:
    """Write the validation images of a run for which an answer of ``model`` differs from its label; returns the table too.

    ``tables`` maps real and synthetic to the run's faces tables, ``recipe`` has ``crop`` and ``max_unreadable``. One row per
    image: ``image``; ``gender``, ``age`` and ``ethnicity``, empty where unknown; ``image_id``, ``identity_id``; ``wrong``, the
    names of the wrong answers, joined by a semicolon; then per attribute and per class of a target ``label_`` (1, -1, 0),
    ``pred_`` (1, 0) and ``score_`` in [0, 1]. The setting ``initial`` of a generator reads this table as it is.
    """
    faces = validation_faces({origin: read_table(path) for origin, path in tables.items()})
    with tempfile.TemporaryDirectory(dir=Path(out).parent) as folder:
        answers = predict(
            model, faces, Path(folder) / "predictions.parquet", split="val", crop=recipe["crop"], threads=threads,
            device=device, label=label, max_unreadable=recipe["max_unreadable"], packs=packs,
        )  # fmt: skip
    thresholds = load_model(model, "cpu")[1]["thresholds"]
    names = [column.removeprefix("score_") for column in answers if column.startswith("score_")]
    found, wrong = {}, {}
    for name in thresholds:
        if name in names:
            found[name] = selected(answers[f"score_{name}"].to_numpy(), thresholds[name])
            labels = answers[f"label_{name}"].to_numpy()
            wrong[name] = (labels != 0) & (found[name] != (labels > 0))
    for target, place in blocks(names).items():
        own = names[place]
        chosen = decided(answers[[f"score_{name}" for name in own]].to_numpy())
        found |= {name: chosen == k for k, name in enumerate(own)}
        wrong[target] = ((answers[f"label_{target}"] > 0) & (answers[f"pred_{target}"] == 0)).to_numpy()
    texts = np.array([";".join(n for n, is_wrong in zip(wrong, row, strict=True) if is_wrong) for row in zip(*wrong.values(), strict=True)])  # fmt: skip
    images = faces.set_index("image_id")["image"]
    table = pd.DataFrame(
        {
            "image": images.loc[answers["image_id"]].to_numpy(),
            **{d: answers[d].astype(object).where(answers[d] != UNKNOWN, "") for d in study() if d in answers},
            **{column: answers[column] for column in ("image_id", "identity_id")},
            "wrong": texts,
        }
    )
    columns = {}
    for name in names:
        columns |= {
            f"label_{name}": answers[f"label_{name}"],
            f"pred_{name}": found[name].astype(np.int8),
            f"score_{name}": answers[f"score_{name}"],
        }
    table = pd.concat([table, pd.DataFrame(columns)], axis=1)[texts != ""].reset_index(drop=True)
    log.info("%s: %d of %d validation images have a wrong answer", label, len(table), len(answers))
    write_csv(table, out)
    return table
