"""MAAD-Face's attribute labels of VGGFace2's images, in its published files."""

from evenface.datasets.settings import DatasetSettings
from evenface.parts import Needs, Reader

PART = Reader(
    name="maad_face",
    version=2,
    summary="MAAD-Face: MAAD_Face.csv beside VGGFace2's folders.",
    code="evenface.datasets.maad_face.reader:read",
    settings=DatasetSettings,
    tables=(("MAAD_Face.csv", "MAAD-Face.csv"),),
    optional=(("test",), ("val",)),
    needs=Needs(mem_mb=4000, runtime=120, conda="analyse"),
)
