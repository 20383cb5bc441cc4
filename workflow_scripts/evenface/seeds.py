"""Random seeds from names. Adding one thing therefore never changes the draws of another."""

from __future__ import annotations

import hashlib


def seed_from(*parts: object) -> int:
    """63-bit seed from the text of ``parts``: the first 8 bytes (little-endian) of their SHA-256."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
