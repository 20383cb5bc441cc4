"""FairFace: race, gender and age of a face, by the networks and the framing its authors publish.

Kärkkäinen and Joo, WACV 2021. One network gives seven races, gender and age. Another one, which may be left
out, gives four races. FairFace does not label CelebA attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.annotators.annotating import annotation_frame, map_classes, take_settings
from evenface.annotators.fairface import PART
from evenface.annotators.fairface.predict import DLIB_FILES, predict_csv
from evenface.annotators.fairface.reader import FaceReader
from evenface.annotators.fairface.settings import FairFaceSettings
from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS, face_chips
from evenface.storage.images import ImageError
from evenface.taxonomy import DIMENSIONS, FAIRFACE_AGE, FAIRFACE_GENDER, FAIRFACE_RACE_7, levels_of_classes

__all__ = ["FairFace", "create", "predict_csv"]

#: Dimension -> (head that labels it, class -> level).
_DIMENSIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "gender": ("gender", FAIRFACE_GENDER),
    "age": ("age", FAIRFACE_AGE),
    "ethnicity": ("race", FAIRFACE_RACE_7),
}


class FairFace:
    """The annotator. It labels one face per picture, the one with the detector's largest box.

    With ``chip_maker`` it finds the face itself; without, screening's landmarks frame the chip. Failures:
    ``no_face``, ``too_small`` for a picture too narrow to resize, and ``not_finite``. ``n_faces`` is the number of faces
    found, NaN with screening's landmarks.
    """

    name = "fairface"
    version = PART.version
    attributes: tuple[str, ...] = ()
    dimensions = tuple(DIMENSIONS)
    extras = ("n_faces",)
    reads = "images"

    def __init__(self, reader: FaceReader, chip_maker: face_chips.ChipMaker | None, *, jpeg_roundtrip: bool = True):
        self._reader, self._maker, self._jpeg = reader, chip_maker, jpeg_roundtrip
        self.uses_landmarks = chip_maker is None
        self.probabilities = tuple(f"p_{head}_{name}" for head, classes in reader.heads.items() for name in classes)

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """One row per RGB uint8 image, of any size. ``rows`` hold screening's landmarks if these are used."""
        faces = np.full(len(images), np.nan, np.float32)
        failures = np.full(len(images), "", object)
        landmarks = None if self._maker is not None else _landmarks(rows, len(images))

        def chips() -> Iterator[np.ndarray]:
            for place, image in enumerate(images):
                chip = None
                try:
                    if landmarks is not None:
                        chip = face_chips.chip_of_landmarks(image, landmarks[place])
                    elif found := self._found(image, faces, place):
                        chip = face_chips.largest(found).image
                except face_chips.NoChipError as error:
                    failures[place] = error.reason
                    continue
                if chip is None:
                    failures[place] = "no_face"
                else:
                    yield chip

        finish = face_chips.jpeg_roundtrip if self._jpeg else np.asarray
        answers = [answer for _, answer in self._reader.read(chips(), finish)]
        shares = {
            head: np.full((len(images), len(classes)), np.nan, np.float32)
            for head, classes in self._reader.heads.items()
        }
        for place, answer in zip(np.flatnonzero(failures == ""), answers, strict=True):
            if isinstance(answer, ImageError):
                failures[place] = answer.reason
                continue
            for head, table in shares.items():
                table[place] = answer[head][0]
        demographics = {
            d: map_classes(shares[head], levels_of_classes(classes, d)) for d, (head, classes) in _DIMENSIONS.items()
        }
        probabilities = {
            f"p_{head}_{name}": shares[head][:, i]
            for head, classes in self._reader.heads.items()
            for i, name in enumerate(classes)
        }
        return annotation_frame(
            {}, demographics, probabilities=probabilities, extras={"n_faces": faces}, failures=failures
        )

    def _found(self, image: np.ndarray, faces: np.ndarray, place: int) -> list[face_chips.FaceChip]:
        found = self._maker.chips(image)
        faces[place] = len(found)
        return found


def _landmarks(rows: pd.DataFrame | None, count: int) -> np.ndarray:
    if rows is None or any(column not in rows for column in LANDMARK_COLUMNS):
        raise UserError(
            "annotation.fairface.detector: crops needs the landmarks of screening, and there are none; set "
            "screening.detector to hog or mmod, or annotation.fairface.detector to mmod or hog"
        )
    return rows[list(LANDMARK_COLUMNS)].to_numpy(np.float64).reshape(count, 5, 2)


def create(settings: Mapping[str, Any]) -> FairFace:
    """The annotator from the settings of ``annotation.fairface``, ``device`` and ``threads``.

    ``files`` maps ``weights``, ``weights_4``, ``landmarks`` and ``mmod`` to paths. UserError for an unknown key or
    value, and for files that are missing or do not fit.
    """
    settings, given, machine = take_settings("fairface", settings, FairFaceSettings)
    files = {**DLIB_FILES, **given}
    detector = settings["detector"]
    reader = FaceReader(
        files.get("weights", settings["weights"]),
        files.get("weights_4", settings["weights_4"]),
        batch_size=settings["batch_size"],
        precision=settings["precision"],
        **machine,
    )
    maker = None if detector == "crops" else face_chips.ChipMaker(detector, files)
    return FairFace(reader, maker, jpeg_roundtrip=settings["jpeg_roundtrip"])
