"""UTKFace, in its published files."""

from evenface.datasets.settings import DatasetSettings
from evenface.parts import Needs, Reader

PART = Reader(
    name="utkface",
    summary="UTKFace: pictures whose names say age, gender and ethnicity, aligned or in the wild.",
    code="evenface.datasets.utkface.reader:read",
    settings=DatasetSettings,
    optional=(("UTKFace",), ("part1",), ("part2",), ("part3",)),
    files=lambda settings: {"root": settings["root"]},
    needs=Needs(mem_mb=2000, runtime=120, conda="analyse"),
)
