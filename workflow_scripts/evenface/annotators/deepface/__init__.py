"""DeepFace: the published networks for age, gender, race and emotion."""

from evenface.annotators.deepface.settings import DeepFaceSettings
from evenface.faces.files import detector_files, weights_of
from evenface.parts import Annotator, Needs
from evenface.taxonomy import DIMENSIONS

PART = Annotator(
    name="deepface",
    version=2,
    summary="The published DeepFace models: age, gender, race and emotion. It does not label attributes.",
    code="evenface.annotators.deepface.annotator:create",
    settings=DeepFaceSettings,
    dimensions=tuple(DIMENSIONS),
    trained_on="photographs",
    reads="images",
    files=lambda settings: weights_of(settings, "weights") | detector_files(settings["detector"]),
    needs=Needs(gpu=1, mem_mb=4000, runtime=240),
)
