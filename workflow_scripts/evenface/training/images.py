"""Faces as arrays: decoding in the background, cropping and resizing, and a cache to train from."""

from __future__ import annotations

import hashlib
import logging
import queue
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from PIL import Image

from evenface.joblog import progress
from evenface.storage.images import ImageError, ImageReader, decode_image

log = logging.getLogger("evenface")
Item = TypeVar("Item")


def fit_image(image: np.ndarray, size: tuple[int, int], crop: float | None = None) -> np.ndarray:
    """RGB uint8 image brought to ``size`` (rows, columns); one that has it already is returned as it is.

    ``crop`` None scales the whole image, whatever its proportions. A number in (0, 1] keeps that
    share of the largest central rectangle with the proportions of ``size`` and scales it: 1 avoids
    distortion, less zooms into loose crops. Scaling is bilinear with antialiasing.
    """
    rows, columns = image.shape[:2]
    height, width = size
    if (rows, columns) == size and crop in (None, 1.0):
        return image
    if crop is None:
        box = (0.0, 0.0, float(columns), float(rows))
    else:
        scale = min(columns / width, rows / height) * crop
        half_width, half_height = scale * width / 2, scale * height / 2
        box = (
            max(columns / 2 - half_width, 0.0),
            max(rows / 2 - half_height, 0.0),
            min(columns / 2 + half_width, columns),
            min(rows / 2 + half_height, rows),
        )
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=box))


def decoded(
    references: Sequence[str], size: tuple[int, int], *, crop: float | None = None, threads: int = 1
) -> Iterator[np.ndarray | ImageError]:
    """Images of ``references`` in order, each uint8 (rows, columns, 3), or the ImageError it gave.

    Files are read here and decoded by ``threads`` threads a little ahead of the consumer.
    """

    def decode(data: bytes, reference: str) -> np.ndarray | ImageError:
        try:
            return fit_image(decode_image(data, reference), size, crop)
        except ImageError as error:
            return error

    ahead: deque[Future | ImageError] = deque()
    with ImageReader() as reader, ThreadPoolExecutor(max(threads, 1)) as pool:
        try:
            for reference in references:
                try:
                    ahead.append(pool.submit(decode, reader.read_bytes(reference), reference))
                except ImageError as error:
                    ahead.append(error)
                if len(ahead) > 4 * threads + 16:
                    yield _result(ahead.popleft())
            while ahead:
                yield _result(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _result(item: Future | ImageError) -> np.ndarray | ImageError:
    return item if isinstance(item, ImageError) else item.result()


@dataclass
class FaceImages:
    """Decoded images of a faces table.

    ``pixels`` is uint8 (N, rows, columns, 3), in memory or mapped from a file; ``rows`` gives for
    each the position in the table it came from; ``rejected`` lists the rows without an image
    (image_id, image, stage, reason, detail); ``sha256`` is taken over the pixels.
    """

    pixels: np.ndarray
    rows: np.ndarray
    rejected: pd.DataFrame
    sha256: str


def mapped_array(folder: str | Path, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros uint8 in a file of ``folder`` that has no name: nobody else can write to it, and it goes with the process."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def load_faces(
    faces: pd.DataFrame,
    size: tuple[int, int],
    *,
    crop: float | None = None,
    budget: int = 4 << 30,
    scratch: str | Path | None = None,
    threads: int = 1,
    label: str = "decoding",
) -> FaceImages:
    """Decode the images of ``faces`` (columns image_id, image) once.

    Up to ``budget`` bytes stay in memory; a larger set goes to a file in the folder ``scratch``,
    which the caller removes (the folder), and the kernel keeps in memory what fits.
    """
    shape = (len(faces), *size, 3)
    size_in_bytes = int(np.prod(shape, dtype=np.int64))
    if size_in_bytes > budget and scratch is not None:
        pixels = mapped_array(scratch, shape)
        log.info("%s: %.1f GB of pixels in a file, since cache_mb allows less", label, size_in_bytes / 1e9)
    else:
        pixels = np.empty(shape, np.uint8)
    digest = hashlib.sha256()
    kept: list[int] = []
    rejected = []
    images = decoded(faces["image"].tolist(), size, crop=crop, threads=threads)
    for position, image in enumerate(progress(images, len(faces), label)):
        if isinstance(image, ImageError):
            rejected.append(
                {
                    "image_id": faces["image_id"].iloc[position],
                    "image": image.reference,
                    "stage": "decode",
                    "reason": image.reason,
                    "detail": image.detail,
                }
            )
            continue
        pixels[len(kept)] = image
        digest.update(np.ascontiguousarray(image))
        kept.append(position)
    table = pd.DataFrame(rejected, columns=["image_id", "image", "stage", "reason", "detail"])
    return FaceImages(pixels[: len(kept)], np.array(kept, np.int64), table, digest.hexdigest())


def prefetch(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield ``items`` while a thread prepares up to ``depth`` of them ahead; its errors are raised here."""
    ready: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[str, object]) -> None:
        while not stopped.is_set():
            try:
                ready.put(entry, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(("item", item))
                if stopped.is_set():
                    return
            put(("end", None))
        except BaseException as error:  # handed to the consumer, whatever it is
            put(("error", error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()
