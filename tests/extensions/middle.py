"""A face detector of one's own: there is one face, in the middle."""

import numpy as np

from evenface.faces.detection import Detection
from evenface.parts import Detector, Needs


class Middle:
    def __init__(self, settings, weights):
        self.score = settings["min_score"] + 1

    def detect(self, image):
        height, width = image.shape[:2]
        return [Detection((0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height), self.score)]

    def landmarks(self, image, detection):
        height, width = image.shape[:2]
        shares = np.array([[0.38, 0.51], [0.62, 0.51], [0.5, 0.62], [0.4, 0.7], [0.6, 0.7]])
        return (shares * (width, height)).astype(np.float32)


PART = Detector(name="middle", summary="One face, in the middle.", code=Middle, needs=Needs(mem_mb=1200))
