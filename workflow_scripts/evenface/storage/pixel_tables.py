"""Pictures that are written as numbers in the lines of a text table, as FER2013 has them."""

from __future__ import annotations

import io
import math
import os
import tarfile

import numpy as np
from PIL import Image

_DIGITS = b"0123456789 \t"


def pixels_of(text: bytes) -> np.ndarray:
    """uint8 (n, n), the gray picture whose n² values from 0 to 255 a text lists row by row, with blanks between them.

    ValueError says what is wrong with the text.
    """
    if text.translate(None, _DIGITS):
        raise ValueError("pixels must be whole numbers with blanks between them")
    values = np.fromstring(text, np.int64, sep=" ") if text.strip() else np.zeros(0, np.int64)
    side = math.isqrt(len(values))
    if not side or side * side != len(values):
        raise ValueError(f"{len(values)} pixels are not a square picture")
    if values.max() > 255:
        raise ValueError(f"a pixel is {values.max()}, but 255 is white")
    return values.astype(np.uint8).reshape(side, side)


class PixelTable:
    """A CSV file with a picture in every line, opened like :class:`evenface.storage.archives.Archive`.

    Its members are ``line/<number>``, and their bytes are PNG files. The pixels are the longest value of the line. Raises
    OSError, and tarfile.TarError for a line without a picture, as an archive does for a damaged member.
    """

    def __init__(self, path: str | os.PathLike, index: dict[str, tuple[int, int]] | None = None):
        self._file = open(path, "rb", buffering=0)
        if index is None:
            index, position = {}, 0
            with open(path, "rb") as lines:
                for number, line in enumerate(lines, 1):
                    index[f"line/{number}"] = position, len(line)
                    position += len(line)
        self.index = index

    def __del__(self):
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, member: str) -> bytes:
        """The PNG file of a member of ``index``."""
        position, size = self.index[member]
        line = os.pread(self._file.fileno(), size, position)
        try:
            pixels = pixels_of(max(line.replace(b'"', b"").strip().split(b","), key=len))
        except ValueError as error:
            raise tarfile.ReadError(str(error)) from error
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
