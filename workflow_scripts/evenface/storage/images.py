"""Reads images by reference, and decodes them within bounds.

A reference is a path (``data/celeba/img_align_celeba/000001.jpg``) or a member of an image
shard (``data/synthetic/parametric/x.tar::images/0.png``) or of a table of pixels (``fer2013.csv::line/2``); see
:func:`evenface.names.split_reference`.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import threading
import warnings
import zlib
from collections import OrderedDict

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from evenface.errors import UserError, raise_if_machine
from evenface.names import split_reference
from evenface.storage.archives import Archive
from evenface.storage.formats import READ, orientation_notes, why_not_read, without_metadata
from evenface.storage.metadata import Metadata
from evenface.storage.pixel_tables import PixelTable

#: Largest image that is decoded, in pixels; even a photograph of 40 megapixels is unusual.
MAX_PIXELS = 40_000_000
#: Largest encoded image that is read, in bytes.
MAX_BYTES = 64 * 1024 * 1024
#: Number of archives that an ImageReader keeps open; a process may usually have 1,024 open files.
MAX_OPEN = 64
#: Number of archive members whose positions an ImageReader remembers, about 250 bytes each.
MAX_MEMBERS = 400_000

#: EXIF orientation -> operation that turns the stored pixels upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(UserError):
    """An image cannot be used. ``reason`` is a short code: missing, corrupt, too_large or unsupported."""

    def __init__(self, reference: str, reason: str, detail: str):
        super().__init__(f"{reference}: {detail}")
        self.reference = reference
        self.reason = reason
        self.detail = detail


def _said(error: Exception) -> str:
    """The system's error text without the path, which the message already names."""
    return getattr(error, "strerror", None) or str(error)


#: TIFF tags that tell a raw photograph, whose first picture is only a thumbnail.
_DNG, _SUBFILE, _SUB_IFDS = 50706, 254, 330


def _upright(image: Image.Image, notes: Image.Image) -> Image.Image:
    """The image turned as the metadata of ``notes`` say. Damaged metadata are ignored."""
    image.load()
    try:
        orientation = notes.getexif().get(ExifTags.Base.Orientation)
        method = _UPRIGHT.get(orientation)
    except Exception:  # unreadable EXIF fails in any way
        return image
    return image if method is None else image.transpose(method)


def _decoded(data: bytes, reference: str, max_pixels: int) -> Image.Image:
    """The picture. If it cannot be read with its metadata, it is read without them, but turned as they say."""
    try:
        return _rgb(data, reference, max_pixels)
    except (ImageError, Image.DecompressionBombError):
        raise
    except Exception as error:
        raise_if_machine(error, reference)
        bare = without_metadata(data)
        if bare is None:
            raise
        notes = Image.new("1", (1, 1))
        notes.info.update(orientation_notes(data))
        return _rgb(bare, reference, max_pixels, notes)


def _rgb(data: bytes, reference: str, max_pixels: int, notes: Image.Image | None = None) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=tuple(READ)) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                reference, "too_large", f"image of {width} x {height} pixels, more than {max_pixels} allowed"
            )
        tags = getattr(image, "tag_v2", {})
        if _DNG in tags or (tags.get(_SUBFILE) == 1 and _SUB_IFDS in tags):
            raise ImageError(
                reference,
                "unsupported",
                "a raw photograph (DNG, NEF or ARW), which is not read; save it as JPEG or PNG",
            )
        image = _upright(image, notes or image)
        if image.mode in ("I", "F"):
            raise ImageError(
                reference, "corrupt", "samples of 32 bits, whose white is not defined; save it with 8 or 16 bits"
            )
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (128, 128, 128, 255)), image)
        return image if image.mode == "RGB" else image.convert("RGB")


def decode_image(data: bytes, reference: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """RGB uint8 (H, W, 3) of :func:`decode_picture`."""
    return np.array(decode_picture(data, reference, max_pixels=max_pixels))


def decode_picture(data: bytes, reference: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode bytes to a Pillow image in mode RGB, EXIF orientation applied, alpha over mid-gray.

    The content decides the format, whatever the name says: one of :data:`evenface.storage.formats.READ`. Samples of 16
    bits keep their upper eight; CMYK is converted without its colour profile. Damaged metadata cost no picture. Raises
    ImageError for data that is not an image, has another format (the message names it), is truncated, has 32 bits per
    sample, or is larger than ``max_pixels``. The size is checked before any pixel is decoded.
    """
    try:
        # Pillow itself warns of large images and damaged EXIF, but this function decides what is used. The filter
        # names only Pillow, because threads that decode at the same time may leave it behind.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            return _decoded(data, reference, max_pixels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(reference, "too_large", str(error)) from error
    except UnidentifiedImageError as error:
        # Pillow's own text contains a memory address, which differs from run to run.
        raise ImageError(reference, *why_not_read(data)) from error
    except Exception as error:  # a damaged file fails in any way
        raise_if_machine(error, reference)
        raise ImageError(reference, *why_not_read(data, error)) from error


class ImageReader:
    """Reads images by reference; threads may share it. Use as a context manager.

    At most :data:`MAX_OPEN` archives, the most recently used ones, are open at a time. An archive that is opened
    again is not scanned again, as long as all known archives together have at most ``MAX_MEMBERS`` members.

    Reading raises ImageError if the image does not exist, or if its content is damaged or too large. It raises
    MachineError if the machine failed (too many open files, a broken disk, no permission). This says nothing about
    the image, so it must not count as a bad image.
    """

    def __init__(self, *, max_pixels: int = MAX_PIXELS):
        self.max_pixels = max_pixels
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Archive | PixelTable] = OrderedDict()
        self._indexes: OrderedDict[str, dict[str, tuple[int, int]]] = OrderedDict()
        self._members = 0

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *_exception) -> None:
        self._open.clear()
        self._indexes.clear()
        self._members = 0

    def _archive(self, path: str) -> Archive | PixelTable:
        with self._lock:
            archive = self._open.get(path)
            if archive is None:
                while len(self._open) >= MAX_OPEN:
                    self._open.popitem(last=False)
                kind = PixelTable if path.lower().endswith(".csv") else Archive
                archive = self._open[path] = kind(path, self._indexes.get(path))
                if path not in self._indexes:
                    self._indexes[path] = archive.index
                    self._members += len(archive.index)
                while self._members > MAX_MEMBERS and len(self._indexes) > 1:
                    oldest = next(p for p in self._indexes if p != path)
                    self._members -= len(self._indexes.pop(oldest))
            self._open.move_to_end(path)
            return archive

    def _member(self, reference: str, path: str, member: str) -> bytes:
        try:
            archive = self._archive(path)
            if member not in archive.index:
                raise ImageError(reference, "missing", "the shard has no such image")
            if archive.index[member][1] > MAX_BYTES:
                raise ImageError(reference, "too_large", f"encoded image of {archive.index[member][1]} bytes")
            return archive.read(member)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise_if_machine(error, path)
            reason = "corrupt" if isinstance(error, tarfile.TarError) else "missing"
            raise ImageError(reference, reason, f"cannot be read ({_said(error)})") from error

    def read_bytes(self, reference: str) -> bytes:
        """Encoded bytes of one image; ImageError when it is missing or beyond MAX_BYTES."""
        path, member = split_reference(reference, self._indexes)
        if member:
            return self._member(reference, path, member)
        try:
            with open(reference, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_BYTES:
                    raise ImageError(reference, "too_large", f"file of {size} bytes")
                return file.readall()
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise_if_machine(error, reference)
            raise ImageError(reference, "missing", f"cannot be read ({_said(error)})") from error

    def read(self, reference: str) -> np.ndarray:
        """RGB uint8 (H, W, 3) of one image."""
        return decode_image(self.read_bytes(reference), reference, max_pixels=self.max_pixels)


def read_image(reference: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """RGB uint8 (H, W, 3) of one reference; raises ImageError. For many images use ImageReader."""
    with ImageReader(max_pixels=max_pixels) as reader:
        return reader.read(reference)


def encode_png(image: np.ndarray, *, metadata: Metadata | None = None) -> bytes:
    """PNG bytes of an RGB or gray uint8 image; ``metadata`` becomes an XMP packet and text chunks before the pixels.

    OpenCV with one filter and run lengths takes an eighth of the time of Pillow's usual settings, for 16 % more bytes.
    """
    import cv2  # not at the top: most programs that read images do not write any

    ordered = np.ascontiguousarray(image)
    ordered = cv2.cvtColor(ordered, cv2.COLOR_RGB2BGR) if image.ndim == 3 else ordered
    fast = {
        cv2.IMWRITE_PNG_COMPRESSION: 1,
        cv2.IMWRITE_PNG_FILTER: cv2.IMWRITE_PNG_FILTER_UP,
        cv2.IMWRITE_PNG_STRATEGY: cv2.IMWRITE_PNG_STRATEGY_RLE,
    }
    data = cv2.imencode(".png", ordered, [number for pair in fast.items() for number in pair])[1].tobytes()
    if metadata is None:
        return data
    texts = {"XML:com.adobe.xmp": metadata.packet().decode(), **metadata.text()}
    chunks = [_png_text(key, value) for key, value in texts.items()]
    return b"".join([data[:_PNG_HEADER], *chunks, data[_PNG_HEADER:]])


#: Length, in bytes, of a PNG file's signature and its first chunk, which holds the image's size.
_PNG_HEADER = 33


def _png_text(key: str, value: str) -> bytes:
    """An iTXt chunk: the keyword, not compressed, no language."""
    body = b"iTXt" + key.encode("ascii") + b"\0\0\0\0\0" + value.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def encode_jpeg(image: np.ndarray, quality: int, *, subsampling: int = 2, metadata: Metadata | None = None) -> bytes:
    """JPEG bytes of an RGB uint8 image; ``subsampling`` 0 is 4:4:4 and 2 is 4:2:0; ``metadata`` becomes an XMP packet."""
    buffer = io.BytesIO()
    more = {} if metadata is None else {"xmp": metadata.packet()}
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=subsampling, **more)
    return buffer.getvalue()
