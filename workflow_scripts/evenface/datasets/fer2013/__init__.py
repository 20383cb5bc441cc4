"""FER2013: its published CSV, or folders named after the classes."""

from evenface.datasets.emotions import EMOTIONS
from evenface.datasets.settings import DatasetSettings
from evenface.parts import Needs, Reader

PART = Reader(
    name="fer2013",
    summary="FER2013: fer2013.csv with the pixels, or folders named after the classes.",
    code="evenface.datasets.fer2013.reader:read",
    settings=DatasetSettings,
    optional=(("fer2013.csv", "icml_face_data.csv"), ("train",), ("val", "validation"), ("test",)),
    classes={"emotion": EMOTIONS},
    needs=Needs(mem_mb=6000, runtime=120, conda="analyse"),
)
