"""Faces and their five landmarks, by dlib.

dlib's 5-point model (CC0) finds four eye corners and the base of the nose. Eye centres are the midpoints
of the corners. The nose tip and the mouth corners are not among its points. They come from dlib's mean face,
moved by the least-squares similarity that maps the mean face's five points onto the detected ones
(:func:`complete_landmarks`). dlib's 68-point model has all five points, but its training images forbid
commercial use, so it is used only when configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import dlib
import numpy as np

from evenface.checkpoints.origin import judge_file
from evenface.errors import UserError, check_names, raise_if_machine, unknown_name
from evenface.faces.alignment import similarity

#: dlib's mean face on the unit square, in the order of its 5-point model: outer and inner corner
#: of the eye at the image's right, the same at the left, base of the nose
#: (dlib/image_transforms/interpolation.h, get_face_chip_details).
MEAN_FIVE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
#: Nose tip, left and right mouth corner on the same unit square (points 30, 48, 54 of dlib's
#: 68-point mean face, same source).
MEAN_NOSE_MOUTH = np.array([[0.490127, 0.515625], [0.254149, 0.780233], [0.726104, 0.780233]])

#: Longest side of images for a detector; larger images are reduced for detection, but not for cropping.
MAX_DETECTION_SIDE = 1000
#: Longest side below which ``upsample: auto`` doubles the image: the HOG detector's smallest face
#: is about 80 pixels wide, and a face fills less than half of a small image.
UPSAMPLE_BELOW = 400
#: Side, in pixels, to which the face box is scaled before landmarks are searched, because dlib returns whole pixels.
LANDMARK_BOX = 320

#: MMOD is not run on pictures with a smaller shorter side, in pixels after enlargement. It finds faces from 80 pixels
#: on; with a picture of a few pixels, dlib's network reads outside its memory and crashes.
MMOD_NARROWEST = 32

DETECTORS = ("hog", "mmod", "none")
LANDMARKS = ("dlib5", "dlib68")


@dataclass(frozen=True)
class Detection:
    """One face: box (left, top, right, bottom) in pixels of the image, and the detector's score.

    HOG scores are distances from the decision boundary (0 is the usual cut, clear faces exceed 1);
    MMOD scores likewise.
    """

    box: tuple[float, float, float, float]
    score: float

    @property
    def size(self) -> float:
        """Shorter side of the box in pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])


def complete_landmarks(points: np.ndarray) -> np.ndarray:
    """Five landmarks, float32 (5, 2), from dlib's five points (5, 2): eyes, nose tip, mouth corners."""
    points = np.asarray(points, np.float64)
    matrix = similarity(MEAN_FIVE, points)
    estimated = MEAN_NOSE_MOUTH @ matrix[:, :2].T + matrix[:, 2]
    eyes = [points[2:4].mean(0), points[0:2].mean(0)]
    return np.vstack([eyes, estimated]).astype(np.float32)


def _landmarks_of_68(points: np.ndarray) -> np.ndarray:
    eyes = [points[36:42].mean(0), points[42:48].mean(0)]
    return np.vstack([eyes, points[[30, 48, 54]]]).astype(np.float32)


def weights_file(weights: Mapping[str, str], key: str) -> str:
    """Path of dlib's model file ``key``, judged by its hash; UserError when it is missing or that of another model."""
    path = weights.get(key)
    try:
        with open(path or "", "rb"):  # dlib says the same of a missing, a damaged and a forbidden file
            pass
    except OSError as error:
        raise_if_machine(error, str(path))
        raise UserError(
            f"weights of {key} are missing ({path or 'no path given'}); the rule fetch_dlib_models writes models/dlib/"
        ) from error
    return judge_file({"landmarks": "dlib5"}.get(key, key), path).file


class FaceFinder:
    """Detector and landmark model, loaded once.

    ``settings``: ``detector`` (hog or mmod), ``landmarks`` (dlib5 or dlib68), ``upsample`` ("auto"
    or a number of doublings), ``min_score``. ``weights``: paths by ``dlib5``, ``dlib68``, ``mmod``.
    Raises UserError for unknown names and missing weight files.
    """

    def __init__(self, settings: dict[str, Any], weights: dict[str, str]):
        cv2.setNumThreads(1)
        self._upsample = settings["upsample"]
        self._min_score = float(settings["min_score"])
        self._mmod = None
        if settings["detector"] == "mmod":
            self._mmod = dlib.cnn_face_detection_model_v1(weights_file(weights, "mmod"))
        elif settings["detector"] == "hog":
            self._hog = dlib.get_frontal_face_detector()
        else:
            raise UserError(unknown_name("screening.detector", settings["detector"], ("hog", "mmod", "none")))
        check_names("screening.landmarks", [settings["landmarks"]], LANDMARKS)
        self._points = 5 if settings["landmarks"] == "dlib5" else 68
        self._predictor = dlib.shape_predictor(weights_file(weights, settings["landmarks"]))

    def detect(self, image: np.ndarray) -> list[Detection]:
        """All faces of an RGB uint8 image, best score first."""
        height, width = image.shape[:2]
        scale = min(1.0, MAX_DETECTION_SIDE / max(height, width))
        if scale < 1:
            small = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        upsample = self._upsample
        if upsample == "auto":
            upsample = int(max(height, width) < UPSAMPLE_BELOW)
        image = np.ascontiguousarray(image)
        if self._mmod is not None and min(image.shape[:2]) << upsample < MMOD_NARROWEST:
            return []
        if self._mmod is not None:
            found = [(d.rect, d.confidence) for d in self._mmod(image, upsample) if d.confidence >= self._min_score]
        else:
            boxes, scores, _ = self._hog.run(image, upsample, self._min_score)
            found = list(zip(boxes, scores, strict=True))
        detections = [
            Detection(tuple(v / scale for v in (r.left(), r.top(), r.right() + 1, r.bottom() + 1)), float(s))
            for r, s in found
        ]
        return sorted(detections, key=lambda d: (-d.score, d.box))

    def landmarks(self, image: np.ndarray, detection: Detection) -> np.ndarray:
        """Left eye, right eye, nose tip, left and right mouth corner: float32 (5, 2) pixels.

        The neighbourhood of the box is first scaled to :data:`LANDMARK_BOX`. The points are then finer than whole
        pixels, and the cost does not depend on the image's size.
        """
        height, width = image.shape[:2]
        left, top, right, bottom = detection.box
        margin = (right - left) / 2
        x0, y0 = max(0, int(left - margin)), max(0, int(top - margin))
        x1, y1 = min(width, int(right + margin) + 1), min(height, int(bottom + margin) + 1)
        part = image[y0:y1, x0:x1]
        scale = LANDMARK_BOX / (right - left)
        size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        ratio = np.array([size[0] / (x1 - x0), size[1] / (y1 - y0)])
        corners = (np.array([[left, top], [right, bottom]]) - (x0, y0)) * ratio
        box = dlib.rectangle(*(round(float(v)) for v in (*corners[0], *(corners[1] - 1))))
        shape = self._predictor(np.ascontiguousarray(part), box)
        points = np.array([(shape.part(i).x, shape.part(i).y) for i in range(self._points)], np.float64)
        points = (points + 0.5) / ratio - 0.5 + (x0, y0)
        return complete_landmarks(points) if self._points == 5 else _landmarks_of_68(points)
