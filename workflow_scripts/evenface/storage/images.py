"""Images by reference, decoded within bounds.

A reference is a path (``data/celeba/img_align_celeba/000001.jpg``) or a member of an image
shard (``data/synthetic/parametric/x.tar::images/0.png``).
"""

from __future__ import annotations

import io
import struct
import tarfile
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from evenface.errors import UserError
from evenface.storage.metadata import Metadata

#: Largest image that is decoded, in pixels; a photograph of 40 megapixels is already extreme here.
MAX_PIXELS = 40_000_000
#: Largest encoded image that is read, in bytes.
MAX_BYTES = 64 * 1024 * 1024

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

#: EXIF orientation -> what turns the stored pixels upright.
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
    """One image cannot be used. ``reason`` is a short code: missing, corrupt or too_large."""

    def __init__(self, reference: str, reason: str, detail: str):
        super().__init__(f"{reference}: {detail}")
        self.reference = reference
        self.reason = reason
        self.detail = detail


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says. EXIF that is damaged, here or in another field, costs no image."""
    image.load()
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        method = _UPRIGHT.get(orientation)
    except Exception:  # unreadable EXIF fails in any way
        return image
    return image if method is None else image.transpose(method)


def _rgb(data: bytes, reference: str, max_pixels: int) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(
                reference, "too_large", f"image of {width} x {height} pixels, more than {max_pixels} allowed"
            )
        image = _upright(image)
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

    Samples of 16 bits keep their upper eight; CMYK is converted without its colour profile. Raises
    ImageError for data that is no image, truncated, of 32 bits a sample, or larger than ``max_pixels``; the
    size is checked before any pixel is decoded.
    """
    try:
        # Pillow warns of large images and of damaged EXIF on its own; what is used is decided here. The filter
        # names Pillow alone, since threads that decode at once may leave it behind.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            return _rgb(data, reference, max_pixels)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(reference, "too_large", str(error)) from error
    except UnidentifiedImageError as error:
        # Pillow's own text names a memory address, which would differ from run to run.
        raise ImageError(reference, "corrupt", "no image format that is read here") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged file fails in any way
        raise ImageError(reference, "corrupt", f"not a readable image ({error})") from error


class ImageReader:
    """Reads images by reference and keeps shard files open. Use as a context manager."""

    def __init__(self, *, max_pixels: int = MAX_PIXELS):
        self.max_pixels = max_pixels
        self._archives: dict[str, tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]] = {}

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *_exception) -> None:
        for archive, _ in self._archives.values():
            archive.close()
        self._archives.clear()

    def _member(self, reference: str) -> bytes:
        path, _, member = reference.partition("::")
        if path not in self._archives:
            try:
                archive = tarfile.open(path, "r:")
                index = {info.name: info for info in archive.getmembers()}
            except (OSError, tarfile.TarError) as error:
                reason = "missing" if isinstance(error, FileNotFoundError) else "corrupt"
                raise ImageError(reference, reason, f"shard cannot be opened ({error})") from error
            self._archives[path] = archive, index
        archive, index = self._archives[path]
        info = index.get(member)
        if info is None or not info.isfile():
            raise ImageError(reference, "missing", "the shard has no such image")
        if info.size > MAX_BYTES:
            raise ImageError(reference, "too_large", f"encoded image of {info.size} bytes")
        return archive.extractfile(info).read()

    def read_bytes(self, reference: str) -> bytes:
        """Encoded bytes of one image; raises ImageError when missing or beyond MAX_BYTES."""
        if "::" in reference:
            return self._member(reference)
        path = Path(reference)
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise ImageError(reference, "too_large", f"file of {size} bytes")
            return path.read_bytes()
        except OSError as error:
            raise ImageError(reference, "missing", f"cannot be read ({error.strerror})") from error

    def read(self, reference: str) -> np.ndarray:
        """RGB uint8 (H, W, 3) of one image; raises ImageError."""
        return decode_image(self.read_bytes(reference), reference, max_pixels=self.max_pixels)


def read_image(reference: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """RGB uint8 (H, W, 3) of one reference; raises ImageError. For many images use ImageReader."""
    with ImageReader(max_pixels=max_pixels) as reader:
        return reader.read(reference)


def encode_png(image: np.ndarray, *, metadata: Metadata | None = None) -> bytes:
    """PNG bytes of an RGB or gray uint8 image; ``metadata`` becomes an XMP packet and text chunks before the pixels.

    OpenCV with one filter and run lengths takes an eighth of the time of Pillow's usual settings, for 16 % more bytes.
    """
    import cv2  # not at the top: most programs that read images write none

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


#: Bytes of a PNG file's signature and first chunk, which says its size.
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
