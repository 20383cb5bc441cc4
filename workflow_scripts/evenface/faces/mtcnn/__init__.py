"""MTCNN: three cascaded networks that find faces and five landmarks (Zhang et al., 2016)."""

from evenface.parts import Detector

PART = Detector(
    screens=False,
    name="mtcnn",
    version=2,
    summary="MTCNN as packaged by facenet-pytorch, which FaceXFormer and DeepFace are used with.",
    code="evenface.faces.mtcnn_detection:MTCNN",
    files=lambda settings: {net: f"models/mtcnn/{net}.pt" for net in ("pnet", "rnet", "onet")},
)
