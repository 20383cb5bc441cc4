"""Facer: RetinaFace finds the face, FaRL reads the forty CelebA attributes off it.

The pipeline of the Facer toolkit (github.com/FacePerceiver/facer): the best-scoring face of a picture,
aligned by its five landmarks, sigmoid strictly above 0.5. It answers no demographic dimension; "Male"
and "Young" are attributes like the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from evenface.annotators import annotation_frame
from evenface.checkpoints import load_network
from evenface.errors import UserError
from evenface.networks.farl import normalise
from evenface.screening import LANDMARK_COLUMNS
from evenface.screening.farl_alignment import align
from evenface.screening.retinaface_detection import RetinaFaceFinder
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, UNKNOWN
from evenface.training import runtime
from evenface.versions import ANNOTATORS

#: Every key of ``annotation.facer``, with its default.
DEFAULTS: dict[str, Any] = {
    "weights": "models/facer/face_attribute.farl.celeba.pt",
    "detector_weights": "models/facer/mobilenet0.25_Final.pth",
    "detector": "retinaface",  # or landmarks: the points of screening
    "min_score": 0.8,
    "max_side": None,
    "batch_size": 32,
    "precision": "float32",
}

DETECTORS = ("retinaface", "landmarks")

#: Screening counts pixel centres from 0, the alignment counts pixel edges.
_HALF_PIXEL = 0.5


class Facer:
    """Forty attributes of the best-scoring face of a picture.

    ``extras``: ``n_faces`` found and ``face_score`` of the one that was read, NaN where screening's landmarks
    are used. Failures: ``no_face``, which landmarks that determine no alignment count as too.
    """

    name = "facer"
    version = ANNOTATORS["facer"]
    attributes: tuple[str, ...] = CELEBA_ATTRIBUTES
    dimensions: tuple[str, ...] = ()
    probabilities: tuple[str, ...] = ()
    extras = ("n_faces", "face_score")
    reads = "images"

    def __init__(
        self,
        network: nn.Module,
        finder: RetinaFaceFinder | None,
        *,
        batch_size: int = 32,
        precision: str = "float32",
        device: str = "cpu",
    ):
        """``network`` takes aligned faces; without a ``finder`` the landmarks come with the rows."""
        self.network = network.to(device).eval()
        self.finder = finder
        self.batch_size = batch_size
        self.precision = precision
        self.device = device

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """One row per RGB uint8 image, of any size."""
        faces = np.full(len(images), np.nan, np.float32)
        scores = np.full(len(images), np.nan, np.float32)
        if self.finder is not None:
            found = self.finder.detect(images)
            points = [f.points[0] if len(f.points) else None for f in found]
            faces = np.array([len(f.scores) for f in found], np.float32)
            scores = np.array([f.scores[0] if len(f.scores) else np.nan for f in found], np.float32)
        else:
            points = _screened_points(rows, len(images))
        return self.read(images, points, extras={"n_faces": faces, "face_score": scores})

    def read(
        self,
        images: Sequence[np.ndarray],
        points: Sequence[np.ndarray | None],
        extras: Mapping[str, np.ndarray] | None = None,
    ) -> pd.DataFrame:
        """Annotation of images whose face lies at ``points`` (5, 2), in pixels where pixel i spans [i, i + 1]; None: no face."""
        probabilities = np.full((len(images), len(self.attributes)), np.nan, np.float32)
        failures = np.full(len(images), "no_face", object)
        faces = _aligned(images, points)
        while batch := list(islice(faces, self.batch_size)):
            places = [place for place, _ in batch]
            probabilities[places] = self._probabilities([face for _, face in batch])
            failures[places] = ""
        nothing = np.full(len(images), np.nan, np.float32)
        return annotation_frame(
            dict(zip(self.attributes, probabilities.T, strict=True)),
            {dimension: (np.full(len(images), UNKNOWN, object), nothing) for dimension in DIMENSIONS},
            extras=extras or dict.fromkeys(self.extras, nothing),
            failures=failures,
        )

    @torch.inference_mode()
    def _probabilities(self, batch: Sequence[Tensor]) -> np.ndarray:
        low = self.precision == "bfloat16"
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=low):
            logits = self.network(torch.stack(list(batch)).to(self.device))
        return torch.sigmoid(logits.float()).cpu().numpy()


def _aligned(images: Sequence[np.ndarray], points: Sequence[np.ndarray | None]) -> Iterator[tuple[int, Tensor]]:
    """Position and network input of every image that has a face."""
    for place, (image, five) in enumerate(zip(images, points, strict=True)):
        if five is None:
            continue
        try:
            face = align(image, five)
        except ValueError:  # the landmarks determine no alignment
            continue
        yield place, normalise(face)


def _screened_points(rows: pd.DataFrame | None, count: int) -> list[np.ndarray | None]:
    """Landmarks of screening in the frame of the alignment, None where it found no face."""
    if rows is None or any(column not in rows for column in LANDMARK_COLUMNS):
        raise UserError(
            "annotation.facer.detector: landmarks needs the five points of screening, and there are none; set "
            "screening.detector to hog or mmod, or annotation.facer.detector to retinaface"
        )
    points = rows[list(LANDMARK_COLUMNS)].to_numpy(np.float64).reshape(count, 5, 2) + _HALF_PIXEL
    return [five if np.isfinite(five).all() else None for five in points]


def create(settings: Mapping[str, Any]) -> Facer:
    """The annotator from the settings of ``annotation.facer``, ``device`` and ``threads``.

    ``files`` maps ``weights`` and ``detector_weights`` to paths, over those of the settings. UserError for an
    unknown key or value, and for weights that are missing or do not fit.
    """
    settings = dict(settings)
    files = settings.pop("files", {})
    device = settings.pop("device", "cpu")
    threads = settings.pop("threads", 1)
    for key in settings:
        if key not in DEFAULTS:
            raise UserError(f"annotation.facer: unknown key {key!r}; known are {', '.join(DEFAULTS)}")
    settings = {**DEFAULTS, **settings}
    if settings["detector"] not in DETECTORS:
        raise UserError(f"annotation.facer.detector: {settings['detector']!r} is not known; use {', '.join(DETECTORS)}")
    runtime.prepare(threads)
    device = runtime.choose_device(device)
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
        batch_size=settings["batch_size"],
        precision=runtime.choose_precision(settings["precision"], device),
        device=device,
    )
