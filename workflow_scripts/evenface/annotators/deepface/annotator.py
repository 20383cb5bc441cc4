"""DeepFace: apparent age, gender, race and emotion of the largest face of a picture.

The pipeline of ``DeepFace.analyze`` (serengil/deepface): a detector finds the face, which is turned so that the
eyes are level and put into a black square. Each question has one network, and each is optional. The answer for age
is a whole number of years; for the others it is the most probable class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from evenface.annotators.annotating import PROBABILITY, annotation_frame, map_classes, take_settings
from evenface.annotators.deepface import PART
from evenface.annotators.deepface.settings import DeepFaceSettings
from evenface.annotators.running import Runner, made_ready
from evenface.checkpoints import load_network
from evenface.errors import UserError
from evenface.faces.deepface_alignment import cut_face
from evenface.networks.deepface import grey, letterbox
from evenface.networks.finite import answers_of
from evenface.taxonomy import (
    DEEPFACE_EMOTION,
    DEEPFACE_GENDER,
    DEEPFACE_RACE,
    UNKNOWN,
    level_of_years,
    levels_of_classes,
    study,
)

#: Head -> its classes in output order; age has a class per year from 0 on.
CLASSES: dict[str, tuple[str, ...]] = {
    "age": tuple(map(str, range(101))),
    "gender": DEEPFACE_GENDER,
    "race": DEEPFACE_RACE,
    "emotion": DEEPFACE_EMOTION,
}
#: Head -> dimension that it labels.
_DIMENSIONS = {"gender": "gender", "age": "age", "race": "ethnicity"}


@dataclass(frozen=True)
class Found:
    """The largest face of a picture: the cut-out face or None, how many faces there are, the detector's score.

    ``failure`` says why there is none.
    """

    face: np.ndarray | None
    count: float = np.nan
    score: float = np.nan
    failure: str = "no_face"


#: RGB uint8 (H, W, 3) picture -> its face.
Find = Callable[[np.ndarray], Found]


class DeepFace(Runner):
    """Apparent age, gender, race and emotion, each if its network is given.

    Probabilities: ``p_gender_<class>``, ``p_race_<class>``, ``p_emotion_<class>`` in DeepFace's own classes, as shares
    of 1 (DeepFace prints percent). Extras: ``apparent_age`` in years, the expected value (DeepFace reports its whole
    years); ``n_faces`` and ``face_score`` of the detector, NaN with the detector ``skip``.
    Failures: ``no_face``; ``too_small`` for a face without a whole pixel inside the picture; ``not_finite``.
    """

    name = "deepface"
    version = PART.version
    attributes: tuple[str, ...] = ()
    extras = ("apparent_age", "n_faces", "face_score")
    reads = "images"
    uses_landmarks = False

    def __init__(self, heads: Mapping[str, nn.Module], find: Find, **machine: Any):
        """``heads`` maps some keys of :data:`CLASSES` to networks that give probabilities; ``find`` is a detector."""
        super().__init__(**machine)
        self.heads = {head: heads[head].to(self.device).eval() for head in CLASSES if head in heads}
        self.dimensions = tuple(_DIMENSIONS[head] for head in _DIMENSIONS if head in heads)
        self.probabilities = tuple(f"{PROBABILITY}{h}_{c}" for h in self.heads if h != "age" for c in CLASSES[h])
        self.find = find

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """One row per RGB uint8 image, of any size; ``rows`` are not used."""
        answers = self.answers(images)
        nothing = np.full(len(images), np.nan, np.float32)
        demographics = {dimension: (np.full(len(images), UNKNOWN, object), nothing) for dimension in study()}
        for head in ("gender", "race"):
            if head in self.heads:
                classes = levels_of_classes(CLASSES[head], _DIMENSIONS[head])
                demographics[_DIMENSIONS[head]] = map_classes(answers[head], classes)
        years = nothing
        if "age" in self.heads:
            years, levels, certainty = _ages(answers["age"])
            demographics["age"] = levels, certainty
        return annotation_frame(
            {},
            demographics,
            probabilities={
                f"{PROBABILITY}{head}_{c}": answers[head][:, i]
                for head in self.heads
                if head != "age"
                for i, c in enumerate(CLASSES[head])
            },
            extras={"apparent_age": years, "n_faces": answers["n_faces"], "face_score": answers["face_score"]},
            failures=answers["failure"],
            outputs=[answers[head] for head in self.heads],
        )

    def _empty(self, count: int) -> dict[str, np.ndarray]:
        answers = {head: np.full((count, len(CLASSES[head])), np.nan, np.float32) for head in self.heads}
        answers |= {name: np.full(count, np.nan, np.float32) for name in ("n_faces", "face_score")}
        return answers | {"failure": np.full(count, "", object)}

    def _batch(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Probabilities of each head (n, classes), the detector's numbers and failures of some images."""
        answers = self._empty(len(images))
        boxed, places = [], []
        for place, image in enumerate(images):
            found = self.find(image)
            answers["n_faces"][place], answers["face_score"][place] = found.count, found.score
            if found.face is None or not found.face.size:
                answers["failure"][place] = found.failure if found.face is None else "too_small"
                continue
            boxed.append(letterbox(found.face))
            places.append(place)
        if boxed:
            colour = torch.from_numpy(np.stack(boxed).transpose(0, 3, 1, 2).copy())
            greys = torch.from_numpy(np.stack([grey(face) for face in boxed]))[:, None]
            for head, network in self.heads.items():
                (answers[head][places],) = self.outputs(network, greys if head == "emotion" else colour)
        together = answers_of(*(torch.from_numpy(answers[head]) for head in self.heads))
        return answers | {head: numbers.numpy() for head, numbers in zip(self.heads, together, strict=True)}


def _ages(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected age in years, the level of its whole years, and the probability of all years of that level."""
    finite, bands = np.isfinite(probabilities).all(1), study()["age"]
    of_year = np.array([level_of_years(year, bands) for year in range(101)], object)
    years = np.where(finite, probabilities.astype(np.float64) @ np.arange(101), np.nan)
    levels = np.where(finite, of_year[np.where(finite, years, 0).astype(int).clip(0, 100)], UNKNOWN)
    mass = np.where(levels[:, None] == of_year, probabilities, 0).sum(1)
    return years.astype(np.float32), levels, np.where(finite, mass, np.nan)


def _mtcnn(files: Mapping[str, str], device: str) -> Find:
    from evenface.faces.mtcnn_detection import FILES, MTCNN

    detector = MTCNN({name: files[name] for name in FILES if name in files}, device)

    def find(image: np.ndarray) -> Found:
        faces = detector.detect(image)
        if faces.failure:
            return Found(None, failure=faces.failure)
        if not len(faces):
            return Found(None, 0)
        face = cut_face(image, faces.boxes[0], faces.landmarks[0][:2])
        return Found(face, len(faces), float(faces.probabilities[0]))

    return find


def _hog(files: Mapping[str, str]) -> Find:
    from evenface.faces.detection import FaceFinder

    settings = {"detector": "hog", "landmarks": "dlib5", "upsample": "auto", "min_score": 0.0}
    finder = FaceFinder(settings, {"dlib5": files.get("landmarks", "")})

    def find(image: np.ndarray) -> Found:
        faces = finder.detect(image)
        if not faces:
            return Found(None, 0)
        largest = max(faces, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
        face = cut_face(image, largest.box, finder.landmarks(image, largest)[:2])
        return Found(face, len(faces), largest.score)

    return find


def _whole(image: np.ndarray) -> Found:
    return Found(image)


def create(settings: Mapping[str, Any]) -> DeepFace:
    """The annotator from the settings of ``annotation.deepface``, ``device`` and ``threads``.

    ``files`` maps ``weights.<head>``, the networks of MTCNN and dlib's ``landmarks`` to paths, which replace those of
    the settings. A head without a path is left out. UserError for an unknown key or value, if no head is left,
    and for weights that are missing or do not fit.
    """
    settings, files, machine = take_settings("deepface", settings, DeepFaceSettings)
    paths = {head: files.get(f"weights.{head}", path) for head, path in settings["weights"].items() if path}
    if not paths:
        raise UserError("annotation.deepface.weights: every model is null; give at least one")
    machine = made_ready(settings, machine)
    device = machine["device"]
    find = _whole
    if settings["detector"] != "skip":
        find = _mtcnn(files, device) if settings["detector"] == "mtcnn" else _hog(files)
    return DeepFace(
        {head: load_network(f"deepface-{head}", path, device) for head, path in paths.items()},
        find,
        **machine,
    )
