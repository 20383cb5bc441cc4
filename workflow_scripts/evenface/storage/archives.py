"""Reads members of tar files by their position."""

from __future__ import annotations

import os
import tarfile


class Archive:
    """An open tar file and the positions of its members. Several threads may read from it.

    The file is closed when the last reference to the object is dropped, so no thread can read from a descriptor
    that meanwhile belongs to another file. ``index`` (member name -> position and size in bytes, only regular
    files) comes from an earlier opening, or is made by reading all headers. Raises OSError, and tarfile.TarError
    for a file that is not a tar or ends inside a member.
    """

    def __init__(self, path: str | os.PathLike, index: dict[str, tuple[int, int]] | None = None):
        self._file = open(path, "rb", buffering=0)
        if index is None:
            try:
                with tarfile.open(fileobj=self._file, mode="r:") as members:
                    index = {info.name: (info.offset_data, info.size) for info in members if info.isfile()}
            except ValueError as error:  # from a damaged header
                raise tarfile.ReadError(str(error)) from error
        self.index = index

    def __del__(self):
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, member: str) -> bytes:
        """The bytes of a member of ``index``. Raises OSError, and tarfile.ReadError if the file ends inside it."""
        position, size = self.index[member]
        parts = []
        while size:
            part = os.pread(self._file.fileno(), size, position)
            if not part:
                raise tarfile.ReadError("unexpected end of data")
            parts.append(part)
            position, size = position + len(part), size - len(part)
        return b"".join(parts)
