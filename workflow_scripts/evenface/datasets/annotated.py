"""Demographics of a data set from an annotator, instead of its own labels."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets.faces import check_faces, note_words, support, translated
from evenface.errors import UserError
from evenface.plan.generators import ANNOTATED
from evenface.storage.atomic import atomic_path, write_json
from evenface.storage.tables import read_table, table_meta, write_table
from evenface.taxonomy import UNKNOWN, study, study_levels

log = logging.getLogger("evenface")


def with_annotated(
    faces: pd.DataFrame,
    annotation: pd.DataFrame,
    annotator: str,
    dimensions: Sequence[str],
    vocabulary: Mapping[str, Sequence[str]] | None = None,
    own: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A faces table whose ``dimensions``, and others that it answered, are an annotator's answers; and counts for the summary.

    ``annotation`` has a row per image (:func:`evenface.annotators.annotating.annotation_frame`). Its levels are mapped to those of
    the ``vocabulary`` (by default the study's) by name; ``own`` says what words mean (``datasets.<name>.levels``). A face without an answer
    is unknown. The other dimensions keep the data set's labels. Raises UserError for an annotation of other images, and for a
    dimension that the study does not have.
    """
    name, vocabulary = faces["dataset"].iloc[0] if len(faces) else "faces", vocabulary or study()
    answers = annotation.set_index("image_id")
    if answers.index.has_duplicates or not answers.index.sort_values().equals(
        pd.Index(faces["image_id"]).sort_values()
    ):
        raise UserError(
            f"data set {name}: the answers of {annotator} are about other images; delete data/faces/{name}.{annotator}.parquet and "
            "run again"
        )
    answers = answers.loc[faces["image_id"]]
    faces, words = faces.copy(), {}
    # The network that is trained here may also answer dimensions of the user's own.
    used = [d for d in vocabulary if d in dimensions or (d in answers and answers[d].ne(UNKNOWN).any())]
    for dimension in used:
        texts = answers[dimension].to_numpy(object)
        where = f"data set {name}, annotated by {annotator}"
        found = translated(texts, dimension, vocabulary[dimension], (own or {}).get(dimension, {}), where)
        if other := note_words(texts, found, f"{where}, {dimension}"):
            words[dimension] = other
        faces[dimension] = found
    rest = [dimension for dimension in vocabulary if dimension not in used]
    label = f"{ANNOTATED}{annotator}" + (f" ({', '.join(used)})" if rest else "")
    kept = f"; {faces['demographics_source'].iloc[0]}" if rest and len(faces) else ""
    faces["demographics_source"] = label + kept
    failures = answers["failure"][answers["failure"] != ""].value_counts().sort_index()
    counts: dict[str, Any] = {
        "demographics_from": annotator,
        "faces_without_an_answer": {reason: int(count) for reason, count in failures.items()},
        "unknown": {dimension: int(np.sum(faces[dimension] == UNKNOWN)) for dimension in used},
    }
    return faces, {**counts, "levels_from_answers": words} if words else counts


def write_annotated(
    faces: str | os.PathLike,
    rejected: str | os.PathLike,
    summary: str | os.PathLike,
    annotation: str | os.PathLike,
    recipe: Mapping[str, Any],
    *,
    out_faces: str | os.PathLike,
    out_rejected: str | os.PathLike,
    out_summary: str | os.PathLike,
) -> None:
    """Write the three files of a data set, with the demographics of an annotator; see :func:`with_annotated`.

    ``recipe`` has annotator, dimensions, levels (of the data set) and vocabulary (of the study, or {}).
    """
    vocabulary = study_levels(recipe["vocabulary"])
    table, counts = with_annotated(
        read_table(faces),
        read_table(annotation),
        recipe["annotator"],
        recipe["dimensions"],
        vocabulary,
        recipe["levels"],
    )
    check_faces(table, str(out_faces), vocabulary=vocabulary)
    for key, value in counts.items():
        log.info("%s: %s", key, value)
    known = json.loads(Path(summary).read_text(encoding="utf-8"))
    with atomic_path(out_rejected) as temporary:
        shutil.copyfile(rejected, temporary)
    write_json(out_summary, {**known, **counts, "groups": support(table, vocabulary)})
    meta = {key: value for key, value in table_meta(faces).items() if key in ("reader", "settings")}
    write_table(table, out_faces, kind="faces", meta={**meta, "demographics_from": recipe["annotator"]})
