"""From a photograph to FairFace's 300 x 300 face chips, by dlib, with the steps that its authors published.

The photograph is scaled to 800 pixels on its longer side. dlib's MMOD network looks for faces in twice that
size. dlib's 5-point model finds the eye corners and the base of the nose, and the least-squares similarity to
dlib's mean face gives the chip. The steps are those of the published script; the differences are:

* Pictures are decoded by Pillow, with their EXIF orientation applied; the script's decoder ignores it.
* The package from which evenface takes ``mmod_human_face_detector.dat`` has other weights than FairFace's
  repository. Boxes usually differ by a few pixels. Another file of that format may be given instead. The
  5-point model is the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dlib
import numpy as np

from evenface.errors import UserError, check_names
from evenface.faces.detection import MEAN_FIVE, MEAN_NOSE_MOUTH, MMOD_NARROWEST, weights_file
from evenface.storage.images import decode_image, encode_jpeg

#: Longer side, in pixels, of the picture in which faces are looked for.
LONGER_SIDE = 800
#: Side of a chip in pixels.
CHIP_SIDE = 300
#: Margin around dlib's mean face, as a share of its side.
PADDING = 0.25
#: Quality with which the published script's chips are written as JPEG files.
JPEG_QUALITY = 75

DETECTORS = ("mmod", "hog")

#: Places of screening's five landmarks in a chip.
_TEMPLATE = (
    CHIP_SIDE
    * (PADDING + np.vstack([MEAN_FIVE[2:4].mean(0), MEAN_FIVE[0:2].mean(0), MEAN_NOSE_MOUTH]))
    / (1 + 2 * PADDING)
)


class NoChipError(ValueError):
    """A picture does not give a chip. ``reason`` is a short code, no_face or too_small; ``detail`` says more."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class FaceChip:
    """One face: ``image`` RGB uint8 (300, 300, 3), and its ``box`` (left, top, right, bottom) in pixels of the picture."""

    image: np.ndarray
    box: tuple[float, float, float, float]

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


def resize_longer_side(image: np.ndarray, side: int = LONGER_SIDE) -> np.ndarray:
    """RGB uint8 picture with its longer side at ``side``, the other rounded down, by dlib's bilinear resize.

    Raises NoChipError when less than a pixel is left of the shorter side.
    """
    height, width = image.shape[:2]
    rows, columns = (int(side * height / width), side) if width > height else (side, int(side * width / height))
    if not rows or not columns:
        raise NoChipError("too_small", f"{width} x {height} pixels leave less than one at a longer side of {side}")
    return dlib.resize_image(np.ascontiguousarray(image), rows=rows, cols=columns)


def chip_of_landmarks(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Chip of a face from the landmarks of screening, (5, 2): left and right eye, nose tip, left and right mouth corner.

    The framing is the published one, but the points are others, and finer than whole pixels. Raises
    NoChipError for landmarks that coincide or are not finite.
    """
    points = np.asarray(landmarks, np.float64)
    if not np.isfinite(points).all() or np.ptp(points, axis=0).max() < 1:
        raise NoChipError("no_face", "the landmarks coincide or are missing")
    details = dlib.chip_details(
        dlib.dpoints([dlib.dpoint(x, y) for x, y in _TEMPLATE]),
        dlib.dpoints([dlib.dpoint(x, y) for x, y in points]),
        dlib.chip_dims(CHIP_SIDE, CHIP_SIDE),
    )
    return dlib.extract_image_chip(np.ascontiguousarray(image), details)


def jpeg_roundtrip(chip: np.ndarray) -> np.ndarray:
    """The chip after writing it as the published script's JPEG file (quality 75, 4:2:0) and reading it; in memory.

    Pillow's libjpeg-turbo compresses and reads it, as dlib does if it was built with that library. dlib's wheels
    contain another JPEG library, whose chips differ by half a grey level on average.
    """
    return decode_image(encode_jpeg(chip, JPEG_QUALITY), "chip")


class ChipMaker:
    """Detector and landmark model, loaded once.

    ``detector``: ``mmod``, as published, takes about ten seconds and two to three gigabytes per picture on one core
    (benchmarks/face_chips.py). ``hog``, dlib's quick detector, finds frontal faces that are at least a tenth of the
    longer side wide; it does not double the picture and takes 0.04 seconds. ``files``: paths by ``landmarks`` and
    ``mmod``. Raises UserError for another detector, and for files that are missing or not models of that kind.
    """

    def __init__(self, detector: str, files: Mapping[str, str]):
        check_names("face detector", [detector], DETECTORS)
        self.detector = detector
        self._predictor = _load(dlib.shape_predictor, files, "landmarks")
        self._mmod = self._hog = None
        if detector == "mmod":
            self._mmod = _load(dlib.cnn_face_detection_model_v1, files, "mmod")
        else:
            self._hog = dlib.get_frontal_face_detector()

    def chips(self, image: np.ndarray) -> list[FaceChip]:
        """All faces of an RGB uint8 picture, in the detector's order. Raises NoChipError for one too narrow to look at."""
        resized = resize_longer_side(image)
        if self._mmod is not None and 2 * min(resized.shape[:2]) < MMOD_NARROWEST:
            raise NoChipError("too_small", f"{image.shape[1]} x {image.shape[0]} pixels are too narrow to hold a face")
        boxes = [d.rect for d in self._mmod(resized, 1)] if self._mmod is not None else self._hog(resized, 0)
        scale = np.array(image.shape[1::-1]) / resized.shape[1::-1]
        faces = []
        for box in boxes:
            chip = dlib.get_face_chip(resized, self._predictor(resized, box), size=CHIP_SIDE, padding=PADDING)
            corners = np.array([[box.left(), box.top()], [box.right() + 1, box.bottom() + 1]]) * scale
            faces.append(FaceChip(chip, tuple(corners.ravel().tolist())))
        return faces


def _load(kind: Callable[[str], Any], files: Mapping[str, str], key: str) -> Any:
    path = weights_file(files, key)
    try:
        return kind(path)
    except RuntimeError as error:
        raise UserError(f"{path}: not dlib's model of that name ({error}); delete it and fetch it again") from error


def largest(faces: list[FaceChip]) -> FaceChip:
    """The face with the largest box, the first of equals."""
    return max(faces, key=lambda face: face.area)
