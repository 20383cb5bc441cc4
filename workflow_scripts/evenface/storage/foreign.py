"""What a file really is, told by its first bytes, where something else was expected."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from evenface.errors import raise_if_machine

#: Bytes that decide.
HEAD = 512

_UNPACK = "unpack it first"
_CSV = "save the table as CSV in UTF-8"
_NOT_TEXT = "binary data, not text; take the file as its authors publish it"

_UTF_16 = "UTF-16 text, not UTF-8; save the file as UTF-8"

#: How a file begins, and the sentence about it, with the remedy. White space and a byte-order mark before text are skipped.
_KINDS: tuple[tuple[bytes, str], ...] = (
    (rb"(?i)version https://git-lfs", "a Git LFS pointer, not the file it stands for; fetch the file itself"),
    (rb"/annex/objects/|\.\./\.git/annex/", "a git-annex pointer, not the file it stands for; fetch the file itself"),
    (rb"(?i)<(!doctype|!--|html|\?xml|head|body|script)",
     "a web page or XML, not the file; the download went wrong, get it again"),
    (rb"\{\s*\"|\[\s*(\{\s*)?\"", "a JSON text, not the file; give the file itself"),
    (rb"\x1f\x8b", f"compressed with gzip; {_UNPACK}"),
    (rb"\xfd7zXZ", f"compressed with xz; {_UNPACK}"),
    (rb"BZh[1-9]1AY&SY", f"compressed with bzip2; {_UNPACK}"),
    (rb"\x28\xb5\x2f\xfd", f"compressed with zstd; {_UNPACK}"),
    (rb"Rar!", f"a RAR archive; {_UNPACK}"),
    (rb"7z\xbc\xaf", f"a 7-Zip archive; {_UNPACK}"),
    (rb"PK\x03\x04|PK\x05\x06", f"a zip archive; {_UNPACK}"),
    (rb".{257}ustar", f"a tar archive; {_UNPACK}"),
    (rb"PAR1", f"a Parquet table; {_CSV}"),
    (rb"ARROW1|FEA1", f"a Feather or Arrow table; {_CSV}"),
    (rb"\x80[\x02-\x05]", "a Python pickle, which is never opened because it may run code; take the table as CSV"),
    (rb"\xd0\xcf\x11\xe0", f"an old Excel workbook or other Office file; {_CSV}"),
    (rb"%PDF", "a PDF document; give the table it shows as CSV"),
    (rb"\{\\rtf", "a document in RTF; save it as plain text in UTF-8"),
    (rb"SQLite format 3", f"an SQLite database; {_CSV}"),
    (rb"\x89HDF\r\n", "an HDF5 file; give the table as CSV"),
    (rb"\x93NUMPY", "an array of NumPy; give the table as CSV"),
    (rb"MATLAB 5", "a file of MATLAB; give the table as CSV"),
    (rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP", "a picture, not the file; give the file itself"),
    (rb"\xff\xfe|\xfe\xff", _UTF_16),
)  # fmt: skip
_PATTERNS = tuple((re.compile(start, re.DOTALL), said) for start, said in _KINDS)

#: A name in a zip archive -> what the archive is.
_ZIPS = {
    "xl/workbook.xml": f"an Excel workbook; {_CSV}",
    "word/document.xml": "a Word document; save it as plain text in UTF-8",
    "content.xml": f"an OpenDocument file; {_CSV}",
}


def foreign(head: bytes) -> str | None:
    """What a file that begins with ``head`` is, with the remedy; None for plain text and all that is not recognised."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return next((said for pattern, said in _PATTERNS if pattern.match(start) or pattern.match(head)), None)


def foreign_text(path: Path) -> str | None:
    """:func:`foreign` of a file that should be text. Archives are opened for what they hold; other binary data is told.

    Raises MachineError where the machine fails, and OSError for a file that does not exist.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise_if_machine(error, path)
        raise
    said = foreign(head)
    if said and "zip archive" in said:
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            names = set()
        said = next((what for name, what in _ZIPS.items() if name in names), said)
    if said or b"\0" not in head:
        return said
    return _UTF_16 if 4 * head[:64].count(0) > len(head[:64]) and any(head[:64]) else _NOT_TEXT
