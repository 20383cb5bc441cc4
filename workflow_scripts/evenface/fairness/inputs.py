"""Checks and joins the three input tables; errors name the table, row and column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evenface.errors import UserError, unknown_name
from evenface.fairness.cube import CellSpace, Cube, count
from evenface.fairness.settings import FairnessSettings
from evenface.taxonomy import LABEL_CODINGS, UNKNOWN

_SCORE, _PRED, _LABEL = "score_", "pred_", "label_"


@dataclass(frozen=True)
class TestSet:
    """Labels and groups of one set of images, in one order, with the recorded facts about the set.

    image_id     pandas Index, unique
    labels       attribute -> (n,) int8 in {+1, -1, 0 undefined}
    cells        (n,) int64 demographic cell
    """

    image_id: pd.Index
    labels: dict[str, np.ndarray]
    label_source: dict[str, str]
    cells: np.ndarray
    space: CellSpace
    group_source: str
    dataset: str
    split: str
    counts: dict[str, int]


@dataclass(frozen=True)
class Scored:
    """One model on one test set: its count cube, and how predictions were read."""

    cube: Cube
    thresholds: dict[str, float]  # NaN where the table gives decisions instead of scores
    cluster_unit: str
    skipped: dict[str, str]
    n_missing: int


def read_test_set(
    labels: pd.DataFrame, groups: pd.DataFrame, settings: FairnessSettings, attributes: set[str]
) -> TestSet:
    """Check and join labels and groups; only the labels of ``attributes`` are read.

    Labels: ``image_id`` and a column per attribute, named like it or with the prefix ``label_``.
    Groups: ``image_id``, a column per dimension, and optionally ``source``. Columns ``dataset``,
    ``split`` and ``label_source`` are kept. UserError names table, row and column.
    """
    label_name, group_name = _name(labels, "labels"), _name(groups, "groups")
    _check_ids(labels, label_name)
    _check_ids(groups, group_name)
    ids = _ids(labels)
    group_ids = _ids(groups)
    counts = {"labels": len(ids), "groups": len(group_ids)}
    ids = _common(ids, label_name, group_ids, group_name, settings)
    labels, groups = _align(labels, ids), _align(groups, ids)

    space = CellSpace({name: settings.levels[name] for name in settings.dimensions})
    codes = {name: _level_codes(groups, name, space.levels[name], group_name) for name in space.levels}
    values, sources = _labels(labels, label_name, settings, attributes)
    counts["joined"] = len(ids)
    return TestSet(
        image_id=ids,
        labels=values,
        label_source=sources,
        cells=space.codes(codes) if len(ids) else np.zeros(0, np.int64),
        space=space,
        group_source=_constant(groups, "source"),
        dataset=_constant(labels, "dataset"),
        split=_constant(labels, "split"),
        counts=counts,
    )


def read_predictions(predictions: pd.DataFrame, test: TestSet, settings: FairnessSettings) -> Scored:
    """Check one model's predictions against the test set and count outcomes.

    Predictions: ``image_id``, ``identity_id``, and ``score_<attribute>`` in [0, 1] or
    ``pred_<attribute>`` in {0, 1}. Without identities every image is its own cluster.
    """
    name = _name(predictions, "predictions")
    _check_ids(predictions, name)
    ids = _ids(predictions)
    common = _common(ids, name, test.image_id, "labels", settings)
    rows = ids.get_indexer(common)
    keep = test.image_id.get_indexer(common)

    columns, skipped = _prediction_columns(predictions, name, test, settings)
    thresholds: dict[str, float] = {}

    def outcomes() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for attribute, column in columns.items():
            decided, threshold = _decide(predictions, name, attribute, column, settings)
            thresholds[attribute] = threshold
            yield attribute, decided[rows], test.labels[attribute][keep]

    identities, unit = _identities(predictions, name)
    cube = count(identities[rows], test.cells[keep], test.space, outcomes())
    return Scored(cube, thresholds, unit, skipped, len(ids) + len(test.image_id) - 2 * len(common))


def read_decisions(
    predictions: pd.DataFrame, test: TestSet, attribute: str, settings: FairnessSettings
) -> tuple[np.ndarray, np.ndarray]:
    """For one attribute: rows (n,) of the test set that a model decided on, and its decisions (n,) int8."""
    name = _name(predictions, "predictions")
    _check_ids(predictions, name)
    ids = _ids(predictions)
    common = _common(ids, name, test.image_id, "labels", settings)
    columns, _ = _prediction_columns(predictions, name, test, settings.changed(attributes=(attribute,)))
    decided, _ = _decide(predictions, name, attribute, columns[attribute], settings)
    return test.image_id.get_indexer(common), decided[ids.get_indexer(common)]


def scored_attributes(names: Iterable[str], name: str = "predictions") -> dict[str, str]:
    """Attribute -> the column of ``names``, ``score_<attribute>`` or ``pred_<attribute>`` that predicts it."""
    columns: dict[str, str] = {}
    for column in map(str, names):
        for prefix in (_SCORE, _PRED):
            if column.startswith(prefix):
                attribute = column.removeprefix(prefix)
                if attribute in columns:
                    raise UserError(f"{name}: both {columns[attribute]} and {column} are present; keep one")
                columns[attribute] = column
    if not columns:
        raise UserError(f"{name}: no column score_<attribute> or pred_<attribute> was found")
    return columns


def _name(frame: pd.DataFrame, default: str) -> str:
    return str(frame.attrs.get("path", default))


def _check_ids(frame: pd.DataFrame, name: str) -> None:
    if "image_id" not in frame.columns:
        raise UserError(f"{name}: column 'image_id' is missing; it has {', '.join(map(str, frame.columns[:8]))}")
    missing = np.flatnonzero(frame["image_id"].isna())
    if len(missing):
        raise UserError(f"{name}, row {missing[0] + 1}: image_id is empty")
    twice = np.flatnonzero(frame["image_id"].duplicated())
    if len(twice):
        raise UserError(
            f"{name}, row {twice[0] + 1}: image_id {frame['image_id'].iloc[twice[0]]!r} occurs a second time; "
            "each image may have one row"
        )


def _ids(frame: pd.DataFrame) -> pd.Index:
    return pd.Index(frame["image_id"].to_numpy(dtype=object), dtype=object)  # hashes faster than arrow strings


def _common(a: pd.Index, a_name: str, b: pd.Index, b_name: str, settings: FairnessSettings) -> pd.Index:
    """Ids of both tables in the order of the first; ids of only one table are an error unless allowed."""
    if a.equals(b):
        return a
    only_a, only_b = b.get_indexer(a) < 0, a.get_indexer(b) < 0
    for ids, missing, name, other in ((a, only_a, a_name, b_name), (b, only_b, b_name, a_name)):
        if missing.any() and not settings.allow_missing_images:
            row = int(np.flatnonzero(missing)[0])
            raise UserError(
                f"{name}, row {row + 1}: image {ids[row]!r} has no row in {other} ({int(missing.sum())} such "
                "images); complete the table or set evaluation.allow_missing_images: true"
            )
    return a[~only_a]


def _align(frame: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    own = _ids(frame)
    return frame if own.equals(ids) else frame.iloc[own.get_indexer(ids)]


def _level_codes(groups: pd.DataFrame, dimension: str, levels: tuple[str, ...], name: str) -> np.ndarray:
    if dimension not in groups.columns:
        raise UserError(
            f"{name}: column {dimension!r} is missing; add it or remove {dimension} from evaluation.groupings"
        )
    known = {level: k for k, level in enumerate(levels)} | {UNKNOWN: len(levels), "": len(levels)}
    values, words = pd.factorize(groups[dimension])
    wrong = [word for word in words if word not in known]
    if wrong:
        row = int(np.flatnonzero((groups[dimension] == wrong[0]).to_numpy())[0])
        raise UserError(unknown_name(f"{name}, row {row + 1}, column {dimension!r}", wrong[0], (*levels, UNKNOWN)))
    table = np.array([*(known[word] for word in words), len(levels)], dtype=np.int64)
    return table[values]  # factorize codes a missing value as -1, the last entry


def _labels(
    frame: pd.DataFrame, name: str, settings: FairnessSettings, attributes: set[str]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    recorded = _constant(frame, "label_source")
    columns = set(map(str, frame.columns))

    def values_of(attribute: str) -> np.ndarray | None:
        column = _LABEL + attribute if _LABEL + attribute in columns else attribute
        return _label_values(frame, column, name, settings.label_coding) if column in columns else None

    values, sources = {}, {}
    for attribute in sorted(attributes):
        origin = settings.derived_labels.get(attribute, attribute)
        found = values_of(origin.removeprefix("-"))
        if found is not None:
            values[attribute] = -found if origin.startswith("-") else found
            sources[attribute] = recorded if origin == attribute else f"derived:{origin}"
        elif attribute in settings.derived_labels:
            raise UserError(f"FairnessSettings.derived_labels: {name} has no label {origin!r} for {attribute}")
    return values, sources


def _label_values(frame: pd.DataFrame, column: str, name: str, coding: str) -> np.ndarray:
    meanings = LABEL_CODINGS[coding]
    series = frame[column]
    valid = series.isin(list(meanings)).to_numpy()
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise UserError(
            f"{name}, row {row + 1}, column {column!r}: label {series.iloc[row]} is not one of "
            f"{', '.join(map(str, sorted(meanings)))} (FairnessSettings.label_coding is {coding})"
        )
    values = series.to_numpy(dtype=np.int8)
    return np.select([values == raw for raw in meanings], list(meanings.values())).astype(np.int8)


def _prediction_columns(
    frame: pd.DataFrame, name: str, test: TestSet, settings: FairnessSettings
) -> tuple[dict[str, str], dict[str, str]]:
    columns = scored_attributes(frame.columns, name)
    skipped = {a: "no label column" for a in columns if a not in test.labels}
    for attribute in settings.attributes:
        if attribute not in columns:
            raise UserError(f"{name}: column {_SCORE}{attribute} is missing; evaluation.attributes asks for it")
        if attribute in skipped:
            raise UserError(f"labels: no column for {attribute}, which evaluation.attributes asks for")
    wanted = settings.attributes or sorted(a for a in columns if a not in skipped)
    return {a: columns[a] for a in wanted}, skipped


def _decide(
    frame: pd.DataFrame, name: str, attribute: str, column: str, settings: FairnessSettings
) -> tuple[np.ndarray, float]:
    if column.startswith(_PRED):
        valid = frame[column].isin((0, 1)).to_numpy()
        if not valid.all():
            row = int(np.flatnonzero(~valid)[0])
            raise UserError(
                f"{name}, row {row + 1}, attribute {attribute}: decision {frame[column].iloc[row]} is neither 0 nor 1"
            )
        return frame[column].to_numpy(dtype=np.int8), np.nan
    try:
        scores = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}, attribute {attribute}: scores are not numbers ({error})") from error
    valid = (scores >= 0) & (scores <= 1)  # false for NaN and infinities
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise UserError(
            f"{name}, row {row + 1}, attribute {attribute}: score {scores[row]} is not a number in [0, 1]; a score that is "
            "none says neither present nor absent, so predict this image again, or leave it out of all tables"
        )
    threshold = settings.threshold(attribute)
    # float32 scores are compared with the threshold as float32, so that 0.7 >= 0.7 holds
    exact = frame[column].dtype == np.float32
    return (scores >= (np.float32(threshold) if exact else threshold)).astype(np.int8), threshold


def _identities(frame: pd.DataFrame, name: str) -> tuple[np.ndarray, str]:
    if "identity_id" not in frame.columns or frame["identity_id"].isna().all():
        return frame["image_id"].astype(str).to_numpy(dtype=object), "image"
    missing = np.flatnonzero(frame["identity_id"].isna())
    if len(missing):
        raise UserError(
            f"{name}, row {missing[0] + 1}: identity_id is empty, while other rows have one; "
            "fill it, or leave the whole column out"
        )
    return frame["identity_id"].astype(str).to_numpy(dtype=object), "identity"


def _constant(frame: pd.DataFrame, column: str) -> str:
    """The value of a column on the origin of rows; several values are joined by '+'."""
    if column not in frame.columns:
        return ""
    return "+".join(sorted(str(value) for value in pd.unique(frame[column].dropna())))
