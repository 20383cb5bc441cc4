"""The faces table that every reader returns, its checks, and functions that readers share.

One row per image: ``image_id`` ("<dataset>/<file name>", unique), ``image`` (reference),
``identity_id``, ``split`` (train, val, test), ``dataset``, ``gender``, ``age``, ``ethnicity``
(levels of ``taxonomy.DIMENSIONS`` or unknown), ``demographics_source``, ``labels_source``, then
one int8 column per attribute in {+1, -1, 0}, 0 for undefined.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from evenface.datasets.settings import DatasetSettings
from evenface.errors import UserError, raise_if_machine, unknown_name
from evenface.joblog import progress
from evenface.seeds import seed_from
from evenface.storage.formats import ENDINGS as IMAGE_SUFFIXES
from evenface.storage.images import ImageError, read_image
from evenface.storage.tables import read_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, LABEL_CODINGS, MAAD_ATTRIBUTES, UNKNOWN, age_level

TEXT_COLUMNS = ("image_id", "image", "identity_id", "split", "dataset", *DIMENSIONS,
                "demographics_source", "labels_source")  # fmt: skip
REJECTED_COLUMNS = ("image_id", "image", "stage", "reason", "detail")
SPLITS = ("train", "val", "test")

#: Number of images that ``verify_images: sample`` decodes.
SAMPLE_SIZE = 200

ATTRIBUTES = tuple(dict.fromkeys((*CELEBA_ATTRIBUTES, *MAAD_ATTRIBUTES)))


def attribute_columns(frame: pd.DataFrame) -> list[str]:
    """Attribute names among the columns, in the order of the table."""
    known = set(ATTRIBUTES)
    return [c for c in frame.columns if c in known]


def take_settings(reader: str, settings: Mapping[str, Any], kind: type[DatasetSettings]) -> dict[str, Any]:
    """The complete settings of a data set, with its ``name`` in ids (by default the reader's) and ``threads``.

    Raises UserError naming the first key that is unknown, missing or wrong.
    """
    given = {key: str(v) if isinstance(v, os.PathLike) else v for key, v in settings.items() if v is not None}
    own = {"name": given.pop("name", reader), "threads": given.pop("threads", 1)}
    return kind.filled({"reader": reader, **given}, f"datasets.{own['name']}") | own


def rejected_frame(rows: Iterable[Mapping[str, str]] = ()) -> pd.DataFrame:
    """The rejected table, from dicts with image_id, image, stage, reason, detail."""
    return pd.DataFrame(list(rows), columns=list(REJECTED_COLUMNS)).astype("str")


def build_faces(columns: Mapping[str, Any], labels: Mapping[str, np.ndarray] | pd.DataFrame) -> pd.DataFrame:
    """The checked faces table, from its text columns (a scalar is repeated) and attribute columns."""
    labels = pd.DataFrame(labels).reset_index(drop=True)
    rows = max([len(labels), *(len(v) for v in columns.values() if not isinstance(v, str))], default=0)
    text = pd.DataFrame({k: pd.Series(v, index=range(rows), dtype="str") if isinstance(v, str)
                         else pd.Series(np.asarray(v, object), dtype="str") for k, v in columns.items()})  # fmt: skip
    frame = pd.concat([text, labels.astype("int8")], axis=1)
    check_faces(frame)
    return frame


def check_faces(frame: pd.DataFrame, name: str = "faces table") -> None:
    """Raise UserError naming the first row and column that does not follow the schema of this module."""
    for column in TEXT_COLUMNS:
        if column not in frame:
            raise UserError(f"{name}: column {column!r} is missing")
        empty = frame[column].isna() | frame[column].eq("")
        if empty.any():
            raise UserError(f"{name}: row {int(np.argmax(empty))} has no {column}")
    repeated = frame["image_id"].duplicated()
    if repeated.any():
        raise UserError(f"{name}: image_id {frame['image_id'][repeated].iloc[0]!r} occurs more than once")
    allowed = {"split": SPLITS} | {d: (*levels, UNKNOWN) for d, levels in DIMENSIONS.items()}
    for column, levels in allowed.items():
        wrong = ~frame[column].isin(levels)
        if wrong.any():
            row = frame[wrong].iloc[0]
            raise UserError(unknown_name(f"{name}: {column} of {row['image_id']}", row[column], levels))
    for column in attribute_columns(frame):
        values = frame[column]
        if values.dtype != np.int8 or not values.between(-1, 1).all():
            raise UserError(f"{name}: column {column} is not int8 in -1, 0, 1")


def recode(values: np.ndarray, coding: str, undefined: bool) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Raw labels (rows, attributes) in the declared coding as int8 {+1, -1, 0}.

    ``undefined`` says whether the format may leave a label open (a raw 0 under minus_one_one).
    Returns the labels, and the position of the first value that the coding does not have, or None.
    """
    table = {k: v for k, v in LABEL_CODINGS[coding].items() if v or undefined}
    out = np.zeros(values.shape, np.int8)
    known = np.zeros(values.shape, bool)
    for raw, label in table.items():
        hit = values == raw
        out[hit] = label
        known |= hit
    if known.all():
        return out, None
    row, column = np.argwhere(~known)[0]
    return out, (int(row), int(column))


def coding_hint(coding: str, undefined: bool, value: int) -> str:
    """The allowed values, and the coding that would allow ``value``."""
    allowed = ", ".join(str(k) for k, v in LABEL_CODINGS[coding].items() if v or undefined)
    others = [c for c, t in LABEL_CODINGS.items() if c != coding and value in t and (t[value] or undefined)]
    remedy = f"; if the whole file is coded that way, declare label_coding: {others[0]}" if others else ""
    return f"label_coding {coding} allows {allowed}{remedy}"


def read_csv_typed(path: Path, types: Mapping[str, pa.DataType], required: Sequence[str]) -> pacsv.CSVStreamingReader:
    """Open a CSV with a header for reading in batches; only ``required`` columns, by name.

    Raises UserError when the file or a column is missing. Values that do not fit ``types`` raise
    pyarrow.ArrowInvalid while reading (see :func:`csv_error`).
    """
    header = read_header(path)
    missing = [c for c in required if c not in header]
    if missing:
        known = f"; it has {len(header)} columns: {', '.join(header[:6])} ..." if len(header) > 1 else ""
        raise UserError(f"{path}: column {missing[0]!r} is missing{known}")
    repeated = [c for c in required if header.count(c) > 1]
    if repeated:
        raise UserError(f"{path}: column {repeated[0]!r} occurs more than once in the header")
    return pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(use_threads=False, block_size=16 << 20, column_names=header, skip_rows=1),
        convert_options=pacsv.ConvertOptions(
            column_types=dict(types), include_columns=list(required), null_values=[], strings_can_be_null=False
        ),
    )


def read_header(path: Path) -> list[str]:
    """Column names of a CSV; raises UserError for a missing, empty or non-UTF-8 file."""
    try:
        with open(path, "rb") as file:
            line = file.readline(1 << 20)
        names = [name.strip().strip('"') for name in line.decode("utf-8-sig").rstrip("\r\n").split(",")]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the header is not UTF-8 text") from error
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not any(names):
        raise UserError(f"{path}: the file is empty")
    return names


def csv_error(path: Path, error: Exception) -> UserError:
    """A pyarrow CSV error as a sentence naming file, line and column."""
    detail = " ".join(str(error).split())
    if count := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", detail):
        line, expected, found = count.groups()
        return UserError(f"{path} line {line}: {found} columns, {expected} in the header; the line is damaged")
    if value := re.search(r"In CSV column #(\d+): Row #(\d+): .*invalid value '(.*)'$", detail):
        column, line, text = value.groups()
        name = dict(enumerate(read_header(path))).get(int(column), f"column {column}")
        return UserError(f"{path} line {line}: {name} is {text[:40]!r}, not a label; the line is damaged")
    return UserError(f"{path}: {detail[:300]}; every row needs one whole number per attribute")


def split_verified(
    faces: pd.DataFrame, mode: bool | str, *, threads: int = 1
) -> tuple[pd.DataFrame, list[dict[str, str]], int]:
    """Decode images within bounds; return the good rows, rejections, and how many were decoded.

    ``mode``: true for all, "sample" for :data:`SAMPLE_SIZE` drawn by data set name and size, false
    for none. The order of rows never depends on ``threads``.
    """
    if mode is False or faces.empty:
        return faces, [], 0
    chosen = np.arange(len(faces))
    if mode == "sample" and len(faces) > SAMPLE_SIZE:
        seed = seed_from("verify", faces["dataset"].iloc[0], len(faces))
        generator = np.random.Generator(np.random.PCG64(seed))
        chosen = np.sort(generator.choice(len(faces), SAMPLE_SIZE, replace=False))
    references = faces["image"].to_numpy(object)[chosen]

    def problem(reference: str) -> ImageError | None:
        try:
            read_image(reference)
        except ImageError as error:
            return error
        return None

    with ThreadPoolExecutor(threads) as pool:
        found = list(progress(pool.map(problem, references), len(references), "verifying images"))
    bad = [(int(i), e) for i, e in zip(chosen, found, strict=True) if e is not None]
    rejected = [
        {"image_id": faces["image_id"].iloc[i], "image": faces["image"].iloc[i], "stage": "read", "reason": e.reason,
         "detail": e.detail}
        for i, e in bad
    ]  # fmt: skip
    keep = np.ones(len(faces), bool)
    keep[[i for i, _ in bad]] = False
    return faces[keep].reset_index(drop=True), rejected, len(chosen)


def apply_demographics(
    faces: pd.DataFrame, table_path: str | os.PathLike | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Replace demographics by those of a table, by image.

    The table (Parquet or CSV) has the image id or file name in the column image_id, image, file or Filename.
    Its columns gender, age (a level or years) and ethnicity replace the reader's. Images without a row, and
    empty values, become unknown. Returns the table and counts for the summary. Raises UserError for a missing
    file or column, a repeated image, or an unknown level.
    """
    if not table_path:
        return faces, {}
    path = Path(table_path)
    if path.suffix == ".csv":
        read_header(path)
        table = pd.read_csv(path, dtype="str", keep_default_na=False)
    else:
        table = read_table(path)
    key = next((k for k in ("image_id", "image", "file", "Filename") if k in table), None)
    if key is None:
        raise UserError(
            f"{path}: column 'image_id' is missing; give this name to the column of image ids or file names"
        )
    present = [d for d in DIMENSIONS if d in table]
    if not present:
        raise UserError(f"{path}: none of the columns {', '.join(DIMENSIONS)} is there")
    # "celeba/000001.jpg", "000001.jpg" and "img_align_celeba/000001.jpg" are one image; VGGFace2
    # file names are unique only together with their folder.
    prefix = faces["dataset"].iloc[0] + "/" if len(faces) else ""
    names = table[key].astype("str").str.removeprefix(prefix)
    wanted = faces["image_id"].str.removeprefix(prefix)
    if not wanted.str.contains("/", regex=False).any():
        names = names.str.rsplit("/", n=1).str[-1]
    repeated = names.duplicated()
    if repeated.any():
        raise UserError(f"{path}: image {names[repeated].iloc[0]!r} has more than one row")
    values = table.set_index(pd.Index(names, dtype="object"))[present].reindex(pd.Index(wanted, dtype="object"))
    matched = int(wanted.isin(set(names)).sum())
    if len(faces) and not matched:
        raise UserError(
            f"{path}: no row belongs to an image of {prefix[:-1]}; its first key is {names.iloc[0]!r}"
            if len(names)
            else f"{path}: the table is empty"
        )
    faces = faces.copy()
    for dimension in present:
        column = values[dimension].reset_index(drop=True)
        if dimension == "age":
            years = pd.to_numeric(column, errors="coerce")
            column = column.astype("object").where(years.isna(), years.map(age_level, na_action="ignore"))
        column = column.astype("object").where(column.notna() & column.ne(""), UNKNOWN).astype("str")
        wrong = ~column.isin([*DIMENSIONS[dimension], UNKNOWN])
        if wrong.any():
            row = int(np.argmax(wrong))
            levels = (*DIMENSIONS[dimension], UNKNOWN)
            raise UserError(
                unknown_name(f"{path}: {dimension} of image {wanted.iloc[row]!r}", column.iloc[row], levels)
            )
        faces[dimension] = column.to_numpy()
    rest = [d for d in DIMENSIONS if d not in present]
    label = f"{path.name} ({', '.join(present)})" if rest else path.name
    kept = f"; {faces['demographics_source'].iloc[0]}" if rest and len(faces) else ""
    faces["demographics_source"] = label + kept
    return faces, {"demographics_rows_matched": matched, "images_without_demographics": len(faces) - matched}


def support(faces: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Images per level of each demographic dimension, all levels listed."""
    return {
        d: {level: int(n) for level, n in faces[d].value_counts().reindex([*levels, UNKNOWN], fill_value=0).items()}
        for d, levels in DIMENSIONS.items()
    }


def summarise(faces: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, Any]:
    """Counts for every reader's summary: images, identities, splits, groups, label balance, rejections."""
    names = attribute_columns(faces)
    return {
        "images": len(faces),
        "identities": int(faces["identity_id"].nunique()),
        "splits": {s: int((faces["split"] == s).sum()) for s in SPLITS},
        "groups": support(faces),
        "labels": {
            n: {"positive": int((faces[n] == 1).sum()), "negative": int((faces[n] == -1).sum()),
                "undefined": int((faces[n] == 0).sum())} for n in names
        },
        "rejected": {str(k): int(v) for k, v in rejected["reason"].value_counts().sort_index().items()},
    }  # fmt: skip


def list_images(folder: Path, *, depth: int) -> dict[str, str]:
    """Image files below ``folder``: name relative to it (with ``/``) -> path, sorted by name.

    ``depth`` 0 looks into the folder, 1 into its sub-folders. UserError for names that are not UTF-8, which no table
    can hold.
    """
    found: dict[str, str] = {}

    def scan(path: str, prefix: str, level: int) -> None:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.name.isascii() and os.fsencode(entry.name) != entry.name.encode(errors="replace"):
                    raise UserError(f"{path}: the name {os.fsencode(entry.name)!r} is not UTF-8; rename it")
                if level == 0 and entry.name.lower().endswith(IMAGE_SUFFIXES):
                    found[prefix + entry.name] = entry.path
                elif level and entry.is_dir():
                    scan(entry.path, f"{prefix}{entry.name}/", level - 1)

    try:
        scan(str(folder), "", depth)
    except OSError as error:
        raise_if_machine(error, error.filename)
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror})") from error
    return dict(sorted(found.items()))
