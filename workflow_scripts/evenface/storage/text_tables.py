"""Tables in text files of people and publications: what the file is, its lines, its header, its numbers, its rows.

Small tables are read here, row by row (CSV, TSV, JSON lines). :mod:`evenface.storage.columns` reads large ones by column.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evenface.errors import UserError, raise_if_machine
from evenface.storage.foreign import foreign_text

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class Table:
    """A table: its column names, its rows with the number of the line each begins on, and its notes.

    Notes are lines ``# key: value`` before the header; other rows that begin with ``#`` are ignored there.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    notes: dict[str, str]


def check_text(path: Path, key: str = "", *, json_lines: bool = False) -> None:
    """Raise UserError, naming the config ``key`` it is for, unless ``path`` is a file that may be text.

    The message says what the file is instead: a web page, an archive, an Excel workbook and so on.
    """
    see = f"; see config key {key}" if key else ""
    try:
        said = foreign_text(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: the file does not exist{see}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: this is a folder, not a file{see}") from error
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}){see}") from error
    if said and not (json_lines and "JSON" in said):
        raise UserError(f"{path}: this is {said}{see}")


def read_utf8(path: Path, key: str = "", *, json_lines: bool = False) -> str:
    """The text of a file, without a byte-order mark. UserError as :func:`check_text`, and if it is not UTF-8 or empty."""
    check_text(path, key, json_lines=json_lines)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise_if_machine(error, path)
        raise
    text = decoded(path, data)
    if not text.strip():
        raise UserError(f"{path}: the file is empty{f'; see config key {key}' if key else ''}")
    return text


def decoded(path: Path, data: bytes, first_line: int = 1) -> str:
    """``data``, which begins at line ``first_line`` of the file ``path``, as text; UserError naming the line if not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first_line + len(lines_of(data[: error.start].decode("utf-8-sig"))) - 1
        raise UserError(f"{path} line {line}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def lines_of(text: str) -> list[str]:
    """Lines as an editor shows them: U+2028 and other separators that ``str.splitlines`` knows end none."""
    return re.split(r"\r\n|\n|\r", text)


def number(text: str) -> float | None:
    """The number that ``text`` writes (``1``, ``+1``, ``1.0``, ``1e0``), or None. Infinity and NaN count as None."""
    text = text.strip(" \t")
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def whole_number(text: str) -> int | None:
    """The whole number that ``text`` writes, in any of the forms of :func:`number`, or None."""
    value = number(text)
    return int(value) if value is not None and value.is_integer() else None


def same_name(name: str) -> str:
    """A column's name, without what people and programs change: case, outer blanks, blanks for underscores."""
    return re.sub(r"[\s_]+", "_", name.strip()).casefold()


def check_header(place: str, names: Sequence[str]) -> None:
    """Raise UserError if two named columns of a header have one name, also if only case or blanks differ."""
    first: dict[str, str] = {}
    for name in filter(str.strip, names):
        if (other := first.get(same_name(name))) is not None:
            alike = "" if other == name else f", as {name!r}, which differs in case or blanks alone"
            raise UserError(f"{place}: column {other!r} occurs more than once in the header{alike}; remove one")
        first[same_name(name)] = name


def read_table(path: Path, key: str = "", *, unnamed: bool = False) -> Table:
    """Read a table by its ending, in any case: ``.jsonl`` (an object a line), ``.tsv`` (tabs), else CSV (commas).

    CSV and TSV have double quotes; all are UTF-8. Values are stripped of outer spaces. UserError as :func:`read_utf8`, and
    for a row with more values than columns, repeated column names, broken quotes, and lines that are not such objects; also
    for columns without a name that hold anything, unless they may be ``unnamed``. Columns without a name are left out.
    """
    if path.suffix.lower() == ".jsonl":
        return _read_objects(path, key)
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(read_utf8(path, key), newline=""), strict=True, delimiter=separator)
    notes: dict[str, str] = {}
    columns: list[str] = []
    nameless: set[int] = set()
    rows = []
    line = 0
    try:
        for values in reader:
            first, line = line + 1, reader.line_num
            if not values:
                continue
            if not columns and values[0].lstrip().startswith("#"):
                note, _, value = ",".join(values).strip().rstrip(",").lstrip("# ").partition(":")
                notes[note.strip()] = value.strip()
                continue
            if not columns:
                columns = [value.strip() for value in values]
                if columns[0].startswith("sep="):
                    raise UserError(f"{path}: the first line, {columns[0]!r}, is a note for Excel; delete it")
                continue
            if any(value.strip() for value in values[len(columns) :]):
                raise UserError(
                    f"{path} row {first}: more values than columns; put a value with "
                    f"{'tabs' if separator != ',' else 'commas'} into double quotes"
                )
            padded = values + [""] * (len(columns) - len(values))
            nameless |= {i for i, (name, value) in enumerate(zip(columns, padded), 1) if not name and value.strip()}
            rows.append((first, {name: value.strip() for name, value in zip(columns, padded) if name}))
    except csv.Error as error:
        raise UserError(f"{path} row {line + 1}: not a CSV row ({error}); close every double quote") from error
    if len(columns) == 1 and (other := next((sign for sign in ";\t,|" if sign in columns[0]), "")):
        raise UserError(
            f"{path}: the header is one column, {columns[0]!r}; save the table with {'tabs' if separator != ',' else 'commas'} "
            f"between its columns, not {other!r}"
        )
    if nameless and not unnamed:
        raise UserError(
            f"{path}: column {min(nameless)} has no name; delete it, or name it (pandas writes its index there: "
            "to_csv(..., index=False) leaves it out)"
        )
    check_header(str(path), columns)
    return Table(path, [*filter(None, columns)], rows, notes)


def _read_objects(path: Path, key: str) -> Table:
    """JSON lines: one object a line, with texts, numbers or null; the columns are all keys in the order they come."""
    rows = []
    columns: dict[str, None] = {}
    for number_, line in enumerate(lines_of(read_utf8(path, key, json_lines=True)), 1):
        if not line.strip():
            continue
        try:
            pairs = json.loads(line, object_pairs_hook=list)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f'{path} row {number_}: not JSON ({error}); write one object a line, {{"prompt": "..."}}'
            ) from error
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            raise UserError(f'{path} row {number_}: not a JSON object; write one a line, {{"prompt": "..."}}')
        row: dict[str, str] = {}
        for name, value in pairs:
            if name in row:
                raise UserError(f"{path} row {number_}: {name!r} occurs twice; remove one")
            if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
                raise UserError(
                    f"{path} row {number_}: {name!r} is {json.dumps(value)}; write a text, a number or null"
                )
            row[name] = "" if value is None else str(value).strip()
        columns |= dict.fromkeys(row)
        rows.append((number_, row))
    check_header(str(path), list(columns))
    return Table(path, list(columns), rows, {})
