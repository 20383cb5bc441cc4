"""An annotator of one's own: bright pictures have blond hair, dark ones black hair."""

import numpy as np

from evenface.parts import Annotator
from evenface.taxonomy import DIMENSIONS


class Brightness:
    name, version, attributes, dimensions = "brightness", 1, ("Black_Hair", "Blond_Hair"), ()
    probabilities, extras, reads = (), (), "crops"

    def annotate(self, images, rows=None):
        from evenface.annotators.annotating import annotation_frame

        bright = np.array([image.mean() / 255 for image in images], np.float32)
        nothing = (np.full(len(images), "unknown", object), np.full(len(images), np.nan, np.float32))
        return annotation_frame({"Black_Hair": 1 - bright, "Blond_Hair": bright}, dict.fromkeys(DIMENSIONS, nothing))


def create(settings):
    return Brightness()


PART = Annotator(
    name="brightness",
    summary="Hair colour by brightness.",
    code=create,
    labels_attributes=True,
    trained_on="nothing",
    reads="crops",
)
