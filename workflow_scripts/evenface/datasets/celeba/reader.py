"""CelebA (Liu et al., ICCV 2015), in its published text files or the Kaggle CSV variant.

The folder holds ``list_attr_celeba.txt`` (or ``.csv``), ``list_eval_partition.txt`` (or ``.csv``),
``img_align_celeba/`` and, where available, ``identity_CelebA.txt``. Everything is joined by file name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evenface.datasets import faces as table
from evenface.datasets.settings import DatasetSettings
from evenface.errors import UserError, raise_if_machine
from evenface.taxonomy import CELEBA_ATTRIBUTES, UNKNOWN

log = logging.getLogger("evenface")

_PARTITIONS = {0: "train", 1: "val", 2: "test"}
_CHUNK = 20_000


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces, rejected rows and a summary.

    Settings: ``root`` folder; ``name`` of the data set in ids; ``label_coding`` of the attribute file;
    ``verify_images`` true, false or sample; ``allow_missing_images``: rows without a file are recorded instead
    of refused; ``demographics`` table (CelebA does not label ethnicity); ``threads`` for decoding. Gender comes
    from Male. Age is young if Young is set, else unknown. Without an identity file every image is its own
    identity. Raises UserError naming file and row.
    """
    values = table.take_settings("celeba", settings, DatasetSettings)
    root, dataset = Path(values["root"]), values["name"]
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set the data set's root to the folder with list_attr_celeba.txt")
    path, names, labels = _attributes(root, values["label_coding"])
    _refuse_duplicates(path, names)
    index = pd.Index(names, dtype="object")
    split = _partition(root, index)
    identity = _identities(root, index)
    images = _images(root)

    present = index.isin(list(images))
    rejected: list[dict[str, str]] = []
    if not present.any():
        raise UserError(f"{root}: none of the {len(names)} images of {path.name} is in img_align_celeba; "
                        f"the first is {names[0]!r}")  # fmt: skip
    if not present.all():
        missing = index[~present]
        if not values["allow_missing_images"]:
            raise UserError(
                f"{path}: {len(missing)} rows have no image in {root / 'img_align_celeba'}, the first is "
                f"{missing[0]!r}; complete the folder or set allow_missing_images: true"
            )
        rejected += [_reject(dataset, n, "", "missing", f"listed in {path.name}, not on disk") for n in missing]
    known = set(names)
    rejected += [_reject(dataset, n, p, "no_row", f"on disk, not listed in {path.name}")
                 for n, p in images.items() if n not in known]  # fmt: skip

    kept = index[present]
    frame = labels[present]
    male = frame[:, CELEBA_ATTRIBUTES.index("Male")]
    young = frame[:, CELEBA_ATTRIBUTES.index("Young")]
    faces = table.build_faces(
        {
            "image_id": [f"{dataset}/{n}" for n in kept],
            "image": [images[n] for n in kept],
            "identity_id": [f"{dataset}/{i}" for i in (identity[present] if identity is not None else kept)],
            "split": split[present],
            "dataset": dataset,
            "gender": np.select([male == 1, male == -1], ["male", "female"], UNKNOWN),
            "age": np.where(young == 1, "young", UNKNOWN),
            "ethnicity": UNKNOWN,
            "demographics_source": "CelebA Male and Young; no ethnicity",
            "labels_source": f"{path.name} ({values['label_coding']})",
        },
        dict(zip(CELEBA_ATTRIBUTES, frame.T, strict=True)),
    )
    faces, bad, decoded = table.split_verified(faces, values["verify_images"], threads=values["threads"])
    faces, counts = table.apply_demographics(faces, values["demographics"])
    dropped = table.rejected_frame([*rejected, *bad])
    summary = {
        "reader": "celeba",
        "attribute_file": str(path),
        "rows": len(names),
        "images_on_disk": len(images),
        "identities_known": identity is not None,
        "images_decoded": decoded,
        **counts,
        **table.summarise(faces, dropped),
    }
    return faces, dropped, summary


def _reject(dataset: str, name: str, image: str, reason: str, detail: str) -> dict[str, str]:
    return {"image_id": f"{dataset}/{name}", "image": image, "stage": "read", "reason": reason, "detail": detail}


def _find(root: Path, *names: str) -> Path | None:
    return next((root / n for n in names if (root / n).is_file()), None)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; the file is damaged or not CelebA's") from error
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _attributes(root: Path, coding: str) -> tuple[Path, list[str], np.ndarray]:
    """File, image names and labels int8 (rows, 40) in the order of CELEBA_ATTRIBUTES."""
    path = _find(root, "list_attr_celeba.txt", "list_attr_celeba.csv")
    if path is None:
        raise UserError(f"{root}: neither list_attr_celeba.txt nor list_attr_celeba.csv is there")
    names, raw, line_of = _attributes_csv(path) if path.suffix == ".csv" else _attributes_txt(path)
    if not names:
        raise UserError(f"{path}: the file lists no image")
    labels, wrong = table.recode(raw, coding, undefined=False)
    if wrong is not None:
        row, column = wrong
        value = int(raw[row, column])
        raise UserError(
            f"{path} line {line_of(row)}: {names[row]} has {CELEBA_ATTRIBUTES[column]} = {value}; "
            f"{table.coding_hint(coding, False, value)}"
        )
    return path, names, labels


def _columns(path: Path, header: list[str]) -> list[int]:
    missing = [a for a in CELEBA_ATTRIBUTES if a not in header]
    if missing:
        raise UserError(f"{path}: attribute column {missing[0]!r} is missing ({len(header)} names found)")
    repeated = [a for a in CELEBA_ATTRIBUTES if header.count(a) > 1]
    if repeated:
        raise UserError(f"{path}: attribute column {repeated[0]!r} occurs more than once")
    return [header.index(a) for a in CELEBA_ATTRIBUTES]


def _attributes_txt(path: Path) -> tuple[list[str], np.ndarray, Callable[[int], int]]:
    lines = _lines(path)
    if len(lines) < 2:
        raise UserError(f"{path}: the file is cut off: a count line and a line of attribute names are expected")
    try:
        count = int(lines[0])
    except ValueError as error:
        raise UserError(f"{path} line 1: {lines[0][:40]!r} is not the number of images") from error
    header = lines[1].split()
    order = _columns(path, header)
    numbers = [i for i in range(2, len(lines)) if lines[i].strip()]
    if len(numbers) != count:
        raise UserError(
            f"{path}: line 1 announces {count} images, but {len(numbers)} rows follow; the file is incomplete"
        )
    names: list[str] = []
    parts = []
    for start in range(0, len(numbers), _CHUNK):
        rows = []
        for i in numbers[start : start + _CHUNK]:
            fields = lines[i].split()
            if len(fields) != len(header) + 1:
                raise UserError(f"{path} line {i + 1}: {len(fields) - 1} values, {len(header)} attributes")
            names.append(fields[0])
            rows.append(fields[1:])
        try:
            parts.append(np.array(rows, dtype="U4").astype(np.int16)[:, order])
        except ValueError:
            for i, row in zip(numbers[start : start + _CHUNK], rows, strict=True):
                for name, text in zip(header, row, strict=True):
                    if not text.lstrip("+-").isdigit():
                        raise UserError(
                            f"{path} line {i + 1}: {name} is {text!r}, not a whole number; the line is damaged"
                        ) from None
            raise UserError(f"{path}: a label is not a whole number") from None
    raw = np.concatenate(parts) if parts else np.zeros((0, len(order)), np.int16)
    return names, raw, lambda row: numbers[row] + 1


def _attributes_csv(path: Path) -> tuple[list[str], np.ndarray, Callable[[int], int]]:
    header = table.read_header(path)
    if "image_id" not in header:
        raise UserError(f"{path}: column 'image_id' is missing; it has {', '.join(header[:4])} ...")
    _columns(path, header)
    types = {"image_id": pa.string()} | {a: pa.int8() for a in CELEBA_ATTRIBUTES}
    try:
        data = table.read_csv_typed(path, types, list(types)).read_all()
        raw = np.column_stack([data[a].to_numpy() for a in CELEBA_ATTRIBUTES])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise table.csv_error(path, error) from error
    return data["image_id"].to_pylist(), raw, lambda row: row + 2


def _refuse_duplicates(path: Path, names: list[str]) -> None:
    if len(set(names)) != len(names):
        first: dict[str, int] = {}
        for row, name in enumerate(names):
            if name in first:
                raise UserError(f"{path}: image {name!r} is listed twice (data rows {first[name] + 1} and {row + 1})")
            first[name] = row


def _pairs(path: Path, what: str) -> dict[str, str]:
    """File name -> second field, of a headerless text file or a CSV with one."""
    is_csv = path.suffix == ".csv"
    pairs: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        fields = [f.strip().strip('"') for f in line.split(",")] if is_csv else line.split()
        if not line.strip() or (is_csv and number == 1):
            continue
        if len(fields) != 2:
            raise UserError(f"{path} line {number}: a file name and a {what} are expected, not {line[:60]!r}")
        if fields[0] in pairs:
            raise UserError(f"{path} line {number}: image {fields[0]!r} is listed twice")
        pairs[fields[0]] = fields[1]
    return pairs


def _lookup(path: Path, pairs: dict[str, str], names: pd.Index, what: str) -> np.ndarray:
    missing = next((n for n in names if n not in pairs), None)
    if missing is not None:
        raise UserError(f"{path}: image {missing!r} of the attribute file has no {what} here")
    return np.array([pairs[n] for n in names], dtype=object)


def _partition(root: Path, names: pd.Index) -> np.ndarray:
    path = _find(root, "list_eval_partition.txt", "list_eval_partition.csv")
    if path is None:
        raise UserError(f"{root}: neither list_eval_partition.txt nor list_eval_partition.csv is there; "
                        "it holds the official split")  # fmt: skip
    pairs = _pairs(path, "partition")
    allowed = {str(k): v for k, v in _PARTITIONS.items()}
    wrong = next(((n, v) for n, v in pairs.items() if v not in allowed), None)
    if wrong is not None:
        raise UserError(f"{path}: {wrong[0]} has partition {wrong[1]!r}; it must be 0 (train), 1 (val) or 2 (test)")
    return np.array([allowed[v] for v in _lookup(path, pairs, names, "partition")], dtype=object)


def _identities(root: Path, names: pd.Index) -> np.ndarray | None:
    path = _find(root, "identity_CelebA.txt", "identity_CelebA.csv")
    if path is None:
        log.warning("%s: identity_CelebA.txt is not there; every image counts as a separate person", root)
        return None
    return _lookup(path, _pairs(path, "identity"), names, "identity")


def _images(root: Path) -> dict[str, str]:
    folder = root / "img_align_celeba"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; unpack img_align_celeba.zip there")
    nested = folder / "img_align_celeba"
    return table.list_images(nested if nested.is_dir() else folder, depth=0)
