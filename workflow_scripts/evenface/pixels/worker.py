"""The program of a decoding process: it reads tasks as JSON lines from standard input and writes answers.

It imports little, because every process has this cost. It ends with its input, so it never outlives its parent.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from typing import Any

import numpy as np
from PIL import Image

from evenface.errors import UserError
from evenface.storage.atomic import open_own
from evenface.storage.images import ImageError, ImageReader, decode_picture


def fit_picture(picture: Image.Image, size: tuple[int, int], crop: float | None) -> Image.Image:
    """A picture, cropped and scaled to ``size`` (rows, columns).

    ``crop`` None scales the whole image without keeping its proportions. A number in (0, 1] keeps that
    share of the largest central rectangle with the proportions of ``size``, and scales it: 1 avoids
    distortion; less zooms into loose crops. Scaling is bilinear with antialiasing.
    """
    columns, rows = picture.size
    height, width = size
    if (rows, columns) == (height, width) and crop in (None, 1.0):
        return picture
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
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _aligned(image: np.ndarray, landmarks: list[list[float]]) -> np.ndarray:
    from evenface.faces.alignment import align_112  # few processes align, and OpenCV takes long to import

    return align_112(image, np.array(landmarks, np.float32))


class Worker:
    """Answers tasks: dicts with

    ``references``   the pictures
    ``size``, ``crop``   their target, see :func:`fit_picture`
    ``give``   what the payload holds of each readable picture: "pixels", "encoded" bytes, or "nothing"
    ``landmarks``   optional: (5, 2) for each picture, which is then aligned to (112, 112) instead of fitted
    ``write``   optional: [path, offset], where the pixels of the pictures are written, one after the other
    ``spans``   optional: [path, [[offset, bytes], ...]], where the encoded pictures lie, instead of their references
    """

    def __init__(self):
        self.reader = ImageReader()
        self._files: dict[tuple[str, int], int] = {}

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        """The fields of :class:`evenface.pixels.decoding.Answer`. Raises UserError if the machine failed."""
        size, crop = tuple(task["size"]), task["crop"]
        checksums, errors, parts = [], [], []
        place = task["write"][1] if "write" in task else 0
        for i, reference in enumerate(task["references"]):
            checksum, part = 0, b""
            try:
                data = self._data(task, i, reference)
                picture = decode_picture(data, reference)
                if "landmarks" in task:
                    image = _aligned(np.array(picture), task["landmarks"][i])
                else:
                    image = np.asarray(fit_picture(picture, size, crop))
                checksum = zlib.crc32(image)
                part = {"pixels": image, "encoded": data, "nothing": b""}[task["give"]]
                if "write" in task:
                    self._write(task["write"][0], image, place)
            except ImageError as error:
                errors.append((i, error.reason, error.detail))
            checksums.append(checksum)
            parts.append(memoryview(part).cast("B"))
            place += size[0] * size[1] * 3
        return {
            "checksums": checksums,
            "errors": errors,
            "lengths": [len(part) for part in parts],
            "payload": parts,
        }

    def _data(self, task: dict[str, Any], i: int, reference: str) -> bytes:
        if "spans" not in task:
            return self.reader.read_bytes(reference)
        path, spans = task["spans"]
        return os.pread(self._file(path, os.O_RDONLY), spans[i][1], spans[i][0])

    def _write(self, path: str, image: np.ndarray, place: int) -> None:
        view = memoryview(image).cast("B")
        try:
            while view:
                count = os.pwrite(self._file(path, os.O_WRONLY), view, place)
                view, place = view[count:], place + count
        except OSError as error:
            raise UserError(f"cannot write {path}: {os.strerror(error.errno)}") from error

    def _file(self, path: str, flags: int) -> int:
        if (path, flags) not in self._files:
            try:
                self._files[path, flags] = os.open(path, flags) if flags == os.O_RDONLY else open_own(path, flags)
            except OSError as error:
                raise UserError(f"{path}: cannot be opened ({os.strerror(error.errno)}); run the job again") from error
        return self._files[path, flags]

    def __del__(self):
        for file in self._files.values():
            os.close(file)


def main() -> None:
    """Answer until the input ends."""
    worker, out = Worker(), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's chatter must not stand among the answers
    for line in sys.stdin.buffer:
        try:
            answer = worker.ask(json.loads(line))
            payload = answer.pop("payload")
        except UserError as error:
            answer, payload = {"failed": str(error)}, []
        except MemoryError:
            answer, payload = {"failed": "out of memory while decoding pictures; give the rule more mem_mb"}, []
        out.write(json.dumps(answer).encode() + b"\n")
        out.writelines(payload)
        out.flush()


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # nobody is left who waits for an answer
        os._exit(1)
