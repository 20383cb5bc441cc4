"""AffectNet's manually annotated images, in the published lists."""

from evenface.datasets.emotions import EMOTIONS
from evenface.datasets.settings import DatasetSettings
from evenface.parts import Needs, Reader

LISTS = {
    "train": ("Manually_Annotated_file_lists/training.csv", "training.csv"),
    "val": ("Manually_Annotated_file_lists/validation.csv", "validation.csv"),
}
FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")

PART = Reader(
    name="affectnet",
    summary="AffectNet: training.csv, validation.csv and Manually_Annotated_Images.",
    code="evenface.datasets.affectnet.reader:read",
    settings=DatasetSettings,
    tables=tuple(LISTS.values()),
    optional=(FOLDERS,),
    classes={"emotion": (*EMOTIONS, "contempt")},
    needs=Needs(mem_mb=6000, runtime=240, conda="analyse"),
)
