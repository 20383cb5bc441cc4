"""The pixels of a training or prediction: rows of several packs as one array, or pictures decoded at once."""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.joblog import progress
from evenface.pixels.decoding import chunks, decoded
from evenface.pixels.plan import gigabytes
from evenface.pixels.store import Pack, row_bytes, write_pack
from evenface.storage.images import ImageError

log = logging.getLogger("evenface")

_REJECTED = ["image_id", "image", "stage", "reason", "detail"]


class Pixels:
    """Rows of packs as one array of ``shape`` (N, rows, columns, 3): ``pixels[rows]`` is a copy, uint8 (k, ...).

    ``pack_of`` and ``row_of``, int64 (N,), say where each row lies.
    """

    def __init__(self, packs: Sequence[Pack], pack_of: np.ndarray, row_of: np.ndarray):
        self._packs, self._pack_of, self._row_of = list(packs), pack_of, row_of
        self.shape = (len(row_of), *packs[0].size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        self.read(np.asarray(rows), out)
        return out

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out``, uint8 (k, rows, columns, 3), with ``pixels[rows]``."""
        owner = self._pack_of[rows]
        for number, pack in enumerate(self._packs):
            mine = np.flatnonzero(owner == number)
            if len(mine) == len(rows):
                pack.read(self._row_of[rows], out)
            elif len(mine):
                part = np.empty((len(mine), *self.shape[1:]), np.uint8)
                pack.read(self._row_of[rows[mine]], part)
                out[mine] = part


@dataclass
class FaceImages:
    """Pixels of a faces table.

    ``pixels`` is uint8 (N, rows, columns, 3), an array or :class:`Pixels`. ``rows`` gives each image's position in
    the table. ``rejected`` lists the rows without an image (image_id, image, stage, reason, detail). ``sha256`` is
    the hash over the CRC-32 of every image's pixels.
    """

    pixels: np.ndarray | Pixels
    rows: np.ndarray
    rejected: pd.DataFrame
    sha256: str


def load_faces(
    faces: pd.DataFrame,
    size: tuple[int, int],
    *,
    crop: float | None = None,
    packs: Sequence[str | os.PathLike] = (),
    budget: int = 4 << 30,
    scratch: str | Path | None = None,
    threads: int = 1,
    blocks: bool = False,
    label: str = "reading",
) -> FaceImages:
    """The images of ``faces`` (columns image_id, image) at ``size`` (rows, columns) and ``crop``.

    ``packs`` are descriptors written by :func:`evenface.pixels.pack.pack_faces`; those of another size or crop are
    ignored. Up to ``budget`` bytes of pixels are kept in memory; if there are more, they are read when needed. Without
    packs, ``threads`` processes decode the pictures here, and pixels beyond ``budget`` go to a file in the folder
    ``scratch``, which the caller removes. ``blocks`` says that rows will be read in the order of
    :func:`evenface.pixels.order.epoch_order`'s blocks. Raises UserError if a pack was made from another table.
    """
    opened = open_packs(packs, size, crop, threads, blocks=blocks)
    needed = len(faces) * row_bytes(size)
    if not opened and (needed <= budget or scratch is None):
        return _decoded(faces, size, crop, threads, label)
    if not opened:
        path = Path(scratch) / "faces.pixels"
        write_pack(path, faces, size, crop=crop, store="packed", threads=threads, label=label)
        opened = [Pack(path)]
    found = packed_faces(faces, opened)
    found.pixels = held(found.pixels, budget, label)
    return found


def _decoded(faces: pd.DataFrame, size: tuple[int, int], crop: float | None, threads: int, label: str) -> FaceImages:
    pixels = np.empty((len(faces), *size, 3), np.uint8)
    kept, checksums, rejected = [], [], []
    images = decoded(faces["image"].tolist(), size, crop=crop, threads=threads)
    for position, image in enumerate(progress(images, len(faces), label)):
        if isinstance(image, ImageError):
            image_id = faces["image_id"].iloc[position]
            rejected.append((image_id, image.reference, "decode", image.reason, image.detail))
            continue
        pixels[len(kept)] = image
        checksums.append(zlib.crc32(image))
        kept.append(position)
    table = pd.DataFrame(rejected, columns=_REJECTED)
    return FaceImages(pixels[: len(kept)], np.array(kept, np.int64), table, digest_of_checksums(checksums))


def open_packs(
    packs: Sequence[str | os.PathLike],
    size: tuple[int, int],
    crop: float | None,
    processes: int = 1,
    *,
    blocks: bool = False,
) -> list[Pack]:
    """The packs with this size and crop, among the descriptors ``packs``."""
    opened = [Pack(Path(path).with_suffix(".pixels"), processes=processes, blocks=blocks) for path in packs]
    return [pack for pack in opened if (pack.size, pack.crop) == (size, crop)]


def packed_faces(faces: pd.DataFrame, packs: Sequence[Pack]) -> FaceImages:
    """The rows of ``faces`` in ``packs``; pixels are not read yet. UserError if one is missing or of another picture."""
    ids = pd.Index(faces["image_id"].astype(str))
    pack_of, row_of = np.full(len(faces), -1), np.full(len(faces), -1)
    for number, pack in enumerate(packs):
        places = pd.Index(pack.index["image_id"]).get_indexer(ids)
        pack_of[places >= 0], row_of[places >= 0] = number, places[places >= 0]
    index = pd.concat([pack.index for pack in packs], ignore_index=True)
    firsts = np.cumsum([0, *(len(pack) for pack in packs)])
    place = np.where(pack_of >= 0, firsts[pack_of] + row_of, -1)
    same = (place >= 0) & (index["image"].to_numpy(object)[place] == faces["image"].astype(str).to_numpy(object))
    if not same.all():
        first = int(np.argmin(same))
        files = ", ".join(str(pack.path.with_suffix(".json")) for pack in packs)
        raise UserError(
            f"{ids[first]} ({faces['image'].iloc[first]}) is not among the packed pixels of {files}: the faces table "
            f"changed after they were packed; delete them and run again"
        )
    chosen = index.iloc[place].reset_index(drop=True)
    readable = (chosen["reason"] == "").to_numpy()
    rejected = chosen[~readable].assign(stage="decode")[_REJECTED].reset_index(drop=True)
    kept = np.flatnonzero(readable)
    checksums = chosen["checksum"].to_numpy(np.uint32)[kept]
    return FaceImages(Pixels(packs, pack_of[kept], row_of[kept]), kept, rejected, digest_of_checksums(checksums))


def held(pixels: Pixels, budget: int, label: str) -> np.ndarray | Pixels:
    """``pixels`` in memory where they take up to ``budget`` bytes; others are read when they are asked for."""
    size = len(pixels) * row_bytes(pixels.shape[1:3])
    if size > budget:
        log.info("%s: %s of pixels are read as they are needed, since cache_mb allows less", label, gigabytes(size))
        return pixels
    array = np.empty(pixels.shape, np.uint8)
    label = f"{label}: reading {gigabytes(size)} of pixels"
    for part in progress(chunks(len(pixels), 256), len(pixels), label, count=lambda part: part.stop - part.start):
        pixels.read(np.arange(part.start, part.stop), array[part])
    return array


def digest_of_checksums(checksums: Sequence[int] | np.ndarray) -> str:
    """SHA-256 over CRC-32 values in order."""
    return hashlib.sha256(np.asarray(checksums, "<u4").tobytes()).hexdigest()
