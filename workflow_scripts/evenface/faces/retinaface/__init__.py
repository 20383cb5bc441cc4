"""RetinaFace with a small MobileNet, as Facer uses it; its weights are a setting of the annotator."""

from evenface.parts import Detector

PART = Detector(
    screens=False,
    name="retinaface",
    version=2,
    summary="RetinaFace (MobileNet 0.25), which Facer is used with.",
    code="evenface.faces.retinaface_detection:RetinaFaceFinder",
)
