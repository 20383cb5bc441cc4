"""Files that are another thing than expected, called by name from their first bytes."""

from __future__ import annotations

from collections.abc import Iterable

#: First bytes, and what such a file is, with the way out.
FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for; fetch the file itself"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
)


def called(head: bytes, more: Iterable[tuple[bytes, str]] = ()) -> str:
    """What a file that begins with ``head`` is, by :data:`FOREIGN` and ``more``; "" if none of them."""
    return next((what for first, what in (*FOREIGN, *more) if head.startswith(first)), "")
