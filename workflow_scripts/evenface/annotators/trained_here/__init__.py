"""The annotator that the workflow trains itself, on a data set with known truth."""

from evenface.annotators.trained_here.settings import TrainedHereSettings
from evenface.parts import Annotator, Needs
from evenface.taxonomy import DIMENSIONS

#: The network's file, written by the rule train_annotator.
MODEL = "results/annotators/trained_here/model.safetensors"

PART = Annotator(
    name="trained_here",
    version=4,
    summary="A small network trained by this workflow on annotation.trained_here.dataset.",
    code="evenface.annotators.trained_here.annotator:create",
    settings=TrainedHereSettings,
    labels_attributes=True,
    dimensions=tuple(DIMENSIONS),
    trained_on=lambda settings: settings["dataset"],
    files=lambda settings: {"model": MODEL},
    needs=Needs(gpu=1, mem_mb=1500, runtime=240),
)
