"""Checks and joins the three input tables; errors name the table, row and column."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from evenface.decisions import selected
from evenface.errors import UserError, unknown_name
from evenface.fairness.cube import CellSpace, Cube, count
from evenface.fairness.settings import FairnessSettings
from evenface.targets import decided
from evenface.taxonomy import AGE_BOUNDS, CELEBA_ATTRIBUTES, LABEL_CODINGS, MAAD_ATTRIBUTES, UNKNOWN

log = logging.getLogger("evenface")

#: Columns of the workflow's tables that an evaluation does not need; others are named in a warning.
_UNUSED = {
    "image", "split", "dataset", "source", "label_source", "labels_source", "demographics_source", "identity_id",
    *CELEBA_ATTRIBUTES, *MAAD_ATTRIBUTES,
}  # fmt: skip

#: Texts that missing values become when a column is changed to text.
_LOST = ("", "nan", "NaN", "None", "<NA>", "NaT")

THRESHOLD_COLUMNS = ("threshold", "threshold_low", "threshold_high", "n_validation")

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
    people: str = ""  # the table of labels or groups that names people; empty if none does

    def taken(self, ids: pd.Index) -> TestSet:
        """The images with these ids, in the order of this set; ``counts`` says how many were left out."""
        keep = self.image_id.isin(ids)
        return replace(
            self, image_id=self.image_id[keep], cells=self.cells[keep],
            labels={name: values[keep] for name, values in self.labels.items()},
            counts={**self.counts, "not_scored_by_all_models": int((~keep).sum())},
        )  # fmt: skip


@dataclass(frozen=True)
class ScoreColumns:
    """The scores of one model on one test set. They are read an attribute at a time, because all would fill the memory.

    pair  (n,) int32, the row of the cube that counts each image
    """

    pair: np.ndarray
    _frame: pd.DataFrame
    _columns: dict[str, str]
    _rows: np.ndarray | slice
    _labels: dict[str, np.ndarray]
    _keep: np.ndarray | slice

    def of(self, attribute: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Scores (n,) float32 or float64 in [0, 1] and labels (n,) int8; None if the table gives decisions."""
        column = self._columns[attribute]
        if not column.startswith(_SCORE):
            return None
        exact = self._frame[column].dtype == np.float32
        scores = self._frame[column].to_numpy(dtype=np.float32 if exact else np.float64)
        return scores[self._rows], self._labels[attribute][self._keep]


@dataclass(frozen=True)
class Scored:
    """One model on one test set: its count cube, and how predictions were read."""

    cube: Cube
    thresholds: Mapping[str, float]  # NaN where the table gives decisions instead of scores
    cluster_unit: str
    skipped: dict[str, str]
    n_missing: int
    people: int = 0  # a digest of all pairs of image and identity, in any order
    scores: ScoreColumns | None = None
    chosen: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict
    )  # attribute -> how its threshold was chosen

    def threshold_columns(self, attribute: str) -> dict[str, float]:
        """Columns about a threshold: itself, its interval, and the validation images it was chosen on.

        A threshold that was given has no images, and its interval is itself. All are NaN for decisions.
        """
        value, chosen = self.thresholds[attribute], self.chosen.get(attribute, {})
        given = {"threshold_low": value, "threshold_high": value, "n_validation": 0 * value}
        found = {name: chosen.get(name, default) for name, default in given.items()}
        return {"threshold": value} | {name: np.nan if v is None else float(v) for name, v in found.items()}


def read_test_set(
    labels: pd.DataFrame, groups: pd.DataFrame, settings: FairnessSettings, attributes: set[str], *,
    stored: bool = False,
) -> TestSet:  # fmt: skip
    """Check and join labels and groups; only the labels of ``attributes`` are read.

    Labels: ``image_id`` and a column per attribute, named like it or with the prefix ``label_``; missing values are
    undefined labels. Groups: ``image_id``, a column per dimension, and optionally ``source``; missing values are
    unknown. Columns ``dataset``, ``split`` and ``label_source`` are kept. ``stored`` labels of type int8 come from a
    table of the workflow, whose coding is certain. UserError names table, row and column.
    """
    label_name, group_name = _name(labels, "labels"), _name(groups, "groups")
    check_table(labels, label_name)
    check_table(groups, group_name)
    ids = _ids(labels)
    group_ids = _ids(groups)
    counts = {"labels": len(ids), "groups": len(group_ids)}
    ids = _common(ids, label_name, group_ids, group_name, settings)
    labels, groups = _align(labels, ids), _align(groups, ids)

    space = CellSpace({name: settings.levels[name] for name in settings.dimensions})
    codes = {name: _level_codes(groups, name, space.levels[name], group_name) for name in space.levels}
    values, sources = _labels(labels, label_name, settings, attributes, stored)
    _warn_of_unused(labels, label_name, {*attributes, *settings.levels})
    _warn_of_unused(groups, group_name, settings.levels)
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
        people=next((n for t, n in ((labels, label_name), (groups, group_name)) if _names_people(t)), ""),
    )


def _names_people(table: pd.DataFrame) -> bool:
    column = table.get("identity_id")
    return column is not None and not (column.isna() | column.astype(object).isin(_LOST)).all()


def read_predictions(predictions: pd.DataFrame, test: TestSet, settings: FairnessSettings) -> Scored:
    """Check one model's predictions against the test set and count outcomes.

    Predictions: ``image_id``, ``identity_id``, and ``score_<attribute>`` in [0, 1] or
    ``pred_<attribute>`` in {0, 1}. Without identities every image is its own cluster.
    """
    name = _name(predictions, "predictions")
    check_table(predictions, name)
    ids = _ids(predictions)
    common = _common(ids, name, test.image_id, "labels", settings)
    rows, keep = _positions(ids, common), _positions(test.image_id, common)

    columns, skipped = _prediction_columns(predictions, name, test, settings)
    _warn_of_unused(predictions, name, settings.levels)
    thresholds: dict[str, float] = {}

    def outcomes() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for attribute, column in columns.items():
            yes, threshold = _decide(predictions, name, attribute, column, settings)
            thresholds[attribute] = threshold
            yield attribute, yes[rows], test.labels[attribute][keep]

    identities, unit = _identities(predictions, name)
    if unit == "image" and test.people:
        raise UserError(
            f"{name}: column 'identity_id' is missing or empty, and {test.people} has one; write it into the predictions, "
            "because people are resampled, or leave it out of all tables"
        )
    people, cells = identities[rows], test.cells[keep]
    cube = count(people, cells, test.space, outcomes())
    scores = ScoreColumns(cube.pair_of(people, cells), predictions, columns, rows, test.labels, keep)
    pairs = pd.util.hash_array(common.to_numpy(), categorize=False) * pd.util.hash_array(people)
    n_missing = len(ids) + len(test.image_id) - 2 * len(common)
    return Scored(cube, thresholds, unit, skipped, n_missing, int(pairs.sum()), scores)


def check_same_people(scored: Mapping[str, Scored], model_id: str) -> None:
    """Raise UserError unless a model names the same people as the first one."""
    first_id = next(iter(scored))
    first, one = scored[first_id], scored[model_id]
    if first.people != one.people:
        raise UserError(
            f"predictions: the models {first_id} and {model_id} have other values of identity_id for the same images; "
            "write the same ones, because both are compared on the same people"
        )


def read_decisions(
    predictions: pd.DataFrame, test: TestSet, attribute: str, settings: FairnessSettings
) -> tuple[np.ndarray, np.ndarray]:
    """For one attribute: rows (n,) of the test set that a model decided on, and its decisions (n,) int8."""
    name = _name(predictions, "predictions")
    check_table(predictions, name)
    ids = _ids(predictions)
    common = _common(ids, name, test.image_id, "labels", settings)
    columns, _ = _prediction_columns(predictions, name, test, settings.changed(attributes=(attribute,)))
    yes, _ = _decide(predictions, name, attribute, columns[attribute], settings)
    return test.image_id.get_indexer(common), yes[ids.get_indexer(common)]


def scored_attributes(names: Iterable[str], name: str = "predictions") -> dict[str, str]:
    """Attribute -> the column of ``names``, ``score_<attribute>`` or ``pred_<attribute>`` that predicts it."""
    columns: dict[str, str] = {}
    names = list(names)
    for column in map(str, names):
        for prefix in (_SCORE, _PRED):
            start = column[: len(prefix)]
            if start != prefix and start.lower().rstrip("_- .") == prefix.rstrip("_"):
                raise UserError(f"{name}: column {column!r} is not read; write {prefix}<attribute>, in small letters")
        for prefix in (_SCORE, _PRED):
            if column.startswith(prefix):
                attribute = column.removeprefix(prefix)
                if columns.get(attribute) == column:
                    raise UserError(f"{name}: column {column!r} occurs more than once; keep one")
                if attribute in columns:
                    raise UserError(f"{name}: both {columns[attribute]} and {column} are present; keep one")
                columns[attribute] = column
    if "" in columns:
        raise UserError(f"{name}: column {columns['']!r} names no attribute; write {columns['']}<attribute>")
    if not columns:
        raise UserError(
            f"{name}: no column {_SCORE}<attribute> or {_PRED}<attribute> was found; it has "
            f"{', '.join(map(str, names[:8])) or 'none'}; call scores {_SCORE}<attribute>, and decisions {_PRED}<attribute>"
        )
    return columns


def _name(frame: pd.DataFrame, default: str) -> str:
    return str(frame.attrs.get("path", default)) if isinstance(frame, pd.DataFrame) else default


def check_table(frame: pd.DataFrame, name: str) -> None:
    """Raise UserError unless ``frame`` is a table with distinct columns and an id for every image, each once."""
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{name}: a pandas DataFrame is expected, not {type(frame).__name__}")
    if frame.columns.nlevels > 1:
        raise UserError(
            f"{name}: the columns have {frame.columns.nlevels} levels, the first is {frame.columns[0]}; give each one name: "
            "table.columns = [...]"
        )
    names = frame.columns.map(str)
    repeated = names[names.duplicated()]
    if len(repeated):
        raise UserError(f"{name}: column {repeated[0]!r} occurs more than once; keep one")
    if "image_id" not in frame.columns:
        remedy = "; call reset_index() on it" if "image_id" in frame.index.names else ""
        raise UserError(f"{name}: column 'image_id' is missing; it has {', '.join(names[:8]) or 'none'}{remedy}")
    missing = np.flatnonzero(frame["image_id"].isna() | frame["image_id"].astype(object).isin(_LOST))
    if len(missing):
        raise UserError(f"{name}, row {missing[0] + 1}: image_id is empty; fill it in, or leave the row out")
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
            others = b if ids is a else a
            if str(ids[row]) in set(map(str, others)):
                raise UserError(
                    f"{name}, row {row + 1}: image_id {ids[row]!r} is {type(ids[row]).__name__}, and {other} writes it "
                    f"as {type(others[0]).__name__}; write both as text: table['image_id'].astype(str)"
                )
            raise UserError(
                f"{name}, row {row + 1}: image {ids[row]!r} has no row in {other} ({int(missing.sum())} such "
                "images); complete the table or set evaluation.allow_missing_images: true"
            )
    if only_a.all():
        first = [f"is {ids[0]!r}" if len(ids) else "has no row" for ids in (a, b)]
        raise UserError(
            f"{a_name} and {b_name} have no image in common; image_id {first[0]} in one, {first[1]} in the other; write "
            "the same ids in both"
        )
    return a[~only_a]


def _positions(ids: pd.Index, wanted: pd.Index) -> np.ndarray | slice:
    """Where ``ids`` has the wanted ones; of all in the same order a slice, which copies nothing."""
    return slice(None) if ids.equals(wanted) else ids.get_indexer(wanted)


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
        row = int(np.flatnonzero((groups[dimension] == wrong[0]).to_numpy(dtype=bool, na_value=False))[0])
        place = f"{name}, row {row + 1}, column {dimension!r}"
        if dimension == "age" and _is_number(wrong[0]) and set(AGE_BOUNDS) <= set(levels):
            bands = ", ".join(f"{level} below {bound:g}" for level, bound in AGE_BOUNDS.items())
            raise UserError(
                f"{place}: {wrong[0]} is a number, and a level is expected ({', '.join(levels)} or {UNKNOWN}); "
                f"write the bands of ages in years ({bands}), and {UNKNOWN} for numbers that no age can be"
            )
        raise UserError(unknown_name(place, wrong[0], (*levels, UNKNOWN)))
    table = np.array([*(known[word] for word in words), len(levels)], dtype=np.int64)
    return table[values]  # factorize codes a missing value as -1, the last entry


def _is_number(value: object) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, (bool, np.bool_))


def _labels(
    frame: pd.DataFrame, name: str, settings: FairnessSettings, attributes: set[str], stored: bool
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    recorded = _constant(frame, "label_source")
    columns = set(map(str, frame.columns))

    def values_of(attribute: str) -> np.ndarray | None:
        given = [column for column in (_LABEL + attribute, attribute) if column in columns]
        if len(given) > 1:
            raise UserError(f"{name}: both {given[0]} and {given[1]} are present; keep one")
        return _label_values(frame, given[0], name, settings.label_coding, stored) if given else None

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


def _label_values(frame: pd.DataFrame, column: str, name: str, coding: str, stored: bool) -> np.ndarray:
    """Labels (n,) int8 in {+1, -1, 0}; missing values are 0, undefined."""
    meanings, series = LABEL_CODINGS[coding], frame[column]
    missing = series.isna().to_numpy()
    valid = series.isin(list(meanings)).to_numpy() | missing
    declared = f"FairnessSettings.label_coding is {coding}"

    def refuse(wrong: np.ndarray, what: str, remedy: str) -> UserError:
        row = int(np.flatnonzero(wrong)[0])
        value = _shown(series.iloc[row])
        return UserError(f"{name}, row {row + 1}, column {column!r}: label {value} {what} ({declared}); {remedy}")

    if not valid.all():
        others = [c for c, codes in LABEL_CODINGS.items() if c != coding and (series.isin(list(codes)) | missing).all()]
        allowed = ", ".join(map(str, sorted(meanings)))
        remedy = "write the labels as these numbers, and leave undefined ones empty"
        if others:
            remedy = f"set label_coding={others[0]!r} if the whole table is coded that way"
        raise refuse(~valid, f"is not one of {allowed}", remedy)
    if pd.api.types.is_complex_dtype(series.dtype):
        raise refuse(~missing, "is a complex number", "write real numbers: labels.real")
    if coding == "minus_one_one" and not (stored and series.dtype == np.int8):
        truths = _truths(series)
        if truths.any():
            raise refuse(truths, "is true or false, not one of -1, 0, 1",
                         "set label_coding='zero_one' if the whole table is coded that way, or write 1 and -1")  # fmt: skip
        zero = series.isin([0]).to_numpy()
        if zero.any() and series.isin([1]).any() and not series.isin([-1]).any():
            raise refuse(zero, "stands in a column without any -1, and 0 would mean undefined",
                         "set label_coding='zero_one' if 0 means no, or leave undefined labels empty if it does not")  # fmt: skip
    numbers = series.to_numpy(dtype=np.float64, na_value=np.nan) if missing.any() else series.to_numpy(dtype=np.int8)
    return np.select([numbers == raw for raw in meanings], list(meanings.values()), 0).astype(np.int8)


def _warn_of_unused(frame: pd.DataFrame, name: str, used: Collection[str]) -> None:
    """Name the columns that this table has and an evaluation does not know."""
    known = {"image_id", *used, *_UNUSED}
    unused = [c for c in map(str, frame.columns) if c not in known and not c.startswith((_LABEL, _SCORE, _PRED))]
    if unused:
        log.warning("%s: columns that are not used: %s", name, ", ".join(unused[:8]))


def _prediction_columns(
    frame: pd.DataFrame, name: str, test: TestSet, settings: FairnessSettings
) -> tuple[dict[str, str], dict[str, str]]:
    columns = scored_attributes(frame.columns, name)
    skipped = {a: "no label column" for a in columns if a not in test.labels}
    if skipped:
        log.warning("%s: not evaluated, because the labels have no column for them: %s", name, ", ".join(skipped))
    for attribute in settings.attributes:
        if attribute not in columns:
            raise UserError(f"{name}: column {_SCORE}{attribute} is missing; evaluation.attributes asks for it")
        if attribute in skipped:
            raise UserError(f"labels: no column for {attribute}, which evaluation.attributes asks for")
    wanted = settings.attributes or sorted(a for a in columns if a not in skipped)
    if not wanted:
        raise UserError(
            f"labels: no column for any scored attribute ({', '.join([*skipped][:8])}); name the columns of labels like "
            f"the attributes, with the same capitals, or {_LABEL}<attribute>"
        )
    return {a: columns[a] for a in wanted}, skipped


def _decide(
    frame: pd.DataFrame, name: str, attribute: str, column: str, settings: FairnessSettings
) -> tuple[np.ndarray, float]:
    if column.startswith(_PRED):
        valid = frame[column].isin((0, 1)).to_numpy()
        if not valid.all() or pd.api.types.is_complex_dtype(frame[column].dtype):
            row = int(np.flatnonzero(~valid)[0]) if not valid.all() else 0
            signed = frame[column].isin((-1, 1, 255)).all()
            remedy = "write 1 for yes and 0 for no" + (", here (table > 0) & (table < 255)" if signed else "")
            raise UserError(
                f"{name}, row {row + 1}, attribute {attribute}: decision {_shown(frame[column].iloc[row])} in column "
                f"{column!r} is neither 0 nor 1; {remedy}, or give scores in a column {_SCORE}{attribute}"
            )
        return frame[column].to_numpy(dtype=np.int8), np.nan
    if rivals := settings.rivals(attribute):
        if absent := [rival for rival in rivals if _SCORE + rival not in frame.columns]:
            raise UserError(
                f"{name}: column {_SCORE}{absent[0]} is missing, so no class can be decided; give the scores of all classes, or "
                f"decisions in columns {_PRED}<target>=<class>"
            )
        scores = np.stack([_scores(frame[_SCORE + rival], name, rival) for rival in rivals], axis=1)
        return (decided(scores) == rivals.index(attribute)).astype(np.int8), np.nan
    scores = _scores(frame[column], name, attribute)
    try:
        threshold = settings.threshold(attribute)
    except UserError as error:
        raise UserError(f"{name}, column {column!r}: {error}") from error
    return selected(scores, threshold).astype(np.int8), threshold


def _scores(series: pd.Series, name: str, attribute: str) -> np.ndarray:
    """Scores (n,) in [0, 1] in the precision of the column; UserError for others."""
    column = series.name
    truths = _truths(series)
    if truths.any():
        row = int(np.flatnonzero(truths)[0])
        raise UserError(
            f"{name}, row {row + 1}, column {column!r}: {series.iloc[row]} is a decision, not a score; call the column "
            f"{_PRED}{attribute}, with 1 for yes and 0 for no"
        )
    own = getattr(series.dtype, "numpy_dtype", series.dtype)  # of the columns that pandas and pyarrow extend
    precision = own if isinstance(own, np.dtype) and own.kind == "f" else np.dtype(np.float64)
    try:
        if pd.api.types.is_complex_dtype(series.dtype):
            raise TypeError("complex")
        scores = series.to_numpy(dtype=precision, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name}, column {column!r}, attribute {attribute}: scores are not numbers ({error}); write numbers in [0, 1]"
        ) from error
    valid = (scores >= 0) & (scores <= 1)  # false for NaN and infinities
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise UserError(
            f"{name}, row {row + 1}, attribute {attribute}: score {scores[row]} is not a number in [0, 1], as column "
            f"{column!r} must hold; {_remedy(scores)}"
        )
    return scores


def _remedy(scores: np.ndarray) -> str:
    """What scores outside [0, 1] may be, and what to do."""
    if not np.isfinite(scores).all():
        return "a score that is none says neither present nor absent, so predict this image again, or leave it out of all tables"
    if scores.min() < 0:
        return "for logits x write 1 / (1 + exp(-x)), for scores x from -1 to 1 write (x + 1) / 2"
    whole = 100 if scores.max() <= 100 else 255
    return f"divide scores from 0 to {whole} by {whole}, and for logits x write 1 / (1 + exp(-x))"


def _shown(value: object) -> object:
    """A value in a message; a text says that it is one."""
    return f"{value!r} (a text)" if isinstance(value, str) else value


def _truths(series: pd.Series) -> np.ndarray:
    """Which values (n,) are true or false, rather than numbers that equal them."""
    if pd.api.types.is_bool_dtype(series.dtype):
        return series.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(series.dtype) or isinstance(series.dtype, pd.StringDtype):
        return np.zeros(len(series), dtype=bool)
    return np.array([isinstance(value, (bool, np.bool_)) for value in series.astype(object)], dtype=bool)


def _identities(frame: pd.DataFrame, name: str) -> tuple[np.ndarray, str]:
    column = frame.get("identity_id")
    if column is not None and pd.api.types.is_float_dtype(column.dtype) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")  # a missing value made floats of integers
    lost = None if column is None else column.isna() | column.astype(object).isin(_LOST)
    if column is None or lost.all():
        return frame["image_id"].astype(str).to_numpy(dtype=object), "image"
    missing = np.flatnonzero(lost)
    if len(missing):
        raise UserError(
            f"{name}, row {missing[0] + 1}: identity_id is empty, while other rows have one; "
            "fill it, or leave the whole column out"
        )
    return column.astype(str).to_numpy(dtype=object), "identity"


def _constant(frame: pd.DataFrame, column: str) -> str:
    """The value of a column on the origin of rows; several values are joined by '+'."""
    if column not in frame.columns:
        return ""
    return "+".join(sorted(str(value) for value in pd.unique(frame[column].dropna())))
