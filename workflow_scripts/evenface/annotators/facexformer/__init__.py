"""FaceXFormer: the published network for attributes, age, gender and race of a face."""

from evenface.annotators.facexformer.settings import FaceXFormerSettings
from evenface.faces.files import detector_files, weights_of
from evenface.parts import Annotator, Needs
from evenface.taxonomy import DIMENSIONS

PART = Annotator(
    name="facexformer",
    version=2,
    summary="The published FaceXFormer: forty attributes, age, gender and race.",
    code="evenface.annotators.facexformer.annotator:create",
    settings=FaceXFormerSettings,
    labels_attributes=True,
    dimensions=tuple(DIMENSIONS),
    trained_on="photographs",
    reads="images",
    files=lambda settings: weights_of(settings, "weights") | detector_files(settings["detector"]),
    needs=Needs(gpu=1, mem_mb=4000, runtime=240),
)
