"""The formats of pictures: which are read, how the others are recognised, and pictures without their metadata."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from evenface.storage.foreign import HEAD, foreign
from evenface.storage.metadata import find_packet

#: The formats that are read, by Pillow's names, and the endings of their files. Nothing else is decoded or listed.
READ = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
}
#: Endings of the files that are listed as pictures, in small letters; capitals are listed too.
ENDINGS = tuple(ending for endings in READ.values() for ending in endings)

_READ_BY = {
    "JPEG": rb"\xff\xd8\xff(?!\xf7)",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WebP": rb"RIFF.{4}WEBP",
    "BMP": rb"BM.{12}[\x0c-\x7c]\0\0\0",
    "TIFF": rb"II\*\0(?!.{4}CR\x02)|MM\0\*|II\+\0|MM\0\+",
}
_OTHER = {
    "AVIF": rb".{4}ftyp(?:avif|avis|(?:mif1|msf1|miaf).{4}(?:.{4}){0,8}?avi[fs])",
    "HEIC": rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)",
    "CR3 (raw photograph)": rb".{4}ftypcrx ",
    "MP4 or QuickTime (film)": rb".{4}ftyp",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG 2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "JPEG-LS": rb"\xff\xd8\xff\xf7",
    "JPEG XR": rb"II\xbc",
    "GIF": rb"GIF8[79]a",
    "CR2 (raw photograph)": rb"II\*\0.{4}CR\x02",
    "RW2 (raw photograph)": rb"IIU\0",
    "ORF (raw photograph)": rb"IIR[OS]|MMOR",
    "RAF (raw photograph)": rb"FUJIFILMCCD-RAW",
    "X3F (raw photograph)": rb"FOVb",
    "MRW (raw photograph)": rb"\0MRM",
    "Photoshop (PSD)": rb"8BPS",
    "GIMP (XCF)": rb"gimp xcf",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?(?:RADIANCE|RGBE)",
    "Netpbm (PBM, PGM, PPM, PAM)": rb"P[1-7][\s#]",
    "Windows icon": rb"\0\0[\1\2]\0[^\0]\0",
    "Apple icon": rb"icns",
    "DDS": rb"DDS ",
    "DICOM": rb".{128}DICM",
    "PDF": rb"%PDF",
    "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
    "SVG": rb"(?i:\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,900})?(?:<!--.{0,900}-->\s*)?(?:<!DOCTYPE svg.{0,900})?<svg[\s>])",
    "Matroska or WebM (film)": rb"\x1aE\xdf\xa3",
}
_START = 2048

#: Numbers of the TIFF tags that decide pixels, and of the orientation.
_TIFF_TAGS = {*range(254, 260), 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326), 330, 332, 338,
              339, 340, 341, 347, *range(529, 533)}  # fmt: skip
_TIFF_ORIENTATION, _TIFF_SHORT = 274, 3


def format_read(data: bytes) -> str | None:
    """The name of the format that is read, as the first bytes say; None for all other content."""
    return _first(_READ_BY, data)


def format_not_read(data: bytes) -> str | None:
    """The name of a picture's format that is recognised but not read."""
    return _first(_OTHER, data)


def _first(patterns: dict[str, bytes], data: bytes) -> str | None:
    return next((name for name, start in patterns.items() if re.match(start, data[:_START], re.S)), None)


def why_not_read(data: bytes, error: object = None) -> tuple[str, str]:
    """Reason (``unsupported`` or ``corrupt``) and a sentence for encoded data that cannot be decoded.

    ``error`` is what the decoder said of data in a format that is read.
    """
    if not data.strip(b"\0"):
        return "corrupt", "the file is empty" if not data else "the file holds only zeros; copy or download it again"
    if name := format_not_read(data):
        return "unsupported", f"the picture's format is {name}, which is not read; save it as JPEG or PNG"
    if name := format_read(data):
        if name == "JPEG" and (kind := _jpeg_kind(data)):
            return "unsupported", f"the picture is {kind}, which is not read; save it as usual JPEG or PNG"
        said = f" ({error})" if error else ""
        return "corrupt", f"the {name} picture is damaged or ends too early{said}; copy or download it again"
    if what := foreign(data[:HEAD]):
        return "corrupt", f"not a picture: it is {what}"
    text = " ".join(data[:40].decode("ascii", "replace").split())
    if text.isascii() and text.isprintable():
        return "corrupt", f"not a picture: it is a text that begins with {text!r}; get the file again"
    return "corrupt", f"no format of pictures is recognised; those that are read are {', '.join(_READ_BY)}"


def without_metadata(data: bytes) -> bytes | None:
    """The same picture without all that decoding does not need; None for formats without separate metadata.

    Kept are the parts that decide pixels: in JPEG also the JFIF and Adobe segments, which name the colours; in PNG also
    transparency. A TIFF keeps its orientation; for other formats see :func:`orientation_notes`. Nothing is decompressed,
    and the result is at most as long as ``data``.
    """
    kind = format_read(data)
    if kind == "JPEG":
        return _bare_jpeg(data)
    if kind == "PNG":
        return _bare_png(data)
    if kind == "WebP":
        return _bare_webp(data)
    return _bare_tiff(data) if kind == "TIFF" else None


def orientation_notes(data: bytes) -> dict[str, bytes]:
    """The parts of a picture's metadata that may state an orientation, by Pillow's names ``exif`` and ``xmp``."""
    notes: dict[str, bytes] = {}
    kind = format_read(data)
    if kind == "JPEG":
        parts = [body[6:] for marker, body, _ in _segments(data) if marker == 0xE1 and body.startswith(b"Exif\0\0")]
    elif kind == "PNG":
        parts = [body for name, body, _ in _png_chunks(data) if name == b"eXIf"]
    else:
        parts = [body for name, body, _ in _webp_chunks(data) if name == b"EXIF"] if kind == "WebP" else []
    if parts:
        notes["exif"] = b"Exif\0\0" + parts[0].removeprefix(b"Exif\0\0")
    try:
        if packet := find_packet(data):
            notes["xmp"] = packet
    except (ValueError, struct.error):  # damaged or too long: it states nothing
        pass
    return notes


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of each segment of a JPEG before its first scan; the last is the scan's header (0xDA)."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
            at += 1
            continue
        marker = data[at + 1]
        if 0xD0 <= marker <= 0xD8 or marker == 0x01:  # without a length
            at += 2
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + max(size, 2)
        yield marker, data[at + 4 : end], end
        if marker in (0xD9, 0xDA) or end > len(data):
            return
        at = end


def _is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _jpeg_kind(data: bytes) -> str | None:
    """What a JPEG is beyond the usual kinds, which have 8 bits and Huffman codes; None for usual ones."""
    for marker, body, _ in _segments(data):
        if _is_frame(marker):
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                return "a lossless JPEG"
            return "a JPEG of 12 bits per sample" if body[:1] == b"\x0c" else None
    return None


def _bare_jpeg(data: bytes) -> bytes | None:
    parts = [data[:2]]
    for marker, body, end in _segments(data):
        names_colours = (marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14) or (
            marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12
        )
        if names_colours or _is_frame(marker) or marker in (0xC4, 0xCC, 0xDA, 0xDB, 0xDD):
            parts.append(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body)
        if marker == 0xDA:
            return b"".join([*parts, data[end:]])
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Name, content and start of each chunk; the content is empty if the file ends within the chunk."""
    at = 8
    while at + 12 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        yield name, data[at + 8 : end - 4] if end <= len(data) else b"", at
        if name == b"IEND" or end > len(data):
            return
        at = end


def _bare_png(data: bytes) -> bytes:
    parts = [data[:8]]
    for name, body, at in _png_chunks(data):
        whole = data[at : at + 12 + struct.unpack_from(">I", data, at)[0]]
        sound = name == b"tRNS" and whole[-4:] == struct.pack(">I", zlib.crc32(name + body))
        if sound or not name[0] & 0x20:  # a capital letter marks what decoding needs
            parts.append(whole)
    return b"".join(parts)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size], size
        at += 8 + size + size % 2


def _bare_webp(data: bytes) -> bytes:
    parts = []
    for name, body, size in _webp_chunks(data):
        if name == b"VP8X" and body:
            body = bytes([body[0] & ~0x2C]) + body[1:]  # it announces no profile, EXIF or XMP
        if name in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            parts.append(struct.pack("<4sI", name, size) + body + b"\0" * (size % 2))
    content = b"".join(parts)
    return struct.pack("<4sI4s", b"RIFF", len(content) + 4, b"WEBP") + content


def _bare_tiff(data: bytes) -> bytes | None:
    """The list of the first picture's tags is shortened in its place; other offsets stay true."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        version, at = struct.unpack_from(f"{order}HI", data, 2)
        if version != 42:  # the variant for more than 4 GB
            return None
        (count,) = struct.unpack_from(f"{order}H", data, at)
        entries = [data[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(count)]
        following = data[at + 2 + 12 * count :][:4]
        heads = [struct.unpack_from(f"{order}HHI", entry) for entry in entries]
    except struct.error:
        return None
    upright = (_TIFF_ORIENTATION, _TIFF_SHORT, 1)
    kept = [entry for entry, head in zip(entries, heads, strict=True) if head[0] in _TIFF_TAGS or head == upright]
    new = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + following
    return data[:at] + new + data[at + len(new) :]
