"""Files that are something else than their name says, recognised by their first bytes."""

from __future__ import annotations

#: First bytes -> what the file is, and what to do.
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for; fetch the file itself"),
    (b"/annex/objects/", "a git-annex pointer, not the file it stands for; fetch the file itself"),
    (b"../.git/annex/", "a git-annex pointer, not the file it stands for; fetch the file itself"),
    (b"<", "a web page or XML, not the file; the download went wrong, get it again"),
    (b"{", "a JSON text, not the file; the download may have gone wrong, get it again"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
)


def foreign(head: bytes) -> str | None:
    """What a file with these first bytes is, and what to do; None if it is not one of the usual mix-ups."""
    head = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return next((what for start, what in _FOREIGN if head.startswith(start)), None)
