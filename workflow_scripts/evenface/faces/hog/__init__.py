"""dlib's frontal face detector (histograms of oriented gradients), with dlib's landmarks."""

from evenface.faces.dlib_files import LANDMARKS_5
from evenface.parts import Detector

PART = Detector(
    name="hog",
    summary="dlib's frontal face detector; quick, no weights but those of the landmarks.",
    code="evenface.faces.detection:FaceFinder",
    files=lambda settings: {"landmarks": LANDMARKS_5},
)
