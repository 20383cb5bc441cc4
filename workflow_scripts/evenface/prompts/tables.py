"""Tables that people and models write (CSV, TSV, JSON lines): decoded, with the line of every row, and notes above the header."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evenface.errors import UserError
from evenface.storage.foreign import called

_UTF_16 = "UTF-16 text, or no text at all; save the file as UTF-8"
_FOREIGN = (
    (b"\xff\xfe", _UTF_16),
    (b"\xfe\xff", _UTF_16),
    (b"PK\x03\x04", "a spreadsheet or a zip archive; export its table as CSV"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet or another document; export its table as CSV"),
    (b"{\\rtf", "a document with formats; save it as plain text"),
    (b"%PDF", "a PDF document; copy its prompts into a .txt"),
    (b"\x89PNG", "a picture, not a prompt file"),
    (b"\xff\xd8\xff", "a picture, not a prompt file"),
)


@dataclass(frozen=True)
class Table:
    """A table: its column names, its rows with the number of the line each begins on, and its notes.

    Notes are lines ``# key: value`` before the header; other rows that begin with ``#`` are ignored there.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    notes: dict[str, str]


def read_utf8(path: Path, key: str) -> str:
    """The text of a file; UserError, naming the config ``key`` it is for, where it is absent, not UTF-8 or empty."""
    try:
        data = path.read_bytes()
        if what := called(data, _FOREIGN) or (_UTF_16 if 4 * data[:64].count(0) > len(data[:64]) else ""):
            raise UserError(f"{path}: this is {what}")
        if re.match(rb"\s*<(?:!doctype|html|\?xml)", data, re.I):
            raise UserError(f"{path}: this is a web page or XML, not a prompt file; get the file itself")
        text = data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: the prompt file does not exist; see config key {key}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: this is a folder, not a prompt file; see config key {key}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: the prompt file cannot be read ({error.strerror}); see config key {key}") from error
    if not text.strip():
        raise UserError(f"{path}: the prompt file is empty; write one prompt per line")
    return text


def lines_of(text: str) -> list[str]:
    """Lines as an editor shows them: U+2028 and other separators that ``str.splitlines`` knows end none."""
    return re.split(r"\r\n|\n|\r", text)


def read_table(path: Path, key: str) -> Table:
    """Read a table by its ending, in any case: ``.jsonl`` (an object a line), ``.tsv`` (tabs), else CSV (commas).

    CSV and TSV have double quotes; all are UTF-8. Values are stripped of outer spaces. UserError as :func:`read_utf8`, and
    for a row with more values than columns, repeated column names, broken quotes, and lines that are not such objects.
    """
    if path.suffix.lower() == ".jsonl":
        return _read_objects(path, key)
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(read_utf8(path, key), newline=""), strict=True, delimiter=separator)
    notes: dict[str, str] = {}
    columns: list[str] = []
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
                if re.match("sep=", columns[0]):
                    raise UserError(f"{path}: the first line, {columns[0]!r}, is a note for Excel; delete it")
                continue
            if any(value.strip() for value in values[len(columns) :]):
                raise UserError(
                    f"{path} row {first}: more values than columns; put a prompt with "
                    f"{'tabs' if separator != ',' else 'commas'} into double quotes"
                )
            padded = values + [""] * (len(columns) - len(values))
            rows.append((first, {name: value.strip() for name, value in zip(columns, padded)}))
    except csv.Error as error:
        raise UserError(f"{path} row {line + 1}: not a CSV row ({error}); close every double quote") from error
    if len(columns) == 1 and (other := next((sign for sign in ";\t,|" if sign in columns[0]), "")):
        raise UserError(
            f"{path}: the header is one column, {columns[0]!r}; save the table with {'tabs' if separator != ',' else 'commas'} "
            f"between its columns, not {other!r}"
        )
    if "" in columns and any(row[""] for _, row in rows):
        raise UserError(
            f"{path}: column {columns.index('') + 1} has no name; delete it, or name it (pandas writes its index there: "
            "to_csv(..., index=False) leaves it out)"
        )
    columns = [name for name in columns if name]  # spreadsheets end every line in commas
    rows = [(first, {name: row[name] for name in columns}) for first, row in rows]
    if repeated := [name for i, name in enumerate(columns) if name in columns[:i]]:
        raise UserError(f"{path}: column {repeated[0]!r} occurs twice in the header; remove one")
    return Table(path, columns, rows, notes)


def _read_objects(path: Path, key: str) -> Table:
    """JSON lines: one object a line, with texts, numbers or null; the columns are all keys in the order they come."""
    rows = []
    columns: dict[str, None] = {}
    for number, line in enumerate(lines_of(read_utf8(path, key)), 1):
        if not line.strip():
            continue
        try:
            pairs = json.loads(line, object_pairs_hook=list)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f'{path} row {number}: not JSON ({error}); write one object a line, {{"prompt": "..."}}'
            ) from error
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            raise UserError(f'{path} row {number}: not a JSON object; write one a line, {{"prompt": "..."}}')
        row: dict[str, str] = {}
        for name, value in pairs:
            if name in row:
                raise UserError(f"{path} row {number}: {name!r} occurs twice; remove one")
            if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
                raise UserError(f"{path} row {number}: {name!r} is {json.dumps(value)}; write a text, a number or null")
            row[name] = "" if value is None else str(value).strip()
        columns |= dict.fromkeys(row)
        rows.append((number, row))
    return Table(path, list(columns), rows, {})


def written(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """Rows as CSV text with a header and LF line ends."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def rows_digest(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """First 16 hex digits of the SHA-256 of the rows as :func:`written`: tells an edited file from a written one."""
    return hashlib.sha256(written(columns, rows).encode()).hexdigest()[:16]
