"""One file with the pixels of a faces table at one size and crop, written once and read by rows.

The file holds the data, then an index (a Parquet table with a row per picture), and then a trailer that says where
the index is. The data depend on the store:

``packed``   decoded pixels, all rows of one length: row i begins at i times that length
``jpeg``     the encoded pictures as they were found, decoded at every reading
``direct``   nothing: pictures are read from their files and decoded at every reading

All three give the same pixels. The index has a CRC-32 of every picture's pixels, which is compared at every reading.
It detects a flipped bit, a torn write or a replaced picture, and takes 27 microseconds for a picture of 178 x 218
(3 to 4 GB/s).

During writing, the file has a hidden name, and a journal lies beside it. After a kill, writing continues from there.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.joblog import progress
from evenface.names import split_reference
from evenface.pixels import VERSIONS
from evenface.pixels.decoding import Answer, Decoders, chunks, processes_for
from evenface.pixels.plan import gigabytes
from evenface.storage.atomic import open_own, resumable
from evenface.storage.tables import read_table, table_bytes, table_meta

log = logging.getLogger("evenface")

#: The stores, the fastest first; "auto" takes the first that fits.
STORES = ("packed", "jpeg", "direct")

_TRAILER = struct.Struct("<QQI12s")
_MAGIC = b"evenface-pix"
#: Approximate bytes of a row in the index.
_INDEX_ROW = 100
#: Largest number of buffers that one system call may fill.
_MOST_BUFFERS = 512
#: For rows in blocks: number of rows that are read ahead together, and of blocks remembered as read.
BLOCK = 256
_BLOCKS_READ = 256


@dataclass(frozen=True)
class Storage:
    """How the pixels of a table are kept: the store, the reason for it, and the bytes of its data."""

    store: str
    why: str
    bytes: int


def row_bytes(size: tuple[int, int]) -> int:
    """Bytes of one picture of ``size`` (rows, columns)."""
    return size[0] * size[1] * 3


def write_pack(
    path: str | os.PathLike,
    faces: pd.DataFrame,
    size: tuple[int, int],
    *,
    crop: float | None = None,
    landmarks: np.ndarray | None = None,
    store: str = "auto",
    reserve: int = 0,
    threads: int = 1,
    label: str = "packing",
) -> Storage:
    """Write the pixels of ``faces`` (columns image_id, image) to ``path``, unless they lie there already.

    ``size`` is (rows, columns); ``crop`` is explained at :func:`evenface.pixels.worker.fit_picture`; with
    ``landmarks``, float32 (N, 5, 2), pictures are aligned to (112, 112) instead. ``store`` is one of ``STORES`` or
    "auto"; ``reserve`` bytes of the disk are left free. Space is reserved before the first picture is decoded.
    ``threads`` processes decode. A picture that cannot be read is listed in the index. The file records what it was
    made from: ids, references, and sizes and modification times of the files. It is written again when one of these
    changes. Raises UserError with the needed and free GB if the disk is too small.
    """
    path = Path(path)
    references = faces["image"].astype(str).tolist()
    sizes, stamp = _look(faces, references, size, crop, landmarks)
    with resumable(path) as own:
        partial, journal = unfinished(own)
        known = _finished(path, stamp)
        if known and store in ("auto", known.store):
            log.info("%s: %s has them already (%s)", label, path, known.store)
            partial.unlink(missing_ok=True)
            return known
        path.unlink(missing_ok=True)
        try:
            os.close(open_own(partial, os.O_RDWR | os.O_CREAT))
            storage, done = _begun(partial, journal, stamp, row_bytes(size))
            if storage is None or store not in ("auto", storage.store):
                storage, done = (
                    _reserve(partial, journal, stamp, store, reserve, len(faces), row_bytes(size), sizes),
                    [],
                )
            else:
                log.info("%s: going on after %d of %d pictures", label, sum(len(a.lengths) for a in done), len(faces))
            log.info("%s: %d pictures of %d x %d: %s", label, len(faces), size[1], size[0], storage.why)
            done += _decode(partial, journal, references, size, crop, landmarks, storage.store, done, threads, label)
            storage = _finish(path, partial, faces, done, size, crop, storage, stamp)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                partial.unlink(missing_ok=True)
                journal.unlink(missing_ok=True)
            raise UserError(f"cannot write {path}: {os.strerror(error.errno)}; nothing was left there") from error
        journal.unlink(missing_ok=True)
    return storage


def unfinished(path: Path) -> tuple[Path, Path]:
    """The hidden files of an unfinished ``path``: data and journal."""
    return path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.journal")


def _look(
    faces: pd.DataFrame, references: Sequence[str], size: Any, crop: float | None, landmarks: np.ndarray | None
) -> tuple[int, str]:
    """An upper bound of the bytes of the encoded pictures, and a digest of all that decides their pixels.

    Only sizes and times of the files are used; the files are not read.
    """
    digest = hashlib.sha256(json.dumps([VERSIONS["pixels"], list(size), crop]).encode())
    digest.update(b"" if landmarks is None else np.ascontiguousarray(landmarks, np.float32).tobytes())
    seen: dict[str, tuple[int, int]] = {}
    total = 0
    for image_id, reference in zip(faces["image_id"].astype(str), references, strict=True):
        file, member = split_reference(reference, seen)
        new = file not in seen
        if new:
            try:
                found = os.stat(file)
                seen[file] = found.st_size, found.st_mtime_ns
            except (OSError, ValueError):  # reading it will tell
                seen[file] = 0, 0
        total += seen[file][0] if new or not member else 0
        digest.update(f"{image_id}\n{reference}\n{seen[file]}\n".encode())
    return total, digest.hexdigest()


def _finished(path: Path, stamp: str) -> Storage | None:
    """How ``path`` keeps its pixels, if it was made from the same pictures."""
    try:
        meta = Pack(path).meta
    except UserError:
        return None
    return Storage(**meta["storage"]) if meta["stamp"] == stamp else None


def _begun(partial: Path, journal: Path, stamp: str, each: int) -> tuple[Storage | None, list[Answer]]:
    """The store and the answers of a killed writing of the same pictures."""
    try:
        with open(journal, encoding="utf-8") as file:
            first = json.loads(file.readline())
            storage = Storage(**first["storage"])
            if first["stamp"] != stamp:
                return None, []
            answers = []
            for line in file:
                if not line.endswith("\n"):  # torn by the kill
                    break
                answers.append(Answer(**json.loads(line), payload=[]))
    except (OSError, ValueError, KeyError, TypeError):
        return None, []
    written = sum(len(a.lengths) * each if storage.store == "packed" else sum(a.lengths) for a in answers)
    if os.stat(partial).st_size < written:  # somebody deleted it
        return None, []
    with open(journal, "w", encoding="utf-8", opener=open_own) as file:  # without the torn line
        file.write(json.dumps(first) + "\n")
        file.writelines(_line(answer) for answer in answers)
    return storage, answers


def _line(answer: Answer) -> str:
    known = asdict(answer)
    del known["payload"]
    return json.dumps(known, separators=(",", ":")) + "\n"


def _reserve(
    partial: Path, journal: Path, stamp: str, store: str, reserve: int, count: int, each: int, sizes: int
) -> Storage:
    """Choose the store by the free space, reserve the space, and begin the journal."""
    needs = {"packed": count * each, "jpeg": sizes, "direct": 0}
    journal.unlink(missing_ok=True)
    with open(partial, "r+b", opener=open_own) as file:
        file.truncate(0)
        disk = os.statvfs(partial.parent)
        there = disk.f_bavail * disk.f_frsize
        free = max(there - reserve, 0)
        text = f"{gigabytes(there)} are free in {partial.parent}, of which {gigabytes(reserve)} stay free"
        passed = []
        for name in STORES if store == "auto" else (store,):
            # An index must find its place too.
            fits = not needs[name] or needs[name] + count * _INDEX_ROW <= free
            if fits and _allocated(file.fileno(), needs[name]):
                needed = f"{gigabytes(needs[name])} of {'pixels' if name == 'packed' else 'pictures as they are'}"
                why = f"{name}, {needed if needs[name] else 'decoded from their files at every reading'}; "
                why += "".join(f"{p} would need {gigabytes(needs[p])}; " for p in passed) + text
                storage = Storage(name, why, needs[name])
                with open(journal, "w", encoding="utf-8", opener=open_own) as notes:
                    notes.write(json.dumps({"stamp": stamp, "storage": asdict(storage)}) + "\n")
                return storage
            passed.append(name)
    partial.unlink(missing_ok=True)
    raise UserError(
        f"{partial.parent} has no room for the pixels: {gigabytes(needs[store])} are needed (pixels.store is {store}), and "
        f"{text}. Free space, set pixels.folder to another disk, lower pixels.reserve_gb, or set pixels.store to auto"
    )


def _allocated(file: int, count: int) -> bool:
    """Reserve ``count`` bytes; False if the disk, a quota or a limit does not allow this."""
    try:
        if count and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, count)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        os.ftruncate(file, 0)
        return False
    return True


def _decode(
    partial: Path, journal: Path, references: Sequence[str], size: tuple[int, int], crop: float | None,
    landmarks: np.ndarray | None, store: str, done: Sequence[Answer], threads: int, label: str,
) -> list[Answer]:  # fmt: skip
    """Decode and write the remaining pictures, and note every task in the journal."""
    first = sum(len(answer.lengths) for answer in done)
    end = sum(sum(answer.lengths) for answer in done)
    parts = [slice(first + part.start, first + part.stop) for part in chunks(len(references) - first)]

    def tasks() -> Iterator[dict[str, Any]]:
        for part in parts:
            task = {"references": references[part], "give": "encoded" if store == "jpeg" else "nothing"}
            if landmarks is not None:
                task["landmarks"] = landmarks[part].tolist()
            if store == "packed":
                task["write"] = [str(partial), part.start * row_bytes(size)]
            yield task

    answers: list[Answer] = []

    def written() -> Iterator[int]:
        """A length per picture that is decoded and written."""
        place = end
        for answer in decoders.map(tasks()):
            view = memoryview(b"".join(answer.payload))
            while view:
                count = os.pwrite(data.fileno(), view, place)
                view, place = view[count:], place + count
            answer.payload = []
            answers.append(answer)
            notes.write(_line(answer))
            notes.flush()
            yield from answer.lengths

    with (
        Decoders(size, crop, processes_for(len(references) - first, threads)) as decoders,
        open(partial, "r+b", buffering=0, opener=open_own) as data,
        open(journal, "a", encoding="utf-8", opener=open_own) as notes,
    ):
        for _ in progress(written(), len(references) - first, label):
            pass
    return answers


def _finish(
    path: Path, partial: Path, faces: pd.DataFrame, answers: Sequence[Answer], size: tuple[int, int],
    crop: float | None, storage: Storage, stamp: str,
) -> Storage:  # fmt: skip
    """Write index and trailer, and give the file its name."""
    index = pd.DataFrame({"image_id": faces["image_id"].astype(str), "image": faces["image"].astype(str)})
    index = index.reset_index(drop=True)
    index["checksum"] = np.array([c for a in answers for c in a.checksums], np.uint32)
    reasons, details, first = np.full(len(index), "", object), np.full(len(index), "", object), 0
    for answer in answers:
        for i, reason, detail in answer.errors:
            reasons[first + i], details[first + i] = reason, detail
        first += len(answer.checksums)
    index["reason"], index["detail"] = pd.Series(reasons, dtype="str"), pd.Series(details, dtype="str")
    end = len(index) * row_bytes(size) if storage.store == "packed" else 0
    if storage.store == "jpeg":
        index["length"] = np.array([n for a in answers for n in a.lengths], np.int64)
        end = int(index["length"].sum())
    storage = Storage(storage.store, storage.why, end)
    meta = {"size": list(size), "crop": crop, "stamp": stamp, "storage": asdict(storage)}
    table = table_bytes(index, kind="pixels", meta=meta)
    with open(partial, "r+b", opener=open_own) as file:
        file.truncate(end)
        file.seek(end)
        file.write(table)
        file.write(_TRAILER.pack(end, len(table), zlib.crc32(table), _MAGIC))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    return storage


class Pack:
    """A finished file, opened for reading rows. If the store does not hold pixels, ``processes`` decode.

    ``index`` has a row per picture: image_id, image, checksum, reason and detail (empty for readable pictures).
    Raises UserError that names the file if it is missing, torn or of another kind.
    """

    def __init__(self, path: str | os.PathLike, *, processes: int = 1, blocks: bool = False):
        self.path = Path(path)
        self._remedy = f"delete {self.path.with_suffix('.json')} and run again"
        try:
            self._file = open(self.path, "rb", buffering=0)
        except OSError as error:
            raise UserError(f"{path}: packed pixels cannot be read ({error.strerror}); {self._remedy}") from error
        self.index, self.meta = self._read_index()
        self.size: tuple[int, int] = tuple(self.meta["size"])
        self.crop: float | None = self.meta["crop"]
        self.store: str = self.meta["storage"]["store"]
        self._checksums = self.index["checksum"].to_numpy(np.uint32)
        lengths = self.index["length"].to_numpy() if self.store == "jpeg" else np.full(len(self.index), self._each())
        self._starts = np.r_[0, np.cumsum(lengths)]
        self._processes, self._blocks = processes, blocks
        self._decoders: Decoders | None = None
        self._ahead: OrderedDict[int, None] = OrderedDict()
        if self.store == "packed" and not blocks and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    def __len__(self) -> int:
        return len(self.index)

    def _each(self) -> int:
        return row_bytes(self.size) if self.store == "packed" else 0

    def _read_index(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        length = os.fstat(self._file.fileno()).st_size
        try:
            trailer = os.pread(self._file.fileno(), _TRAILER.size, max(length - _TRAILER.size, 0))
            end, count, checksum, magic = _TRAILER.unpack(trailer)
            table = os.pread(self._file.fileno(), count, end) if end + count + _TRAILER.size == length else b""
            if magic != _MAGIC or zlib.crc32(table) != checksum:
                raise ValueError("its index is damaged")
            index = read_table(io.BytesIO(table))
            return index, table_meta(io.BytesIO(table))
        except (struct.error, ValueError) as error:
            raise UserError(f"{self.path}: not a file of packed pixels, or torn ({error}); {self._remedy}") from error

    def read(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out``, uint8 (k, rows, columns, 3), with the pictures ``rows``, int64 (k,), all of them readable.

        Raises UserError naming the picture if its pixels are not those that were packed.
        """
        if self._blocks:
            self._read_ahead(rows)
        if self.store == "packed":
            self._read_pixels(rows, out)
            checksums = [zlib.crc32(image) for image in out]
        else:
            checksums = self._decode(rows, out)
        wrong = np.flatnonzero(np.array(checksums, np.uint32) != self._checksums[rows])
        if len(wrong):
            row = self.index.iloc[rows[wrong[0]]]
            where = row["image"] if self.store == "direct" else f"{self.path}: {row['image_id']}"
            raise UserError(f"{where} is not what it was when its pixels were packed; {self._remedy}")

    def _read_pixels(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Read random rows by ``preadv``: neighbours in one call, and only what was asked for."""
        order = np.argsort(rows, kind="stable")
        breaks = np.flatnonzero(np.diff(rows[order]) != 1) + 1
        file, each = self._file.fileno(), self._each()
        for run in np.split(order, breaks):
            for part in chunks(len(run), _MOST_BUFFERS):
                buffers = [memoryview(out[i]).cast("B") for i in run[part]]
                place = int(rows[run[part.start]]) * each
                while buffers:
                    count = os.preadv(file, buffers, place)
                    if not count:
                        raise UserError(f"{self.path}: ends too early; {self._remedy}")
                    place += count
                    while buffers and count >= len(buffers[0]):
                        count -= len(buffers.pop(0))
                    if count:
                        buffers[0] = buffers[0][count:]

    def _decode(self, rows: np.ndarray, out: np.ndarray) -> list[int]:
        if self._decoders is None:
            self._decoders = Decoders(self.size, self.crop, self._processes)
        images = self.index["image"].to_numpy(object)
        parts = list(chunks(len(rows), max(8, -(-len(rows) // max(self._processes, 1)))))

        def tasks() -> Iterator[dict[str, Any]]:
            for part in parts:
                chosen = rows[part]
                task = {"references": images[chosen].tolist(), "give": "pixels"}
                if self.store == "jpeg":
                    starts = self._starts[chosen]
                    spans = np.c_[starts, self._starts[chosen + 1] - starts]
                    task["spans"] = [str(self.path), spans.tolist()]
                yield task

        checksums: list[int] = []
        for part, answer in zip(parts, self._decoders.map(tasks()), strict=True):
            if answer.errors:
                i, _, detail = answer.errors[0]
                raise UserError(
                    f"{images[rows[part.start + i]]} could be read when its pixels were packed, and no longer can "
                    f"({detail}); {self._remedy}"
                )
            for image, data in zip(out[part], answer.payload, strict=True):
                image[:] = np.frombuffer(data, np.uint8).reshape(image.shape)
            checksums += answer.checksums
        return checksums

    def _read_ahead(self, rows: np.ndarray) -> None:
        """Ask the system once to read whole blocks of the file ahead, because their other rows will be needed soon."""
        if self.store == "direct" or not hasattr(os, "posix_fadvise"):
            return
        for block in np.unique(rows // BLOCK).tolist():
            if block not in self._ahead:
                start, end = self._starts[block * BLOCK], self._starts[min((block + 1) * BLOCK, len(self))]
                os.posix_fadvise(self._file.fileno(), int(start), int(end - start), os.POSIX_FADV_WILLNEED)
                self._ahead[block] = None
                if len(self._ahead) > _BLOCKS_READ:
                    self._ahead.popitem(last=False)
