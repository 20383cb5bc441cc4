"""The faces table that every reader returns, its checks, and functions that readers share.

One row per image: ``image_id`` ("<dataset>/<file name>", unique), ``image`` (reference),
``identity_id``, ``split`` (train, val, test), ``dataset``, ``gender``, ``age``, ``ethnicity`` and further dimensions of the
study (levels of :func:`evenface.taxonomy.study_levels` or unknown), ``demographics_source``, ``labels_source``, then
one int8 column per attribute in {+1, -1, 0}, 0 for undefined, and per class of a categorical target
(:mod:`evenface.targets`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets.fairface_predictions import is_predictions, read_predictions
from evenface.datasets.presence import below, check_present, instead
from evenface.datasets.settings import DatasetSettings
from evenface.datasets.unreadable import check_unreadable
from evenface.errors import UserError, raise_if_machine, unknown_name
from evenface.joblog import progress
from evenface.seeds import seed_from
from evenface.storage.columns import Meaning, Rows, check_unique, read_texts
from evenface.storage.formats import ENDINGS as IMAGE_SUFFIXES
from evenface.storage.images import ImageError, read_image
from evenface.storage.tables import is_parquet, table_meta
from evenface.storage.text_tables import number, same_name, whole_number
from evenface.targets import SEPARATOR, blocks, wrong_row
from evenface.taxonomy import (
    CELEBA_ATTRIBUTES,
    DIMENSIONS,
    LABEL_CODINGS,
    MAAD_ATTRIBUTES,
    MAX_AGE,
    UNKNOWN,
    level_of,
    level_of_years,
    same_word,
    study,
    study_levels,
)

log = logging.getLogger("evenface")

#: The columns before the dimensions, and those between them and the attributes.
BEFORE, AFTER = ("image_id", "image", "identity_id", "split", "dataset"), ("demographics_source", "labels_source")
#: The columns of text under the default's dimensions.
TEXT_COLUMNS = (*BEFORE, *DIMENSIONS, *AFTER)
REJECTED_COLUMNS = ("image_id", "image", "stage", "reason", "detail")
SPLITS = ("train", "val", "test")

#: Number of images that ``verify_images: sample`` decodes.
SAMPLE_SIZE = 200

#: Names of the column that holds the file names of images.
_KEY = "image_id"
IMAGE_COLUMNS = ("image", "file", "Filename", "img_path")
#: Other names that people give the columns of demographics.
_MEANT = {"gender": ("sex",), "age": ("age_group", "age_band", "years"), "ethnicity": ("race", "race4", "ethnic_group")}

ATTRIBUTES = tuple(dict.fromkeys((*CELEBA_ATTRIBUTES, *MAAD_ATTRIBUTES)))


def attribute_columns(frame: pd.DataFrame) -> list[str]:
    """Attribute names among the columns, in the order of the table: int8 columns, and those of published data sets."""
    known = set(ATTRIBUTES)
    return [c for c in frame.columns if c in known or frame[c].dtype == np.int8]


def translated(
    texts: Sequence[str], dimension: str, levels: Sequence[str], own: Mapping[str, str], where: str
) -> np.ndarray:
    """The levels (n,) object that a data set's words for them mean in the study.

    own  the data set's own words, ``datasets.<name>.levels``, and what they mean

    UserError, beginning with ``where``, for the first word that means nothing, with both remedies.
    """
    codes, words = pd.factorize(np.asarray(texts, dtype=object))
    meanings = []
    for i, word in enumerate(words):
        level = own.get(word, None) or level_of(str(word), dimension, levels)
        if level is None or (level not in levels and level != UNKNOWN):
            row = int(np.argmax(codes == i)) + 1
            raise UserError(
                f"{where}, row {row}: {unknown_name(dimension, level or word, levels)}; say what it means in the data set's levels: "
                f"{{{dimension}: {{{word}: {levels[0]}}}}} (or unknown), or list your own levels in demographics.{dimension}"
            )
        meanings.append(level)
    return np.array(meanings, dtype=object)[codes]


def take_settings(reader: str, settings: Mapping[str, Any], kind: type[DatasetSettings]) -> dict[str, Any]:
    """The complete settings of a data set, with its ``name`` in ids (by default the reader's), ``threads``, and the study's
    ``vocabulary``, dimension -> levels (given as the configuration's ``demographics``).

    Raises UserError naming the first key that is unknown, missing or wrong.
    """
    given = {key: str(v) if isinstance(v, os.PathLike) else v for key, v in settings.items() if v is not None}
    own = {
        "name": given.pop("name", reader), "threads": given.pop("threads", 1),
        "vocabulary": study_levels(given.pop("vocabulary", {})),
    }  # fmt: skip
    return kind.filled({"reader": reader, **given}, f"datasets.{own['name']}") | own


def rejected_frame(rows: Iterable[Mapping[str, str]] = ()) -> pd.DataFrame:
    """The rejected table, from dicts with image_id, image, stage, reason, detail."""
    return pd.DataFrame(list(rows), columns=list(REJECTED_COLUMNS)).astype("str")


def build_faces(
    columns: Mapping[str, Any],
    labels: Mapping[str, np.ndarray] | pd.DataFrame,
    values: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The checked faces table, from its text columns (a scalar is repeated) and attribute columns.

    With ``values``, the complete settings of :func:`take_settings`, the columns of dimensions may hold the data set's own words
    (:func:`translated`), and dimensions of the study that have no column are unknown. ``attrs["levels"]`` then says which words
    became another level, or unknown, and how often.
    """
    vocabulary, changed = (values["vocabulary"] if values else study()), {}
    if values:
        columns = dict(columns)
        for dimension, levels in vocabulary.items():
            given, own = columns.get(dimension, UNKNOWN), values["levels"].get(dimension, {})
            texts = [given] if isinstance(given, str) else given
            found = translated(texts, dimension, levels, own, f"data set {values['name']}")
            if other := note_words(texts, found, f"data set {values['name']}, {dimension}"):
                changed[dimension] = other
            columns[dimension] = str(found[0]) if isinstance(given, str) else found
        columns = {name: columns.get(name) for part in (BEFORE, vocabulary, AFTER, columns) for name in part}
    labels = pd.DataFrame(labels).reset_index(drop=True)
    rows = max([len(labels), *(len(v) for v in columns.values() if not isinstance(v, str))], default=0)
    text = pd.DataFrame({k: pd.Series(v, index=range(rows), dtype="str") if isinstance(v, str)
                         else pd.Series(np.asarray(v, object), dtype="str") for k, v in columns.items()})  # fmt: skip
    frame = pd.concat([text, labels.astype("int8")], axis=1)
    check_faces(frame, vocabulary=vocabulary)
    if changed:
        frame.attrs["levels"] = changed
    return frame


def note_words(words: Sequence[str], levels: np.ndarray, where: str) -> dict[str, dict[str, Any]]:
    """Word -> level and number of images, for words that became another level; logged, beginning with ``where``.

    Years become bands, which loses nothing unsaid.
    """
    pairs = pd.DataFrame({"word": np.asarray(words, dtype=object), "level": levels}).value_counts(sort=False)
    other = {
        str(word): {"level": level, "images": int(count)}
        for (word, level), count in pairs.sort_index().items()
        if not same_word(str(word), level) and word not in ("", UNKNOWN) and number(str(word)) is None
    }
    if other:
        said = ", ".join(f"{word} counts as {one['level']} ({one['images']})" for word, one in other.items())
        log.info("%s: %s", where, said)
    return other


def check_faces(
    frame: pd.DataFrame, name: str = "faces table", *, vocabulary: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Raise UserError naming the first row and column that does not follow the schema of this module.

    ``vocabulary`` has the levels of each dimension, by default the study's.
    """
    vocabulary = vocabulary or study()
    for column in (*BEFORE, *vocabulary, *AFTER):
        if column not in frame:
            raise UserError(f"{name}: column {column!r} is missing")
        empty = frame[column].isna() | frame[column].eq("")
        if empty.any():
            raise UserError(f"{name}: row {int(np.argmax(empty))} has no {column}")
    repeated = frame["image_id"].duplicated()
    if repeated.any():
        raise UserError(f"{name}: image_id {frame['image_id'][repeated].iloc[0]!r} occurs more than once")
    allowed = {"split": SPLITS} | {d: (*levels, UNKNOWN) for d, levels in vocabulary.items()}
    for column, levels in allowed.items():
        wrong = ~frame[column].isin(levels)
        if wrong.any():
            row = frame[wrong].iloc[0]
            raise UserError(unknown_name(f"{name}: {column} of {row['image_id']}", row[column], levels))
    for column in attribute_columns(frame):
        values = frame[column]
        if values.dtype != np.int8 or not values.between(-1, 1).all():
            raise UserError(f"{name}: column {column} is not int8 in -1, 0, 1")
    columns = [c for c in attribute_columns(frame) if SEPARATOR in c]
    for target, place in blocks(columns).items():
        row = wrong_row(frame[columns[place]].to_numpy())
        if row is not None:
            raise UserError(
                f"{name}: {target} of {frame['image_id'].iloc[row]} must be 1 in one column and -1 in the others, or 0 in all"
            )


def label_meaning(coding: str, undefined: bool) -> Meaning:
    """What a label's text means in the declared coding: +1, -1, or 0 where it is left open. It is never guessed.

    ``undefined`` says whether the format may leave a label open (a 0 under minus_one_one). Numbers may be written 1, 1.0
    or +1; ``zero_one`` has true and false too. ValueError names what is allowed, and the coding that would allow the value.
    """
    codings = {name: {k: v for k, v in table.items() if v or undefined} for name, table in LABEL_CODINGS.items()}
    words = {"true": 1, "false": 0}

    def value_in(text: str, name: str) -> int | None:
        value = words.get(text.lower()) if name == "zero_one" else None
        return codings[name].get(whole_number(text) if value is None else value)

    def meaning(text: str) -> int:
        if (label := value_in(text, coding)) is not None:
            return label
        others = [name for name in codings if name != coding and value_in(text, name) is not None]
        remedy = f"; if the whole file is coded that way, declare label_coding: {others[0]}" if others else ""
        raise ValueError(f"label_coding {coding} allows {', '.join(map(str, codings[coding]))}{remedy}")

    return meaning


def identities_of(path: Path, rows: Rows, column: str) -> list[str]:
    """The texts of a column of identities; a whole number is written plainly, so that 7.0 and 7 are one person.

    UserError naming the line for an identity that is empty, no name (``nan``, ``none``) or a number that counts nobody.
    """
    coded = rows.texts[column].dictionary_encode()
    names = coded.dictionary.to_pylist()
    for i, text in enumerate(names):
        value = number(text)
        if text.lower() in ("", "nan", "none", "null", "na") or (value is not None and (value < 0 or value % 1)):
            line = rows.lines[int(np.argmax(coded.indices.to_numpy() == i))]
            raise UserError(
                f"{path} line {line}: {column} is {text!r}, which names no person; correct it, or leave the file away"
            )
        if value is not None and not text.isdecimal():
            names[i] = str(int(value))
    return [names[i] for i in coded.indices.to_pylist()]


def rejected_row(dataset: str, name: str, image: str, reason: str, detail: str) -> dict[str, str]:
    """A row of the rejected table for an image that a reader leaves out."""
    return {"image_id": f"{dataset}/{name}", "image": image, "stage": "read", "reason": reason, "detail": detail}


def matched(
    values: Mapping[str, Any], path: Path, names: Sequence[str], images: Mapping[str, str], folder: Path
) -> tuple[np.ndarray, list[dict[str, str]]]:
    """Which of a table's ``names`` (n,) have a picture, as bool (n,), and the rejected: names and pictures without the other.

    ``values`` are the complete settings, ``path`` the table, ``images`` the pictures in ``folder`` by name. UserError if more
    of either than ``max_unreadable``, or all, are without the other.
    """
    dataset, root = values["name"], Path(values["root"])
    present = pd.Index(names, dtype="object").isin(list(images))
    absent = [name for name, found in zip(names, present, strict=True) if not found]
    strangers = sorted(set(images).difference(names))
    accept = {
        "key": f"datasets.{dataset}.max_unreadable",
        "remedy": "Give the files the names in the table, or complete what lacks them",
    }
    check_present(
        absent, len(names), values["max_unreadable"], said=f"images that {path} lists are not in {folder}",
        others=lambda: below(root), **accept,
    )  # fmt: skip
    check_present(
        strangers, len(images), values["max_unreadable"], said=f"images in {folder} are not listed in {path}",
        others=lambda: names, **accept,
    )  # fmt: skip
    rejected = [rejected_row(dataset, n, "", "missing", f"listed in {path.name}, not on disk") for n in absent]
    rejected += [
        rejected_row(dataset, n, images[n], "no_row", f"on disk, not listed in {path.name}") for n in strangers
    ]
    return present, rejected


def decode_all(
    dataset: str, images: Mapping[str, str], names: Iterable[str]
) -> tuple[dict[str, str], list[dict[str, str]]]:
    """``images`` without those of ``names`` that cannot be decoded, and the latter as rejected rows."""
    kept, rejected = dict(images), []
    for name in names:
        try:
            read_image(images[name])
        except ImageError as error:
            rejected.append(rejected_row(dataset, name, kept.pop(name), error.reason, error.detail))
    return kept, rejected


def note_unused(path: Path, unused: Sequence[str]) -> dict[str, Any]:
    """Log the columns of a table that are not read; what the summary says of them, if there are any."""
    if not unused:
        return {}
    log.warning("%s: columns that are not read: %s", path, ", ".join(unused))
    return {"columns_not_read": {path.name: list(unused)}}


def complete(
    reader: str,
    values: Mapping[str, Any],
    faces: pd.DataFrame,
    rejected: Iterable[Mapping[str, str]],
    facts: Mapping[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """What a reader returns: pictures are verified, other demographics put in, and everything counted.

    ``values`` are the data set's complete settings, ``rejected`` the rows that the reader itself left out, ``facts`` its
    own part of the summary. UserError if more pictures are unreadable than ``max_unreadable`` allows, or all are.
    """
    key = f"datasets.{values['name']}.max_unreadable"
    share, label = values["max_unreadable"], f"data set {values['name']}"
    for dimension in values["vocabulary"]:
        if dimension not in faces:
            faces.insert(faces.columns.get_loc(AFTER[0]), dimension, UNKNOWN)
    good, bad, decoded = split_verified(faces, values["verify_images"], share=share, threads=values["threads"])
    if good.empty:
        first = f"; the first: {bad[0]['image']} ({bad[0]['detail']})" if bad else ""
        raise UserError(f"{label}: none of its {len(faces)} images can be read{first}. Repair the data set")
    check_unreadable(faces, rejected_frame(bad), share, key=key, label=label)
    vocabulary = values["vocabulary"]
    changed = faces.attrs.get("levels", {})
    good, counts = apply_demographics(good, values["demographics"], vocabulary, values["levels"])
    changed = changed | counts.pop("levels_from_words", {})
    dropped = rejected_frame([*rejected, *bad])
    known = summarise(good, dropped, vocabulary)
    words = {"levels_from_words": changed} if changed else {}
    summary = {"reader": reader, **facts, "images_decoded": decoded, **counts, **words, **known}
    return good, dropped, summary


def split_verified(
    faces: pd.DataFrame, mode: bool | str, *, share: float, threads: int = 1
) -> tuple[pd.DataFrame, list[dict[str, str]], int]:
    """Decode images within bounds; return the good rows, rejections, and how many were decoded.

    ``mode``: true for all, "sample" for :data:`SAMPLE_SIZE` drawn by data set name and size, false
    for none. If more than ``share`` of a sample are unreadable, all are decoded, so that it is known how many are. The
    order of rows never depends on ``threads``.
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
    if len(bad) > share * len(chosen) and len(chosen) < len(faces):
        log.warning("%d of %d sampled images are unreadable; all are decoded now", len(bad), len(chosen))
        return split_verified(faces, True, share=share, threads=threads)
    rejected = [
        {"image_id": faces["image_id"].iloc[i], "image": faces["image"].iloc[i], "stage": "read", "reason": e.reason,
         "detail": e.detail}
        for i, e in bad
    ]  # fmt: skip
    keep = np.ones(len(faces), bool)
    keep[[i for i, _ in bad]] = False
    return faces[keep].reset_index(drop=True), rejected, len(chosen)


def apply_demographics(
    faces: pd.DataFrame,
    table_path: str | os.PathLike | None,
    vocabulary: Mapping[str, Sequence[str]] | None = None,
    own: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Replace demographics by those of a table, by image.

    The table (Parquet or text, such as CSV) has the image id or file name in the column image_id, image, file or Filename;
    or FairFace's ``predict.py`` wrote it (:mod:`evenface.datasets.fairface_predictions`).
    Its columns gender, age (a level or years), ethnicity and further dimensions of the ``vocabulary`` replace the reader's.
    ``own`` says what a dimension's words mean (:func:`translated`). Images without a row, and
    empty values, become unknown. Returns the table and counts for the summary. Raises UserError naming the line for a
    repeated image, an unknown level and an age that nobody has, and for a missing file or column. Columns that are not
    read are named, or refused if they seem to be meant.
    """
    if not table_path:
        return faces, {}
    path, vocabulary = Path(table_path), vocabulary or study()
    # "celeba/000001.jpg", "000001.jpg" and "img_align_celeba/000001.jpg" are one image; VGGFace2
    # file names are unique only together with their folder.
    prefix = faces["dataset"].iloc[0] + "/" if len(faces) else ""
    wanted = faces["image_id"].str.removeprefix(prefix)
    if is_predictions(path):
        (rows, counts), unused = read_predictions(path, wanted.tolist()), []
    else:
        rows, unused = read_texts(path, (_KEY, *vocabulary), also={_KEY: IMAGE_COLUMNS}, optional=tuple(vocabulary))
        counts = {}
    present = [d for d in vocabulary if d in rows.texts]
    for dimension, words in _MEANT.items():
        if dimension not in present and (meant := [name for name in unused if same_name(name) in words]):
            raise UserError(
                f"{path}: the column {meant[0]!r} is not read; name it {dimension} and write "
                f"{', '.join(vocabulary[dimension])} or {UNKNOWN}{' or years' * (dimension == 'age')} there, or remove it"
            )
    if not present:
        raise UserError(f"{path}: none of the columns {', '.join(vocabulary)} is there; it has {', '.join(unused)}")
    names = [name.removeprefix(prefix) for name in rows.texts[_KEY].to_pylist()]
    if not wanted.str.contains("/", regex=False).any():
        names = [name.rpartition("/")[2] for name in names]
    check_unique(path, names, rows.lines)
    place = pd.Index(names, dtype="object").get_indexer(pd.Index(wanted, dtype="object"))
    matched = int((place >= 0).sum())
    if len(faces) and not matched:
        raise UserError(
            f"{path}: no row belongs to an image of {prefix[:-1]}; {instead(wanted.tolist(), names)}; write the names of "
            "the images"
        )
    faces, changed = faces.copy(), {}
    for dimension in present:
        levels = levels_of(path, rows, dimension, vocabulary[dimension], (own or {}).get(dimension, {}))
        words = np.array(rows.texts[dimension].to_pylist(), object)
        used = place[place >= 0]
        if other := note_words(words[used], levels[used], f"{path}, {dimension}"):
            changed[dimension] = other
        faces[dimension] = np.where(place >= 0, levels[place], UNKNOWN)
    rest = [d for d in vocabulary if d not in present]
    label = f"{path.name} ({', '.join(present)})" if rest else path.name
    kept = f"; {faces['demographics_source'].iloc[0]}" if rest and len(faces) else ""
    faces["demographics_source"] = label + kept
    # A table of this workflow has more columns for others, and says so.
    more = {} if is_parquet(path) and table_meta(path) else note_unused(path, unused)
    missing = len(faces) - matched
    counts |= {"demographics_rows_matched": matched, "images_without_demographics": missing, **more}
    return faces, {**counts, "levels_from_words": changed} if changed else counts


def levels_of(path: Path, rows: Rows, dimension: str, known: Sequence[str], own: Mapping[str, str]) -> np.ndarray:
    """The level of each row, from its text in the column ``dimension``; ``image_id`` names the rows.

    ``own`` says what words mean (:func:`translated`). UserError naming the line of a word that is not known.
    """
    coded = rows.texts[dimension].dictionary_encode()
    levels = []
    for i, text in enumerate(coded.dictionary.to_pylist()):
        years = number(text) if dimension == "age" else None
        level = own.get(text) or (None if years is not None else level_of(text, dimension, known))
        if years is not None and 0 <= years <= MAX_AGE:
            level = level_of_years(years, known)
        if level is not None:
            levels.append(level)
            continue
        row = int(np.argmax(coded.indices.to_numpy() == i))
        place = f"{path} line {rows.lines[row]}: {dimension} of image {rows.texts[_KEY][row].as_py()!r}"
        if years is not None:
            raise UserError(
                f"{place} is {text}; an age is from 0 to {MAX_AGE} years; leave it empty where it is not known"
            )
        raise UserError(
            f"{unknown_name(place, text, (*known, UNKNOWN))}; or say what it means in the data set's levels: "
            f"{{{dimension}: {{{text}: {known[0]}}}}}"
        )
    return np.array(levels, object)[coded.indices.to_numpy()]


def support(faces: pd.DataFrame, vocabulary: Mapping[str, Sequence[str]] | None = None) -> dict[str, dict[str, int]]:
    """Images per level of each demographic dimension, all levels listed."""
    return {
        d: {level: int(n) for level, n in faces[d].value_counts().reindex([*levels, UNKNOWN], fill_value=0).items()}
        for d, levels in (vocabulary or study()).items()
    }


def summarise(
    faces: pd.DataFrame, rejected: pd.DataFrame, vocabulary: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Counts for every reader's summary: images, identities, splits, groups, label balance, rejections."""
    names = attribute_columns(faces)
    return {
        "images": len(faces),
        "identities": int(faces["identity_id"].nunique()),
        "splits": {s: int((faces["split"] == s).sum()) for s in SPLITS},
        "groups": support(faces, vocabulary),
        "labels": {
            n: {"positive": int((faces[n] == 1).sum()), "negative": int((faces[n] == -1).sum()),
                "undefined": int((faces[n] == 0).sum())} for n in names
        },
        "rejected": {str(k): int(v) for k, v in rejected["reason"].value_counts().sort_index().items()},
    }  # fmt: skip


def list_images(folder: Path, *, depth: int, endings: tuple[str, ...] = IMAGE_SUFFIXES) -> dict[str, str]:
    """Image files below ``folder``: name relative to it (with ``/``) -> path, sorted by name. ``endings`` are in small letters.

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
                if level == 0 and entry.name.lower().endswith(endings):
                    found[prefix + entry.name] = entry.path
                elif level and entry.is_dir():
                    scan(entry.path, f"{prefix}{entry.name}/", level - 1)

    try:
        scan(str(folder), "", depth)
    except OSError as error:
        raise_if_machine(error, error.filename)
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror})") from error
    return dict(sorted(found.items()))
