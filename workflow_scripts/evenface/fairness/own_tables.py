"""Predictions, labels and groups from tables of one's own, CSV or Parquet, as people who measure fairness have them.

A table has a column that names the image, and a column per attribute (predictions, labels) or per dimension (groups), under
its own name. What the values of a column mean is recognised only where nothing else can be meant, and every such reading is
noted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from evenface.errors import UserError, check_names
from evenface.fairness.settings import DEMOGRAPHIC_ATTRIBUTES, FairnessSettings
from evenface.storage.tables import is_parquet, read_arrow
from evenface.storage.text_tables import check_header, check_text, number, same_name
from evenface.taxonomy import LABEL_CODINGS, UNKNOWN

#: Names of the column of images and of people, the usual one first.
IMAGE = ("image", "image_id", "file", "file_name", "filename", "img_path", "path")
IDENTITY = ("identity_id", "identity", "person_id", "person", "subject_id", "subject")

#: More levels than this are no groups but numbers, names or dates.
MAX_LEVELS = 50

_MISSING = ("", "na", "n/a", "nan", "none", "null", "<na>")
_WORDS = {"true": 1.0, "false": 0.0}
_PREFIXES = ("score_", "pred_")
_BLOCK = 16 << 20


@dataclass(frozen=True)
class OwnTables:
    """What :func:`evenface.fairness.evaluate` takes, and ``notes``: sentences that say how the tables were read."""

    predictions: dict[str, pd.DataFrame]
    labels: pd.DataFrame
    groups: pd.DataFrame
    settings: FairnessSettings
    notes: tuple[str, ...]


def read_own_tables(
    predictions: Mapping[str, str | Path],
    labels: str | Path,
    groups: str | Path | None = None,
    *,
    by: Sequence[str] = (),
    groupings: Sequence[str] = (),
    identity: str | None = None,
    image: str | None = None,
    attributes: Sequence[str] = (),
    label_coding: str | None = None,
    threshold: float = 0.5,
    **settings: Any,
) -> OwnTables:
    """Read the tables of one test set.

    predictions   model -> its table; ``<run>-<number>`` is a run and its seed
    groups        table of dimensions; without it, ``by`` names columns of the other tables
    by            columns that are dimensions; by default all of ``groups``
    groupings     such as ``gender*age``; by default every dimension and every product of them
    identity      column of people, in any table; by default one of :data:`IDENTITY`
    image         column of images, in every table; by default one of :data:`IMAGE`
    attributes    by default all that are predicted and labelled
    label_coding  a name of ``taxonomy.LABEL_CODINGS``. It may be left out if all labels are 0 and 1, true and false, or -1
                  and 1
    threshold     scores at least as large are decisions for yes
    settings      further fields of :class:`FairnessSettings`

    Raises UserError naming file, row and column for everything that cannot be read or could mean two things.
    """
    reader = _Reader(image, identity, by, label_coding)
    frames = {model: reader.table(path) for model, path in predictions.items()}
    label_table = reader.table(labels)
    group_table = reader.table(groups) if groups else None
    reader.assign(list(frames.values()), label_table, group_table)
    scored = {model: reader.predictions(table) for model, table in frames.items()}
    truth = reader.labels(label_table)
    people = reader.groups()
    dimensions = [c for c in people.columns if c != "image_id"]
    reader.identities(scored)
    levels = {name: reader.levels(people, name) for name in dimensions}
    chosen = FairnessSettings(**{
        "levels": levels,
        "groupings": tuple(groupings) or _products(dimensions),
        "attributes": tuple(attributes),
        "label_coding": "minus_one_one",  # what reader.labels gives
        "thresholds": threshold,
        "circular": {a: d for a, d in DEMOGRAPHIC_ATTRIBUTES.items() if d in levels},
        **settings,
    })  # fmt: skip
    if any(frame.columns.str.startswith("score_").any() for frame in scored.values()):
        reader.note(f"scores of at least {threshold:g} are decisions for yes")
    return OwnTables(scored, truth, people, chosen, tuple(reader.notes))


def read_predictions(path: str | Path) -> tuple[pd.DataFrame, list[str]]:
    """``image_id``, and a column ``score_`` or ``pred_`` per attribute, of a table with nothing else; and how it was read."""
    reader = _Reader(None, None, (), None)
    table = reader.table(path)
    reader.attributes_of(table)
    return reader.predictions(table), reader.notes


def _products(dimensions: Sequence[str]) -> tuple[str, ...]:
    found = [[]]
    for name in dimensions:
        found += [[*chosen, name] for chosen in found]
    return tuple("*".join(names) for names in sorted(found[1:], key=len))


@dataclass(frozen=True)
class _Table:
    """A table and the names of its columns; ``image`` is the one that names the image."""

    path: Path
    columns: dict[str, pa.ChunkedArray]
    image: str

    def texts(self, name: str) -> pa.Array:
        """A column as texts without outer blanks; missing values are empty."""
        values = self.columns[name].combine_chunks()
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), None, values)
        try:
            texts = pc.ascii_trim(pc.fill_null(values.cast(pa.string()), ""), " \t")
        except pa.ArrowException as error:
            raise UserError(f"{self.path}: column {name!r} holds {values.type}, not texts or numbers") from error
        missing = pc.is_in(pc.utf8_lower(texts), pa.array(_MISSING))
        return pc.if_else(missing, "", texts)

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64 (n,), NaN where it is missing; true is 1, false 0. UserError for other texts."""
        values = self.columns[name].combine_chunks()
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            return pc.fill_null(values.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
        if pa.types.is_boolean(values.type):
            return pc.fill_null(values.cast(pa.int8()).cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
        coded = self.texts(name).dictionary_encode()
        meanings = np.full(len(coded.dictionary), np.nan)
        places = coded.indices.to_numpy()
        for i, text in enumerate(coded.dictionary.to_pylist()):
            if not text:
                continue
            value = _WORDS.get(text.lower(), number(text))
            if value is None:
                row = int(np.argmax(places == i)) + 1
                raise UserError(
                    f"{self.path}, row {row}, column {name!r}: {text[:40]!r} is no number; write numbers, or true and false, "
                    "leave undefined values empty, and remove columns that are no attributes"
                )
            meanings[i] = value
        return meanings[places] if len(places) else np.zeros(0)

    def is_boolean(self, name: str) -> bool:
        """Whether a column is written as true and false."""
        values = self.columns[name].type
        if pa.types.is_boolean(values):
            return True
        if pa.types.is_integer(values) or pa.types.is_floating(values):
            return False
        words = {text.lower() for text in pc.unique(self.texts(name)).to_pylist()} - {""}
        return bool(words) and words <= set(_WORDS)


@dataclass
class _Reader:
    """Reads the tables, and gives every column its role."""

    image: str | None
    identity: str | None
    by: Sequence[str]
    coding: str | None
    notes: list[str] = field(default_factory=list)

    def attributes_of(self, table: _Table) -> None:
        """Take every column but the image and the person for an attribute."""
        found = _named(table.columns, IDENTITY)
        self._dimensions, self._people = [], [(table, found)] if found else []

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def table(self, path: str | Path) -> _Table:
        """A CSV or Parquet table; UserError if it cannot be read or no column names the image."""
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: the file does not exist")
        read = read_arrow(path) if is_parquet(path) else _read_csv(path)
        check_header(str(path), read.column_names)
        columns = {name.strip(): read.column(i) for i, name in enumerate(read.column_names)}
        if not read.num_rows:
            raise UserError(f"{path}: the table has no rows")
        found = _named(columns, (self.image,) if self.image else IMAGE)
        if found is None:
            expected = repr(self.image) if self.image else f"{IMAGE[0]!r}"
            raise UserError(
                f"{path}: no column {expected} names the image; it has {', '.join([*columns][:8])}; rename it, or say "
                "--image NAME"
            )
        table = _Table(path, columns, found)
        ids = pd.Series(_objects(table.texts(found)))
        for wrong, what in ((ids == "", "names no image"), (ids.duplicated(), "has an image a second time")):
            if wrong.any():
                row = int(np.argmax(wrong.to_numpy()))
                name = f" ({ids[row]!r})" if ids[row] else ""
                raise UserError(f"{path}, row {row + 1}, column {found!r}{name} {what}; each image has one row")
        return table

    def assign(self, predictions: Sequence[_Table], labels: _Table, groups: _Table | None) -> None:
        """Decide which columns are people and dimensions."""
        self._tables = [*([groups] if groups else []), labels, *predictions]
        wanted = (self.identity,) if self.identity else IDENTITY
        self._people = [(table, found) for table in self._tables if (found := _named(table.columns, wanted))]
        if self.identity and not self._people:
            raise UserError(f"no table has the column {self.identity!r} that --identity names")
        own = {name for _, name in self._people}
        if self.by:
            every = list(dict.fromkeys(name for table in self._tables for name in table.columns))
            check_names("--by", self.by, every)
            self._dimensions = list(self.by)
        elif groups:
            self._dimensions = [n for n in groups.columns if n != groups.image and n not in own]
        else:
            raise UserError("no groups: give --groups, or name columns of the other tables with --by")
        if not self._dimensions:
            raise UserError(f"{groups.path if groups else labels.path}: no column holds groups")
        if not self._people:
            self.note(
                "no column names the people, so every image counts as a person of its own; intervals are too narrow if people "
                "have several images"
            )
        elif not self.identity:
            self.note(f"people are those of the column {self._people[0][1]!r} of {self._people[0][0].path.name}")

    def _rest(self, table: _Table) -> list[str]:
        """The columns of a table that are attributes."""
        own = {table.image, *self._dimensions, *(name for other, name in self._people if other is table)}
        return [name for name in table.columns if name not in own]

    def predictions(self, table: _Table) -> pd.DataFrame:
        """``image_id``, and ``score_`` or ``pred_`` columns."""
        columns: dict[str, Any] = {"image_id": _objects(table.texts(table.image))}
        for name in self._rest(table):
            attribute = next((name.removeprefix(p) for p in _PREFIXES if name.startswith(p)), name)
            values = table.numbers(name)
            known = np.unique(values[~np.isnan(values)])
            if np.isnan(values).any():
                row = int(np.argmax(np.isnan(values))) + 1
                raise UserError(
                    f"{table.path}, row {row}, column {name!r}: the prediction is missing; predict this image, or leave it "
                    "out of all tables"
                )
            if np.isin(known, (-1, 1)).all() and -1 in known:
                self.note(f"{table.path.name}: -1 and 1 are decisions for no and yes")
                columns[f"pred_{attribute}"] = (values > 0).astype(np.int8)
            elif np.isin(known, (0, 1)).all() and not name.startswith("score_"):
                self.note(f"{table.path.name}: 0 and 1 are decisions for no and yes")
                columns[f"pred_{attribute}"] = values.astype(np.int8)
            elif known[0] < 0 or known[-1] > 1:
                row = int(np.argmax((values < 0) | (values > 1)))
                remedy = "divide them by 100 if they are per cent" if known[0] >= 0 and known[-1] <= 100 else (
                    "apply the sigmoid to logits"
                )  # fmt: skip
                raise UserError(
                    f"{table.path}, row {row + 1}, column {name!r}: {values[row]:g} is no score in [0, 1]; {remedy}, or remove "
                    "the column if it is no prediction"
                )
            else:
                columns[f"score_{attribute}"] = values
        if len(columns) == 1:
            raise UserError(f"{table.path}: no column holds predictions; write one per attribute, under its name")
        return _framed(columns, table)

    def labels(self, table: _Table) -> pd.DataFrame:
        """``image_id``, and a column per attribute in {+1, -1, 0}."""
        predicted = {
            next((n.removeprefix(p) for p in _PREFIXES if n.startswith(p)), n)
            for other in self._tables if other is not table for n in other.columns
        }  # fmt: skip
        names = [name for name in self._rest(table) if name.removeprefix("label_") in predicted]
        if not names:
            raise UserError(
                f"{table.path}: no column has the name of a predicted attribute; it has {', '.join(self._rest(table)[:8])}"
            )
        values = {name: table.numbers(name) for name in names}
        coding = self._coding(table, values)
        columns: dict[str, Any] = {"image_id": _objects(table.texts(table.image))}
        for name, found in values.items():
            columns[name] = np.select(
                [found == raw for raw in LABEL_CODINGS[coding]], [*LABEL_CODINGS[coding].values()], 0
            )
            columns[name] = columns[name].astype(np.int8)
            wrong = ~np.isnan(found) & ~np.isin(found, [*LABEL_CODINGS[coding]])
            if wrong.any():
                row = int(np.argmax(wrong))
                allowed = ", ".join(map(str, LABEL_CODINGS[coding]))
                raise UserError(
                    f"{table.path}, row {row + 1}, column {name!r}: label {found[row]:g} is not one of {allowed}, which "
                    f"the label coding {coding} allows"
                )
        return _framed(columns, table)

    def _coding(self, table: _Table, values: Mapping[str, np.ndarray]) -> str:
        if self.coding is not None:
            check_names("--label-coding", [self.coding], LABEL_CODINGS)
            return self.coding
        known = {v for found in values.values() for v in np.unique(found[~np.isnan(found)]).tolist()}
        written = [table.is_boolean(name) for name in values]
        if all(written):
            self.note(f"{table.path.name}: true is present, false is absent")
            return "zero_one"
        if known <= {-1.0, 1.0} and -1.0 in known:
            self.note(f"{table.path.name}: label 1 is present, -1 is absent")
            return "minus_one_one"
        if known <= {0.0, 1.0} and 0.0 in known and 1.0 in known and not any(written):
            self.note(f"{table.path.name}: label 1 is present, 0 is absent")
            return "zero_one"
        listed = ", ".join(f"{value:g}" for value in sorted(known)[:6]) or "nothing"
        raise UserError(
            f"{table.path}: the labels are {listed}{' and true or false' * any(written)}; say what they mean with "
            "--label-coding: zero_one (1 present, 0 absent) or minus_one_one (1 present, -1 absent, 0 undefined)"
        )

    def groups(self) -> pd.DataFrame:
        """``image_id`` and the dimensions, each from the first table that has it, for the images of the first such table."""
        homes: dict[str, _Table] = {}
        for name in self._dimensions:
            homes[name] = next(table for table in self._tables if name in table.columns)
        first = next(iter(homes.values()))
        ids = _objects(first.texts(first.image))
        frame = _framed({"image_id": ids}, first)
        for name, table in homes.items():
            values = _objects(table.texts(name))
            if table is not first:
                values = _matched(values, _objects(table.texts(table.image)), ids, table, first)
            frame[name] = values
        return frame

    def levels(self, groups: pd.DataFrame, name: str) -> tuple[str, ...]:
        """The levels of a dimension, in natural order; UserError if they are no levels."""
        found = [str(value) for value in pd.unique(groups[name]) if value not in ("", UNKNOWN)]
        place = f"{groups.attrs['path']}, column {name!r}"
        if not found:
            raise UserError(f"{place}: no image has a level")
        if len(found) > MAX_LEVELS:
            numbers = all(number(value) is not None for value in found)
            remedy = "write bands of them, such as 20-29" if numbers else "leave the column out if it is no group"
            raise UserError(f"{place}: {len(found)} different values, such as {found[0]!r}; {remedy}")
        if bad := next((value for value in found if "|" in value or "*" in value), None):
            raise UserError(f"{place}: the level {bad!r} has a | or *, which join levels; write it without")
        return tuple(sorted(found, key=_natural))

    def identities(self, predictions: dict[str, pd.DataFrame]) -> None:
        """Add ``identity_id`` to every table of predictions; UserError if tables name other people for an image."""
        if not self._people:
            return
        names: dict[str, str] = {}
        for table, column in self._people:
            own = dict(zip(_objects(table.texts(table.image)), _objects(table.texts(column)), strict=True))
            empty = next((image for image, person in own.items() if not person), None)
            if empty is not None:
                raise UserError(f"{table.path}: {column} of image {empty!r} is empty; fill it in, or remove the column")
            if names and (other := next((i for i, p in own.items() if names.get(i, p) != p), None)):
                raise UserError(
                    f"{table.path}: {column} of image {other!r} is {own[other]!r}, and another table says {names[other]!r}; "
                    "write the same people, or leave one of the columns out"
                )
            names |= own
        for frame in predictions.values():
            people = frame["image_id"].map(names)
            if people.isna().any():
                image = frame["image_id"][people.isna()].iloc[0]
                raise UserError(f"{frame.attrs['path']}: no table names the person of image {image!r}; add its row")
            frame.insert(1, "identity_id", people)


def _read_csv(path: Path) -> pa.Table:
    """A text table; commas, semicolons or tabs separate its values, as the header decides."""
    check_text(path)
    with open(path, "rb") as file:
        header = file.readline(1 << 20).decode("utf-8-sig", "replace")
    separator = max(",;\t", key=header.count)
    parse = pacsv.ParseOptions(delimiter=separator)
    read = pacsv.ReadOptions(block_size=_BLOCK)
    names = [value.strip().strip('"') for value in header.strip("\r\n").split(separator)]
    texts = {n: pa.string() for n in names if same_name(n) in (*IMAGE, *IDENTITY)}
    nulls = [*{form for text in _MISSING for form in (text, text.upper(), text.capitalize())}, "NaN"]
    convert = pacsv.ConvertOptions(
        column_types=texts, null_values=nulls, strings_can_be_null=True, true_values=["true", "True", "TRUE"],
        false_values=["false", "False", "FALSE"],
    )  # fmt: skip
    for _ in names:
        try:
            return pacsv.read_csv(path, read, parse, convert)
        except pa.ArrowInvalid as error:
            column = re.search(r"CSV column #(\d+)", str(error))
            if column is None or int(column[1]) >= len(names):
                raise UserError(f"{path}: not a CSV table ({error}); repair it, or write it again") from error
            texts[names[int(column[1])]] = pa.string()  # it begins with numbers, and has texts further down
            convert.column_types = texts
    raise UserError(f"{path}: not a CSV table; repair it, or write it again")


def _named(columns: Mapping[str, Any], wanted: Sequence[str]) -> str | None:
    """The first of the wanted columns that is there, whatever its case."""
    present = {same_name(name): name for name in columns}
    return next((present[same_name(name)] for name in wanted if same_name(name) in present), None)


def _objects(texts: pa.Array) -> np.ndarray:
    return texts.to_numpy(zero_copy_only=False)


def _framed(columns: Mapping[str, Any], table: _Table) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    frame.attrs["path"] = str(table.path)
    return frame


def _matched(values: np.ndarray, names: np.ndarray, wanted: np.ndarray, table: _Table, first: _Table) -> np.ndarray:
    place = pd.Index(names).get_indexer(pd.Index(wanted))
    if (place < 0).any():
        image = wanted[int(np.argmax(place < 0))]
        raise UserError(f"{table.path}: image {image!r} of {first.path} has no row; complete the table")
    return values[place]


def _natural(text: str) -> tuple:
    """Sorts 9 before 10, and 3-9 before 10-19."""
    head = number(text.split("-")[0].rstrip("+")) if text else None
    return (0, head, text) if head is not None else (1, 0.0, text)
