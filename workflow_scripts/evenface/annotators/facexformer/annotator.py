"""FaceXFormer: forty CelebA attributes, gender, age and race of the largest face of a picture.

The pipeline of the published ``inference.py`` (Narayan et al., arXiv:2403.12960): MTCNN's largest face (not its
most certain one) is enlarged by a quarter of its sides and squeezed to 224 x 224. An attribute is present
from a probability of 0.5 on. For every other head, the most probable class is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from evenface.annotators.annotating import PROBABILITY, annotation_frame, map_classes, take_settings
from evenface.annotators.facexformer import PART
from evenface.annotators.facexformer.settings import FaceXFormerSettings
from evenface.annotators.running import Runner, made_ready
from evenface.checkpoints import load_network
from evenface.faces.mtcnn_detection import FILES, MIN_FACE, MTCNN
from evenface.networks.facexformer import face_crop, preprocess
from evenface.taxonomy import (
    CELEBA_ATTRIBUTES,
    FACEXFORMER_AGE,
    FACEXFORMER_GENDER,
    FACEXFORMER_RACE,
    levels_of_classes,
)

#: Head -> dimension and the head's own classes in output order, with their levels.
_HEADS: dict[str, tuple[str, dict[str, str]]] = {
    "gender": ("gender", FACEXFORMER_GENDER),
    "age": ("age", FACEXFORMER_AGE),
    "race": ("ethnicity", FACEXFORMER_RACE),
}

#: The greatest number below 0.5: labels are positive above their threshold, and here 0.5 itself is positive.
_THRESHOLD = float(np.nextafter(np.float32(0.5), np.float32(0)))


class FaceXFormerAnnotator(Runner):
    """Attributes and demographics of the largest face of a picture, or of a crop as it is.

    Probabilities: ``p_gender_<class>``, ``p_age_<class>``, ``p_race_<class>`` in the network's own classes. Extras:
    ``n_faces``, the number of faces found, and ``face_score``, the detector's probability of the chosen face (both
    NaN for crops). Failures: ``no_face``; ``too_small`` for a picture that is too small for the detector (short
    side below 20 pixels) and for a face without a whole pixel inside the picture; ``not_finite``.
    """

    name = "facexformer"
    version = PART.version
    attributes: tuple[str, ...] = CELEBA_ATTRIBUTES
    dimensions = tuple(dimension for dimension, _ in _HEADS.values())
    probabilities = tuple(f"{PROBABILITY}{head}_{c}" for head, (_, classes) in _HEADS.items() for c in classes)
    extras = ("n_faces", "face_score")
    uses_landmarks = False

    def __init__(self, network: nn.Module, detector: MTCNN | None, **machine: Any):
        """``network`` is :class:`evenface.networks.facexformer.FaceXFormer`. Without ``detector``, images are crops."""
        super().__init__(**machine)
        self.network = network.to(self.device).eval()
        self.detector = detector
        self.reads = "crops" if detector is None else "images"

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """One row per RGB uint8 image, of any size; ``rows`` are not used."""
        answers = self.answers(images)
        demographics, probabilities = {}, {}
        for head, (dimension, classes) in _HEADS.items():
            demographics[dimension] = map_classes(answers[head], levels_of_classes(classes, dimension))
            probabilities |= {f"{PROBABILITY}{head}_{c}": answers[head][:, i] for i, c in enumerate(classes)}
        return annotation_frame(
            dict(zip(self.attributes, answers["attributes"].T, strict=True)),
            demographics,
            dict.fromkeys(self.attributes, _THRESHOLD),
            probabilities=probabilities,
            extras={name: answers[name] for name in self.extras},
            failures=answers["failure"],
            outputs=[answers[name] for name in ("attributes", *_HEADS)],
        )

    def _empty(self, count: int) -> dict[str, np.ndarray]:
        widths = {"attributes": len(self.attributes), **{head: len(classes) for head, (_, classes) in _HEADS.items()}}
        answers = {name: np.full((count, width), np.nan, np.float32) for name, width in widths.items()}
        answers |= {name: np.full(count, np.nan, np.float32) for name in self.extras}
        return answers | {"failure": np.full(count, "", object)}

    def _batch(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Probabilities of each head (n, classes), the extras and failures of some images."""
        answers = self._empty(len(images))
        tensors, places = [], []
        for place, image in enumerate(images):
            crop, failure = image, ""
            if self.detector is not None:
                crop, failure = self._largest(image, answers, place)
            answers["failure"][place] = failure
            if not failure:
                tensors.append(preprocess(np.ascontiguousarray(crop)))
                places.append(place)
        if tensors:
            attributes, *heads = map(
                torch.from_numpy, self.outputs(self.network, torch.stack(tensors), "attributes", *_HEADS, parsing=False)
            )
            answers["attributes"][places] = attributes.sigmoid().numpy()
            for head, logits in zip(_HEADS, heads, strict=True):
                answers[head][places] = logits.softmax(1).numpy()
        return answers

    def _largest(self, image: np.ndarray, answers: dict[str, np.ndarray], place: int) -> tuple[np.ndarray, str]:
        """The largest face of ``image``, or why there is none; writes what was found into ``answers``."""
        faces = self.detector.detect(image)
        if faces.failure:
            return image, faces.failure
        answers["n_faces"][place] = len(faces)
        if not len(faces):
            return image, "too_small" if min(image.shape[:2]) < MIN_FACE else "no_face"
        answers["face_score"][place] = faces.probabilities[0]
        crop = face_crop(image, faces.boxes[0])
        return crop, "" if crop.size else "too_small"


def create(settings: Mapping[str, Any]) -> FaceXFormerAnnotator:
    """The annotator from the settings of ``annotation.facexformer``, ``device`` and ``threads``.

    ``files`` maps ``weights``, ``pnet``, ``rnet`` and ``onet`` to paths. UserError for an unknown key or value, and
    for weights that are missing or do not fit.
    """
    settings, files, machine = take_settings("facexformer", settings, FaceXFormerSettings)
    machine = made_ready(settings, machine)
    device = machine["device"]
    detector = None
    if settings["detector"] == "mtcnn":
        detector = MTCNN({name: files[name] for name in FILES if name in files}, device)
    return FaceXFormerAnnotator(
        load_network("facexformer", files.get("weights", settings["weights"]), device),
        detector,
        **machine,
    )
