"""Reads large text tables by column: labels, lists of pictures and splits, as their authors or other programs wrote them.

Commas, semicolons, tabs or runs of blanks separate the values; the header decides which. Its columns are found by name, in
any order and case. Blank lines are passed over and counted, lines end in LF, CRLF or CR, a byte-order mark is skipped.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from evenface.errors import UserError, raise_if_machine
from evenface.storage.tables import is_parquet, read_arrow
from evenface.storage.text_tables import check_header, check_text, decoded, number, same_name

#: Bytes in which the header must end, and bytes that are read at a time. No line may be longer.
_HEAD, _BLOCK = 1 << 20, 16 << 20
_LINE = re.compile(rb"([^\r\n]*)(?:\r\n|\r|\n|\Z)")
_BLANKS = " \t"

#: What the text of a column means, as an int8; ValueError says what is wrong with it.
Meaning = Callable[[str], int]


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    lines    int64 (n,), the number of the line in which each row stands
    texts    column -> strings (n,), without outer blanks
    numbers  column -> int8 (n,), what the column's meaning made of its texts
    """

    lines: np.ndarray
    texts: dict[str, pa.Array]
    numbers: dict[str, np.ndarray]

    def taken(self, chosen: np.ndarray) -> Rows:
        """The rows that ``chosen``, bool (n,), marks."""
        mask = pa.array(chosen)
        texts = {name: values.filter(mask) for name, values in self.texts.items()}
        return Rows(self.lines[chosen], texts, {name: values[chosen] for name, values in self.numbers.items()})

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """The rows of all ``parts``, of which there is at least one."""
        return cls(
            np.concatenate([part.lines for part in parts]),
            {name: pa.concat_arrays([part.texts[name] for part in parts]) for name in parts[0].texts},
            {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers},
        )


def check_unique(path: Path, names: Sequence[str], lines: np.ndarray) -> None:
    """Raise UserError naming the lines of the first of ``names`` that occurs twice in the table ``path``."""
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    for name, line in zip(names, lines.tolist(), strict=True):
        if name in first:
            raise UserError(f"{path} line {line}: {name!r} is already listed in line {first[name]}; remove one of them")
        first[name] = line


@dataclass
class ColumnReader:
    """A table whose header is read, and whose rows follow.

    ``texts`` are the columns that are read as texts; the first of them names the row and is never empty. ``meanings`` are
    the columns that are read as numbers. ``also`` has other spellings of a column's name; ``optional`` columns may be
    absent. ``headerless`` gives the names of all columns of a table without a header, from the values of its first row;
    None refuses such a table. A ``counted`` table may state the number of its rows in a line above the header.

    ``present`` and ``unused`` are the columns that are read, and those that are there and are not. Everything raises
    UserError naming file, line and column: files of another kind, text that is not UTF-8, missing and repeated columns,
    rows with more or fewer values than the header, and values without a meaning.
    """

    path: Path
    texts: Sequence[str]
    meanings: Mapping[str, Meaning] = field(default_factory=dict)
    also: Mapping[str, Sequence[str]] = field(default_factory=dict)
    optional: Sequence[str] = ()
    headerless: Callable[[list[str]], Sequence[str] | None] = lambda values: None
    counted: bool = False

    def __post_init__(self) -> None:
        check_text(self.path)
        with self._open() as file:
            head = file.read(_HEAD)
        lines = self._filled(head)
        begin, self._end, line, header = next(lines, (0, 0, 1, ""))
        if re.fullmatch('"?sep=.?"?', header):  # Excel's note, which the header repeats
            begin, self._end, line, header = next(lines, (0, 0, line, ""))
        self._count = None
        if self.counted and header and not header.strip(_BLANKS).strip("0123456789"):
            self._count = int(header)
            begin, self._end, line, header = next(lines, (0, 0, line, ""))
        if not header:
            raise UserError(f"{self.path}: the file is empty, or ends before its header; get it again")
        if self._end == _HEAD:
            raise UserError(f"{self.path} line {line}: longer than {_HEAD} bytes; this is not a table")
        self._separator = next((sign for sign in ",;\t" if sign in header), " ")
        names, self._first = self._split(header), line + 1
        found = self._places(names)
        if found:
            check_header(f"{self.path} line {line}", names)
            below = next(lines, None)
            if self.texts[0] not in found and below and len(self._split(below[3])) == len(names) + 1:
                names = [self.texts[0], *names]  # the column that names the rows often has no name itself
                found = self._places(names)
        elif len(given := self.headerless(names) or ()) == len(names):
            names, self._first, self._end = list(given), line, begin
            found = self._places(names)
        self._columns, self._found = len(names), found
        for column in (*self.texts, *self.meanings):
            if column not in found and column not in self.optional:
                self._refuse(line, names, column)
        self.present = [name for name in (*self.texts, *self.meanings) if name in found]
        self.unused = [name or f"column {i + 1}" for i, name in enumerate(names) if i not in found.values()]

    def _open(self) -> BinaryIO:
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise_if_machine(error, self.path)
            raise

    def _filled(self, head: bytes) -> Iterator[tuple[int, int, int, str]]:
        """The lines of the head that are not blank: where each begins and ends, its number, its text."""
        at = 3 if head.startswith(b"\xef\xbb\xbf") else 0
        line = 1
        while at < len(head):
            match = _LINE.match(head, at)
            if match[1].strip():
                yield at, match.end(), line, decoded(self.path, match[1], line)
            at, line = match.end(), line + 1

    def _split(self, line: str) -> list[str]:
        if self._separator == " ":
            return re.split("[ \t]+", line.strip(_BLANKS))
        return [value.strip(_BLANKS).strip('"').strip(_BLANKS) for value in line.split(self._separator)]

    def _places(self, names: Sequence[str]) -> dict[str, int]:
        return _places(names, (*self.texts, *self.meanings), self.also)

    def _refuse(self, line: int, names: list[str], column: str) -> None:
        listed = f"{', '.join(names[:6])}{' ...' if len(names) > 6 else ''}"
        if any(number(name) is not None for name in names):
            needed = [*self.texts, *self.meanings]
            raise UserError(
                f"{self.path} line {line} is a row, not a header: {listed}; write the names of the columns above it: "
                f"{', '.join(needed[:6])}{' ...' if len(needed) > 6 else ''}"
            )
        raise UserError(
            f"{self.path} line {line}: column {column!r} is missing; the header has {len(names)} columns: {listed}"
        )

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        """Column -> what each int8 means, in the order of their unsigned bytes."""
        return {name: _meanings_of(meaning) for name, meaning in self.meanings.items()}

    # --- the rows ---

    def read(self, keep: Callable[[pa.Array], np.ndarray] | None = None) -> Rows:
        """All rows, or those that ``keep`` marks: a bool (n,) for the names (n,) of some rows. All are checked.

        ``rows`` is then the number of all rows. UserError if there is none.
        """
        for exact in (False, True):
            parts, self.rows = [], 0
            try:
                for part in self._parts(exact):
                    self.rows += len(part.lines)
                    parts.append(part if keep is None else part.taken(keep(part.texts[self.texts[0]])))
                break
            except _OtherNumbersError:
                continue
        if not self.rows:
            raise UserError(f"{self.path}: the table has a header and no rows; get the whole file")
        if self._count not in (None, self.rows):
            raise UserError(
                f"{self.path}: line 1 announces {self._count} rows, but {self.rows} follow; get the whole file, or "
                "correct the number"
            )
        return Rows.joined(parts)

    def _parts(self, exact: bool) -> Iterator[Rows]:
        """The rows, in parts.

        Arrow reads whole numbers fast. If it finds anything else, _OtherNumbersError asks for ``exact`` reading, in which
        the different texts of every column are looked at one by one.
        """
        used = {f"{place}": column for column, place in self._found.items()}
        kind = pa.dictionary(pa.int32(), pa.binary()) if exact else pa.int8()
        types = {place: pa.binary() if column in self.texts else kind for place, column in used.items()}
        passed: list[int] = []  # lines of blanks, which Arrow does not count as rows
        wrong: list[tuple[int, int]] = []

        def other_width(row: pacsv.InvalidRow) -> str:
            if not row.text.strip(_BLANKS):
                passed.append(row.number)
                return "skip"
            wrong.append((row.number, row.actual_columns))
            return "error"

        read = pacsv.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=[f"{i}" for i in range(self._columns)]
        )
        parse = pacsv.ParseOptions(
            delimiter=self._separator, quote_char=self._separator != " " and '"', ignore_empty_lines=False,
            invalid_row_handler=other_width,
        )  # fmt: skip
        convert = pacsv.ConvertOptions(
            column_types=types, include_columns=[*used], null_values=[], strings_can_be_null=False
        )
        rows = 0
        with self._open() as file:
            file.seek(0, 2)
            if file.tell() == self._end:
                return
            file.seek(self._end)
            source = _Source(file, self.path, self._first, squeeze=self._separator == " ")
            try:
                for batch in pacsv.open_csv(pa.PythonFile(source, mode="r"), read, parse, convert):
                    before = np.array(passed, np.int64) - np.arange(1, len(passed) + 1)
                    places = np.arange(rows, rows + batch.num_rows)
                    lines = places + self._first + np.searchsorted(before, places, "right")
                    rows += batch.num_rows
                    yield self._meant(batch.rename_columns([used[name] for name in batch.schema.names]), lines)
            except pa.ArrowInvalid as error:
                if not exact:
                    raise _OtherNumbersError from error
                if wrong:
                    row, width = wrong[0]
                    raise UserError(
                        f"{self.path} line {self._first + row - 1}: {width} values, but {self._columns} columns; repair "
                        "the line, or get the file again"
                    ) from error
                raise UserError(f"{self.path}: not a table with lines of at most {_BLOCK} bytes ({error})") from error
        if source.odd and not exact:
            raise _OtherNumbersError
        if source.lines != rows + len(passed):
            raise UserError(f"{self.path}: a value has a line break, or a double quote is not closed; remove it")

    def _meant(self, batch: pa.RecordBatch, lines: np.ndarray) -> Rows:
        """The rows of ``batch`` that are not blank, and what their texts mean."""
        blank = pc.equal(batch[self.texts[0]], b"")
        if pc.any(blank).as_py():
            if any(pa.types.is_integer(values.type) for values in batch.columns):
                raise _OtherNumbersError
            for values in batch.columns:
                blank = pc.and_(blank, pc.equal(values.cast(pa.binary()), b""))
            batch, lines = batch.filter(pc.invert(blank)), lines[~blank.to_numpy(zero_copy_only=False)]
        texts = {name: self._text(name, batch[name], lines) for name in self.texts if name in self._found}
        key = texts[self.texts[0]]
        empty = pc.equal(key, "").to_numpy(zero_copy_only=False)
        if empty.any():
            raise UserError(
                f"{self.path} line {lines[empty.argmax()]}: {self.texts[0]} is empty; fill it in, or remove the line"
            )
        numbers, wrong = {}, []
        for name in self.meanings:
            if name not in self._found:
                continue
            if pa.types.is_integer(batch[name].type):
                numbers[name] = self._tables[name][batch[name].to_numpy().view(np.uint8)]
                if (numbers[name] == _WITHOUT).any():
                    raise _OtherNumbersError
                continue
            distinct = [text.decode().strip(_BLANKS) for text in batch[name].dictionary.to_pylist()]
            values, reasons = np.zeros(len(distinct), np.int8), {}
            for i, text in enumerate(distinct):
                try:
                    values[i] = self.meanings[name](text)
                except ValueError as error:
                    reasons[i] = f"{name} is {text[:40]!r}; {error}"
            places = batch[name].indices.to_numpy()
            numbers[name] = values[places]
            if reasons and (bad := np.isin(places, [*reasons])).any():
                row = int(bad.argmax())
                wrong.append((row, reasons[places[row]]))
        if wrong:
            row, reason = min(wrong, key=lambda one: one[0])
            raise UserError(f"{self.path} line {lines[row]}: {key[row].as_py()}: {reason}")
        return Rows(lines, texts, numbers)

    def _text(self, name: str, values: pa.Array, lines: np.ndarray) -> pa.Array:
        """Strings of ``values``, without outer blanks."""
        texts = values.cast(pa.string())
        broken = pc.or_(pc.match_substring(texts, "\n"), pc.match_substring(texts, "\r")).to_numpy(zero_copy_only=False)
        if broken.any():
            raise UserError(
                f"{self.path} line {lines[broken.argmax()]}: {name} has a line break; close every double quote"
            )
        return pc.ascii_trim(texts, _BLANKS)


def _places(names: Sequence[str], wanted: Sequence[str], also: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Wanted column -> its place among ``names``."""
    places = {same_name(name): i for i, name in reversed([*enumerate(names)])}
    spelled = {column: [same_name(name) for name in (column, *also.get(column, ()))] for column in wanted}
    found = {column: next((places[s] for s in names if s in places), None) for column, names in spelled.items()}
    return {column: place for column, place in found.items() if place is not None}


def read_texts(
    path: Path, texts: Sequence[str], *, also: Mapping[str, Sequence[str]], optional: Sequence[str]
) -> tuple[Rows, list[str]]:
    """The rows of a Parquet table or a text table, as :class:`ColumnReader`, and the names of the columns it does not read.

    Missing values and NaN of a Parquet table are empty texts, and its lines are the numbers of its rows, from 1.
    """
    if not is_parquet(path):
        reader = ColumnReader(path, texts, also=also, optional=optional)
        return reader.read(), reader.unused
    table = read_arrow(path)
    check_header(str(path), table.column_names)
    found = _places(table.column_names, texts, also)
    if absent := [name for name in texts if name not in found and name not in optional]:
        raise UserError(f"{path}: column {absent[0]!r} is missing; it has {', '.join(table.column_names[:6])}")
    columns = {}
    for name, place in found.items():
        values = table.column(place).combine_chunks()
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), None, values)
        try:
            columns[name] = pc.ascii_trim(pc.fill_null(values.cast(pa.string()), ""), _BLANKS)
        except pa.ArrowException as error:
            raise UserError(f"{path}: column {name!r} holds {values.type}, not texts or numbers") from error
    unused = [name for i, name in enumerate(table.column_names) if i not in found.values()]
    return Rows(np.arange(1, len(table) + 1), columns, {}), unused


class _OtherNumbersError(Exception):
    """A table writes numbers in another form than whole numbers of one byte, or has an error."""


#: Stands for an int8 without a meaning.
_WITHOUT = -128


def _meanings_of(meaning: Meaning) -> np.ndarray:
    table = np.full(256, _WITHOUT, np.int8)
    for value in range(-127, 128):
        with contextlib.suppress(ValueError):
            table[value] = meaning(str(value))
    return table


class _Source:
    """What follows the header, as Arrow reads it. It must be UTF-8, and its lines are counted.

    ``odd`` is set if there may be numbers such as 0x1, which Arrow would read.
    """

    closed = False

    def __init__(self, file: BinaryIO, path: Path, first: int, squeeze: bool):
        self._path, self._first = path, first
        self._file = self._squeezed(file) if squeeze else file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.lines, self.odd, self._last = 0, False, b"\n"

    def read(self, size: int = -1) -> bytes:
        """The next bytes; at the end, none."""
        data = self._file.read(size)
        try:
            if self._decoder.getstate()[0] or not data.isascii():
                self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self._first + self.lines + _ends(error.object[: error.start])
            raise UserError(f"{self._path} line {line} is not UTF-8; save the file as UTF-8") from error
        self.odd |= (b"x" in data and b"0x" in data) or (b"X" in data and b"0X" in data)
        if data:
            self.lines += _ends(data) - (self._last == b"\r" and data.startswith(b"\n"))
            self._last = data[-1:]
        else:
            self.lines += self._last not in b"\r\n"
            self._last = b"\n"
        return data

    @staticmethod
    def _squeezed(file: BinaryIO) -> BinaryIO:
        """All that is left, with one blank where there are several, and none at the ends of lines."""
        data = file.read().replace(b"\t", b" ")
        while b"  " in data:
            data = data.replace(b"  ", b" ")
        for end in (b"\n", b"\r"):
            data = data.replace(b" " + end, end).replace(end + b" ", end)
        return io.BytesIO(data.strip(b" "))


def _ends(data: bytes) -> int:
    """The number of line ends: LF, CR or CRLF."""
    returns = data.count(b"\r")
    return data.count(b"\n") + returns - (returns and data.count(b"\r\n"))
