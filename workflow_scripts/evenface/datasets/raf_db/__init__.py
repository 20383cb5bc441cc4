"""RAF-DB's single-label part, in its published files."""

from evenface.datasets.emotions import EMOTIONS
from evenface.datasets.settings import DatasetSettings
from evenface.parts import Needs, Reader

PART = Reader(
    name="raf_db",
    summary="RAF-DB's folder `basic`: list_patition_label.txt, aligned pictures and manual attributes.",
    code="evenface.datasets.raf_db.reader:read",
    settings=DatasetSettings,
    tables=(("EmoLabel/list_patition_label.txt", "EmoLabel/list_partition_label.txt"),),
    optional=(("Image/aligned", "Image/original"), ("Annotation/manual",)),
    classes={"emotion": EMOTIONS},
    needs=Needs(mem_mb=2000, runtime=120, conda="analyse"),
)
