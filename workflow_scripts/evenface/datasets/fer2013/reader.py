"""FER2013 (Goodfellow et al., ICONIP 2013): 35,887 gray faces of 48 x 48 pixels with one of seven expressions.

The published file, ``fer2013.csv`` (Kaggle's ``icml_face_data.csv``), has the columns emotion, pixels and Usage. Its pictures
are not unpacked: a reference names the line (:mod:`evenface.storage.pixel_tables`). Copies of the data set with pictures in
folders, ``train/happy/...`` and ``test/happy/...``, are read by the names of the folders.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets import faces as table
from evenface.datasets.emotions import EMOTIONS, emotion_of
from evenface.datasets.presence import below, check_present, instead
from evenface.datasets.settings import DatasetSettings
from evenface.datasets.splits import SPLIT_WORDS, draw_missing
from evenface.errors import UserError
from evenface.names import member_reference
from evenface.storage.columns import ColumnReader
from evenface.storage.pixel_tables import pixels_of
from evenface.storage.text_tables import whole_number
from evenface.targets import columns_of

log = logging.getLogger("evenface")

_TABLES = ("fer2013.csv", "icml_face_data.csv")
_SIDE = 48
#: Images of each class in the published file, in the order of its numbers.
_PUBLISHED = (4953, 547, 5121, 8989, 6077, 4002, 6198)
#: Of pictures in two splits, the one in the first of these is kept.
_RANKS = ("test", "val", "train")


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces, rejected images and a summary.

    Settings: those of :class:`DatasetSettings`. The target ``emotion`` has seven classes; there are no binary attributes and no
    demographics. Usage Training, PublicTest and PrivateTest are the splits train, val and test; splits that folders lack are drawn
    (:func:`evenface.datasets.splits.draw_missing`). Rejected are pictures of one gray value, and pictures of which another
    split has an exact copy: of two, the one nearer to the test is kept. Raises UserError naming file and line or folder.
    """
    values = table.take_settings("fer2013", settings, DatasetSettings)
    root, dataset = Path(values["root"]), values["name"]
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set the data set's root to the folder with {_TABLES[0]}")
    path = next((root / name for name in _TABLES if (root / name).is_file()), None)
    found, rejected, facts = _from_folders(root, values) if path is None else _from_table(path, values)
    found, others = _without_copies(dataset, found)
    if missing := [name for name in EMOTIONS if not found["emotion"].eq(name).any()]:
        log.warning("%s: no image shows %s", root, ", ".join(missing))
    if found["emotion"].nunique() < 2:
        raise UserError(f"{root}: all images show {found['emotion'].iloc[0]}; get the whole data set")
    faces = table.build_faces(
        {
            "image_id": dataset + "/" + found["name"],
            "image": found["image"],
            "identity_id": dataset + "/" + found["identity_id"],
            "split": found["split"],
            "dataset": dataset,
            "demographics_source": "none",
            "labels_source": path.name if path else "names of folders",
        },
        columns_of("emotion", EMOTIONS, found["emotion"].tolist()),
        values,
    )
    counts = {"emotions": {name: int(found["emotion"].eq(name).sum()) for name in EMOTIONS}, "identities_known": False}
    return table.complete("fer2013", values, faces, [*rejected, *others], {**facts, **counts})


def _from_table(path: Path, values: Mapping[str, Any]) -> tuple[pd.DataFrame, list[dict[str, str]], dict[str, Any]]:
    """Images (name, image, emotion, split, digest) of the published file, rejected rows, and facts for the summary."""

    def emotion(text: str) -> int:
        value = whole_number(text)
        if value is None:
            return EMOTIONS.index(emotion_of(text))
        if not 0 <= value < len(EMOTIONS):
            raise ValueError(f"it must be from 0 to {len(EMOTIONS) - 1}, or a name: {', '.join(EMOTIONS)}")
        return int(value)

    reader = ColumnReader(path, ["Usage", "pixels"], {"emotion": emotion})
    rows = reader.read()
    counts = np.bincount(rows.numbers["emotion"], minlength=len(EMOTIONS))
    in_order = [_PUBLISHED[i] for i in np.argsort(EMOTIONS)]
    if counts.tolist() == in_order:
        raise UserError(
            f"{path}: the numbers of the classes follow the alphabet ({', '.join(sorted(EMOTIONS))}), not the published order; write "
            "the names of the classes in the column emotion, or get the published file"
        )
    found, bad, texts = [], [], rows.texts["pixels"]
    for row, (line, usage, code) in enumerate(
        zip(rows.lines.tolist(), rows.texts["Usage"].to_pylist(), rows.numbers["emotion"].tolist(), strict=True)
    ):
        if usage.lower() not in SPLIT_WORDS:
            raise UserError(f"{path} line {line}: Usage is {usage!r}; write Training, PublicTest or PrivateTest")
        name, image = f"{line:05d}", member_reference(path, f"line/{line}")
        try:
            pixels = pixels_of(texts[row].as_py().encode())
            if len(pixels) != _SIDE:
                raise ValueError(f"{pixels.size} pixels, but a picture has {_SIDE} x {_SIDE}")
        except ValueError as error:
            bad.append(table.rejected_row(values["name"], name, image, "corrupt", f"line {line}: {error}"))
            continue
        if pixels.min() == pixels.max():
            said = f"line {line}: all pixels are {pixels[0, 0]}"
            bad.append(table.rejected_row(values["name"], name, image, "blank", said))
            continue
        digest = hashlib.sha256(pixels.tobytes()).digest()
        found.append((name, image, EMOTIONS[code], SPLIT_WORDS[usage.lower()], digest))
    corrupt = [row["detail"] for row in bad if row["reason"] == "corrupt"]
    check_present(
        corrupt, len(rows.lines), values["max_unreadable"], said=f"rows of {path} have no picture", others=None,
        key=f"datasets.{values['name']}.max_unreadable", remedy="Get the published file",
    )  # fmt: skip
    facts = {"table": str(path), "rows": len(rows.lines), **table.note_unused(path, reader.unused)}
    return _frame(found), bad, facts


def _from_folders(root: Path, values: Mapping[str, Any]) -> tuple[pd.DataFrame, list[dict[str, str]], dict[str, Any]]:
    """The same of pictures in folders named after splits and classes."""
    found = []
    for folder in sorted(root.iterdir()):
        split = SPLIT_WORDS.get(folder.name.lower())
        if split is None or not folder.is_dir():
            continue
        for name, path in table.list_images(folder, depth=1).items():
            try:
                emotion = emotion_of(name.partition("/")[0])
            except ValueError as error:
                raise UserError(
                    f"{folder / name.partition('/')[0]}: {error}. Name the folder after its class: copies of the data set number "
                    "the classes in different orders"
                ) from error
            digest = hashlib.sha256(Path(path).read_bytes()).digest()
            found.append((f"{folder.name}/{name}", path, emotion, split, digest))
    if not found:
        raise UserError(
            f"{root}: neither {' nor '.join(_TABLES)} nor folders such as train/happy are there; {instead([], below(root))}"
        )
    images, drawn = draw_missing(_frame(found))
    return images, [], {"splits_from": drawn}


def _frame(found: list[tuple]) -> pd.DataFrame:
    images = pd.DataFrame(found, columns=["name", "image", "emotion", "split", "digest"])
    images["identity_id"] = images.groupby("digest")["name"].transform("first")
    return images


def _without_copies(dataset: str, images: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """The images without those that a split nearer to the test has too, and these as rejected rows."""
    rank = images["split"].map({split: i for i, split in enumerate(_RANKS)})
    best = rank.groupby(images["digest"]).transform("min")
    kept = images[rank == best]
    first = kept.drop_duplicates("digest").set_index("digest")
    rejected = [
        table.rejected_row(
            dataset, row.name, row.image, "in_two_splits",
            f"in {row.split}; {dataset}/{first['name'][row.digest]} in {first['split'][row.digest]} has the same pixels",
        )
        for row in images[rank != best].itertuples(index=False)
    ]  # fmt: skip
    if rejected:
        log.warning("%s: %d images have exact copies in another split, and are left out", dataset, len(rejected))
    return kept.reset_index(drop=True), rejected
