"""Hashes of files."""

from __future__ import annotations

import hashlib
import os

from evenface.errors import UserError, raise_if_machine


def sha256_of(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file; UserError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
