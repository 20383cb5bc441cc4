"""The names of packs. It imports little, because every job reads the workflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Parts of a faces table, which are packed separately, so that another test set does not change any training.
SPLITS: dict[str, tuple[str, ...]] = {"train": ("train", "val"), "test": ("test",), "all": ("train", "val", "test")}


def gigabytes(count: float) -> str:
    """Bytes as text: GB, or MB below a tenth of one."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


@dataclass(frozen=True)
class PackName:
    """The pixels of one part of a faces table at one ``size`` (width, height) and ``crop``."""

    table: str
    part: str
    size: tuple[int, int]
    crop: float | None = None

    def __str__(self) -> str:
        crop = "" if self.crop is None else f"-crop{self.crop:g}"
        return f"{self.table}-{self.part}-{self.size[0]}x{self.size[1]}{crop}"

    @property
    def row_bytes(self) -> int:
        """Bytes of one picture's pixels."""
        return self.size[0] * self.size[1] * 3

    def recipe(self, version: int, store: str, reserve_gb: float) -> dict[str, Any]:
        """Everything that decides the pack."""
        return {
            "version": version,
            "splits": list(SPLITS[self.part]),
            "size": list(self.size),
            "crop": self.crop,
            "store": store,
            "reserve_gb": reserve_gb,
        }
