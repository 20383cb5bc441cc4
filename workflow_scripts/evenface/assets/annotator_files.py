"""Which files an annotator reads, from its settings alone: rules list them as inputs before any job runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The annotator trained here, as its rule writes it.
TRAINED_HERE = "results/annotators/trained_here/model.safetensors"

_DLIB = {
    "landmarks": "models/dlib/shape_predictor_5_face_landmarks.dat",
    "mmod": "models/dlib/mmod_human_face_detector.dat",
}
_MTCNN = {net: f"models/mtcnn/{net}.pt" for net in ("pnet", "rnet", "onet")}

#: Files of each face detector an annotator may use.
DETECTOR_FILES: dict[str, dict[str, str]] = {
    "mmod": _DLIB,
    "hog": {"landmarks": _DLIB["landmarks"]},
    "mtcnn": _MTCNN,
}


def annotator_files(name: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """File key -> path of everything annotator ``name`` reads: weights named by its settings, and its detector's.

    Keys are ``model`` (trained_here), ``weights``, ``weights_4``, ``detector_weights``, ``weights.<head>`` where
    there is a network per head, and those of :data:`DETECTOR_FILES`. Weights set to null are left out.
    """
    if name == "trained_here":
        return {"model": TRAINED_HERE}
    files: dict[str, str] = {}
    for key, value in settings.items():
        if "weights" not in key or (key == "detector_weights" and settings["detector"] != "retinaface"):
            continue
        if isinstance(value, Mapping):
            files |= {f"{key}.{head}": path for head, path in value.items() if path}
        elif value:
            files[key] = value
    return files | DETECTOR_FILES.get(settings.get("detector", ""), {})
