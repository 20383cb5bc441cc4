"""FairFace: the published networks for race, gender and age."""

from evenface.annotators.fairface.settings import FairFaceSettings
from evenface.faces.files import detector_files, weights_of
from evenface.parts import Annotator, Needs
from evenface.taxonomy import DIMENSIONS

PART = Annotator(
    name="fairface",
    version=2,
    summary="The published FairFace: race, gender and age. It does not label attributes.",
    code="evenface.annotators.fairface.annotator:create",
    settings=FairFaceSettings,
    dimensions=tuple(DIMENSIONS),
    trained_on="photographs",
    reads="images",
    files=lambda settings: weights_of(settings, "weights", "weights_4") | detector_files(settings["detector"]),
    needs=Needs(gpu=1, mem_mb=4000, runtime=240),
)
