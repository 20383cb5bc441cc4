"""dlib's network detector (MMOD), with dlib's landmarks."""

from evenface.faces.dlib_files import LANDMARKS_5, MMOD
from evenface.parts import Detector

PART = Detector(
    name="mmod",
    summary="dlib's network face detector; slower, finds more.",
    code="evenface.faces.detection:FaceFinder",
    files=lambda settings: {"landmarks": LANDMARKS_5, "mmod": MMOD},
)
