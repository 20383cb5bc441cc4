"""Compares annotators over a whole generated set: with each other, with the truth, and with the prompts' requests."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from evenface.annotators.confusion import COLUMNS, confusion
from evenface.audit.agreement import agreement
from evenface.checkpoints.origin import gathered
from evenface.datasets.annotated import with_annotated
from evenface.datasets.faces import attribute_columns
from evenface.datasets.synthetic import demographics_in_use, shard_demographics
from evenface.plan.generators import REQUESTED
from evenface.storage.atomic import write_json
from evenface.storage.csv import write_csv
from evenface.storage.tables import read_table, read_tables, table_meta
from evenface.taxonomy import UNKNOWN, study, study_levels

log = logging.getLogger("evenface")

#: As the reference of a confusion table: a data set's own labels.
LABELS = "labels"


def write_comparison(
    shards: Sequence[str],
    tables: Mapping[str, Sequence[str]],
    attributes: Sequence[str],
    agreement_path: str | os.PathLike,
    confusion_path: str | os.PathLike,
    annotators_path: str | os.PathLike,
    demographics: str | os.PathLike | None = None,
) -> None:
    """Write two CSV tables on the annotators of some shards, and a JSON file.

    ``tables`` maps an annotator to its annotation tables. ``agreement_path`` compares every pair, see
    :func:`evenface.audit.agreement.agreement`. ``confusion_path`` compares every annotator with the
    generator's truth, if the annotators include it, and with what the prompts asked for, if they reach the generator.
    Its columns are ``reference`` (ground_truth or requested), ``annotator``, and those of
    :mod:`evenface.annotators.confusion`. Both files compare ``attributes`` and the demographic dimensions, on
    images that screening accepted. Groups are those of the table ``demographics``, see
    :func:`evenface.datasets.synthetic.demographics_in_use`; the column ``demographics`` says where they come from.
    ``annotators_path`` holds for every annotator the number of images that it got, ``failures`` (reason -> images without
    an answer), and the verdicts on its ``weights``.
    """
    columns, labels = ["image_id", *study(), "failure"], [f"label_{name}" for name in attributes]
    annotations = {name: read_tables(paths, columns=columns, optional=labels) for name, paths in tables.items()}
    write_json(annotators_path, {name: _described(annotations[name], tables[name]) for name in annotations})
    requested, (people, source) = shard_demographics(shards), demographics_in_use(shards, demographics)
    agreed = agreement(annotations, people).rename(columns={"name": "subject"})
    write_csv(agreed.assign(demographics=source), agreement_path)
    write_csv(confusions(annotations, requested, attributes, people).assign(demographics=source), confusion_path)


def write_dataset_confusion(
    faces: str | os.PathLike, annotation: str | os.PathLike, recipe: Mapping[str, Any], out: str | os.PathLike
) -> None:
    """Write how often each of a data set's labels got each answer of an annotator, as CSV.

    ``recipe`` has the annotator, its dimensions, the ``levels`` of the data set and the ``vocabulary`` of the study (or {}).
    Columns: ``reference`` (labels), ``annotator``, and those of :mod:`evenface.annotators.confusion`. Compared are
    dimensions that the annotator answers and the data set labels, and attributes that both have. Groups are those of the labels. If
    nothing can be compared, the table has no rows, and a warning says so.
    """
    name, vocabulary = recipe["annotator"], study_levels(recipe["vocabulary"])
    truth, answers = read_table(faces), read_table(annotation)
    source = truth["dataset"].iloc[0] if len(truth) else Path(faces).name
    regrouped, counts = with_annotated(truth, answers, name, recipe["dimensions"], vocabulary, recipe["levels"])
    answers = answers.set_index("image_id").loc[truth["image_id"]].reset_index()
    for dimension in vocabulary:
        answered = dimension in counts["unknown"] and regrouped[dimension].ne(UNKNOWN).any()
        if answered and truth[dimension].ne(UNKNOWN).any():
            answers[dimension] = regrouped[dimension].to_numpy(object)
        elif dimension in answers:
            del answers[dimension]
    attributes = [a for a in attribute_columns(truth) if f"label_{a}" in answers]
    table = confusion(truth, answers, attributes, vocabulary=vocabulary)
    if table.empty:
        log.warning(
            "data set %s: it labels nothing that the annotator %s answers, so nothing is compared", source, name
        )
    table.insert(0, "annotator", name)
    table.insert(0, "reference", LABELS)
    write_csv(table, out)


def _described(annotation: pd.DataFrame, tables: Sequence[str]) -> dict[str, Any]:
    shown = annotation["failure"][annotation["failure"] != "not_accepted"]
    failures = shown[shown != ""].value_counts().sort_index()
    return {
        "images": len(shown),
        "failures": {reason: int(count) for reason, count in failures.items()},
        "weights": gathered(map(table_meta, tables)),
    }


def confusions(
    annotations: Mapping[str, pd.DataFrame],
    requested: pd.DataFrame,
    attributes: Sequence[str],
    people: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The confusion table of :func:`write_comparison`.

    ``requested``, and ``people`` for the groups (the same by default), have image_id and the dimensions.
    """
    people = requested if people is None else people
    parts = []
    asked = requested[list(study())].ne(UNKNOWN).any(axis=None)
    for name, table in annotations.items():
        shown = table[table["failure"] != "not_accepted"]
        wanted, groups = (one.set_index("image_id").loc[shown["image_id"]].reset_index() for one in (requested, people))
        references = {REQUESTED: wanted.assign(**dict.fromkeys(attributes, 0))} if asked else {}
        if "ground_truth" in annotations and name != "ground_truth":
            truth = annotations["ground_truth"].set_index("image_id").loc[shown["image_id"]].reset_index()
            known = {a: truth[f"label_{a}"] if f"label_{a}" in truth else 0 for a in attributes}
            references = {"ground_truth": truth.assign(**known), **references}
        for reference, truth in references.items():
            answered = [a for a in attributes if f"label_{a}" in table and reference != REQUESTED]
            counted = confusion(truth, shown.reset_index(drop=True), answered, groups)
            silent = [d for d, levels in study().items() if not shown[d].isin(levels).any()]
            counted = counted[~counted["head"].isin(silent)]  # dimensions the annotator does not answer
            counted.insert(0, "annotator", name)
            counted.insert(0, "reference", reference)
            parts.append(counted)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["reference", "annotator", *COLUMNS])
