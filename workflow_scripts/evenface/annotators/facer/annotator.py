"""Facer: RetinaFace finds the face, and FaRL labels the forty CelebA attributes.

The pipeline of the Facer toolkit (github.com/FacePerceiver/facer): the face with the best score is aligned by its
five landmarks; an attribute is present if its sigmoid is strictly above 0.5. It does not label demographic
dimensions; "Male" and "Young" are attributes like the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from evenface.annotators.annotating import annotation_frame, take_settings
from evenface.annotators.facer import PART
from evenface.annotators.facer.settings import FacerSettings
from evenface.annotators.running import Runner, made_ready
from evenface.checkpoints import load_network
from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS
from evenface.faces.farl_alignment import align
from evenface.faces.retinaface_detection import RetinaFaceFinder
from evenface.networks.farl import normalise
from evenface.networks.inference import map_batches
from evenface.taxonomy import CELEBA_ATTRIBUTES, UNKNOWN, study

#: Screening counts pixel centres from 0, the alignment counts pixel edges.
_HALF_PIXEL = 0.5


class Facer(Runner):
    """Forty attributes of the best-scoring face of a picture.

    ``extras``: ``n_faces``, the number of faces found, and ``face_score`` of the chosen face; both NaN if
    screening's landmarks are used. Failures: ``no_face``, also for landmarks that do not determine an alignment; ``not_finite``.
    """

    name = "facer"
    version = PART.version
    attributes: tuple[str, ...] = CELEBA_ATTRIBUTES
    dimensions: tuple[str, ...] = ()
    probabilities: tuple[str, ...] = ()
    extras = ("n_faces", "face_score")
    reads = "images"

    def __init__(self, network: nn.Module, finder: RetinaFaceFinder | None, **machine: Any):
        """``network`` takes aligned faces. Without a ``finder``, the rows hold the landmarks."""
        super().__init__(**machine)
        self.network = network.to(self.device).eval()
        self.finder = finder
        self.uses_landmarks = finder is None

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """One row per RGB uint8 image, of any size. ``rows`` hold screening's landmarks if these are used."""
        return self._read(images, None if self.finder is not None else _screened_points(rows, len(images)))

    def read(self, images: Sequence[np.ndarray], points: Sequence[np.ndarray | None]) -> pd.DataFrame:
        """The same for faces found elsewhere: ``points`` (5, 2) in pixels (pixel i spans [i, i + 1]); None: no face."""
        return self._read(images, points)

    def _read(self, images: Sequence[np.ndarray], points: Sequence[np.ndarray | None] | None) -> pd.DataFrame:
        parts = [slice(start, start + self.batch_size) for start in range(0, len(images), self.batch_size)]
        probabilities = np.full((len(images), len(self.attributes)), np.nan, np.float32)
        extras = {name: np.full(len(images), np.nan, np.float32) for name in self.extras}
        failures = np.full(len(images), "no_face", object)

        def batch(part: slice) -> None:
            found = None if points is None else points[part]
            if found is None:
                faces = self.finder.detect(images[part])
                found = [f.points[0] if len(f.points) else None for f in faces]
                failures[part] = [f.failure or "no_face" for f in faces]
                extras["n_faces"][part] = [np.nan if f.failure else len(f.scores) for f in faces]
                extras["face_score"][part] = [f.scores[0] if len(f.scores) else np.nan for f in faces]
            aligned = [_aligned(image, five) for image, five in zip(images[part], found, strict=True)]
            seen = np.array([face is not None for face in aligned])
            if seen.any():
                faces = torch.stack([face for face in aligned if face is not None])
                probabilities[part][seen] = torch.sigmoid(torch.from_numpy(*self.outputs(self.network, faces))).numpy()
                failures[part][seen] = ""

        for _ in map_batches(batch, parts, self.threads):
            pass
        nothing = np.full(len(images), np.nan, np.float32)
        return annotation_frame(
            dict(zip(self.attributes, probabilities.T, strict=True)),
            {dimension: (np.full(len(images), UNKNOWN, object), nothing) for dimension in study()},
            extras=extras,
            failures=failures,
            outputs=[probabilities],
        )


def _aligned(image: np.ndarray, five: np.ndarray | None) -> Tensor | None:
    """The network's input, None without a face or where the landmarks determine no alignment."""
    if five is None:
        return None
    try:
        return normalise(align(image, five))
    except ValueError:
        return None


def _screened_points(rows: pd.DataFrame | None, count: int) -> list[np.ndarray | None]:
    """Screening's landmarks in the pixel frame of the alignment; None if it found no face."""
    if rows is None or any(column not in rows for column in LANDMARK_COLUMNS):
        raise UserError(
            "annotation.facer.detector: landmarks needs the five points of screening, and there are none; set "
            "screening.detector to hog or mmod, or annotation.facer.detector to retinaface"
        )
    points = rows[list(LANDMARK_COLUMNS)].to_numpy(np.float64).reshape(count, 5, 2) + _HALF_PIXEL
    return [five if np.isfinite(five).all() else None for five in points]


def create(settings: Mapping[str, Any]) -> Facer:
    """The annotator from the settings of ``annotation.facer``, ``device`` and ``threads``.

    ``files`` maps ``weights`` and ``detector_weights`` to paths, which replace those of the settings. UserError for an
    unknown key or value, and for weights that are missing or do not fit.
    """
    settings, files, machine = take_settings("facer", settings, FacerSettings)
    machine = made_ready(settings, machine)
    device = machine["device"]
    finder = None
    if settings["detector"] == "retinaface":
        weights = files.get("detector_weights", settings["detector_weights"])
        if not weights:
            raise UserError(
                "annotation.facer.detector_weights is empty; RetinaFace needs them, or set detector to landmarks"
            )
        finder = RetinaFaceFinder(
            load_network("retinaface-mobilenet", weights, device),
            min_score=float(settings["min_score"]),
            max_side=settings["max_side"],
            device=device,
        )
    return Facer(
        load_network("farl-celeba", files.get("weights", settings["weights"]), device),
        finder,
        **machine,
    )
