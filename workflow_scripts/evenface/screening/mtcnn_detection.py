"""Faces and five landmarks by MTCNN, as the ``facenet-pytorch`` 2.6.0 package finds them.

Zhang et al., IEEE SPL 23(10), 2016: a fully convolutional network proposes windows on an image
pyramid, a second one refines them, a third one gives boxes and landmarks. Thresholds, rounding and
the "+1" conventions are that package's, so that the published pipelines built on it (FaceXFormer's)
see the same crops. Its weights come with :mod:`evenface.assets.facenet_models`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from evenface.checkpoints import load_network
from evenface.errors import UserError
from evenface.networks.mtcnn import area_resized, normalise

#: Smallest face that is looked for, in pixels.
MIN_FACE = 20
#: Ratio of one scale of the pyramid to the one before.
FACTOR = 0.709
#: Least probability of a face after each of the three networks.
THRESHOLDS = (0.6, 0.7, 0.7)

_WINDOW, _STRIDE = 12, 2
_BATCH = 512
FILES = ("pnet", "rnet", "onet")


@dataclass(frozen=True)
class Faces:
    """The faces of one image, the largest first.

    ``boxes`` float32 (n, 4): left, top, right, bottom in pixels, which may lie outside the image;
    ``probabilities`` float32 (n,); ``landmarks`` float32 (n, 5, 2): left eye, right eye, nose tip, left
    and right mouth corner, as in the image.
    """

    boxes: np.ndarray
    probabilities: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


_NOTHING = Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


def scales(height: int, width: int) -> list[float]:
    """Scales of the pyramid: 12/20, then smaller while the short side is at least 12 pixels."""
    scale, found = _WINDOW / MIN_FACE, []
    side = min(height, width) * scale
    while side >= _WINDOW:
        found.append(scale)
        scale, side = scale * FACTOR, side * FACTOR
    return found


class MTCNN:
    """The detector, its three networks loaded once.

    ``files`` maps pnet, rnet and onet to their weights. Raises UserError where one is missing or is
    another network's.
    """

    def __init__(self, files: Mapping[str, str | os.PathLike], device: str = "cpu"):
        missing = [name for name in FILES if name not in files]
        if missing:
            raise UserError(f"MTCNN needs the weights of {missing[0]}; the rule fetch_mtcnn writes models/mtcnn/")
        self.device = device
        self._pnet, self._rnet, self._onet = (load_network(f"mtcnn-{name}", files[name], device) for name in FILES)

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> Faces:
        """All faces of an RGB uint8 (H, W, 3) image; none where its short side is below :data:`MIN_FACE`."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device, torch.float32)
        pixels = pixels.permute(2, 0, 1)[None]
        boxes = self._proposals(pixels)
        if len(boxes):
            boxes = self._refined(pixels, boxes)
        if not len(boxes):
            return _NOTHING
        return self._final(pixels, boxes)

    def _proposals(self, pixels: Tensor) -> Tensor:
        """Squared boxes (n, 4) the first network proposes over all scales."""
        found = []
        for scale in scales(*pixels.shape[2:]):
            height, width = (int(side * scale + 1) for side in pixels.shape[2:])
            offsets, probability = self._pnet(normalise(area_resized(pixels, height, width)))
            rows, columns = (probability[0] >= THRESHOLDS[0]).nonzero(as_tuple=True)
            if not len(rows):
                continue
            corner = torch.stack((columns, rows), 1).to(torch.float32) * _STRIDE
            boxes = torch.cat((((corner + 1) / scale).floor(), ((corner + _WINDOW) / scale).floor()), 1)
            score = probability[0, rows, columns]
            kept = nms(boxes, score, 0.5)
            found.append((boxes[kept], score[kept], offsets[0, :, rows, columns].T[kept]))
        if not found:
            return pixels.new_zeros((0, 4))
        boxes, score, offsets = (torch.cat(parts) for parts in zip(*found))
        kept = nms(boxes, score, 0.7)
        boxes, offsets = boxes[kept], offsets[kept]
        sides = boxes[:, 2:] - boxes[:, :2]
        return _squared(boxes + offsets * sides.repeat(1, 2))

    def _refined(self, pixels: Tensor, boxes: Tensor) -> Tensor:
        """Squared boxes that pass the second network."""
        patches, boxes = _patches(pixels, boxes, 24)
        if not len(boxes):
            return boxes
        offsets, score = _in_batches(self._rnet, patches)
        passed = score > THRESHOLDS[1]
        boxes, score, offsets = boxes[passed], score[passed], offsets[passed]
        kept = nms(boxes, score, 0.7)
        return _squared(_calibrated(boxes[kept], offsets[kept]))

    def _final(self, pixels: Tensor, boxes: Tensor) -> Faces:
        """Boxes and landmarks of the third network."""
        patches, boxes = _patches(pixels, boxes, 48)
        if not len(boxes):
            return _NOTHING
        offsets, points, score = _in_batches(self._onet, patches)
        passed = score > THRESHOLDS[2]
        boxes, score, offsets, points = boxes[passed], score[passed], offsets[passed], points[passed]
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        landmarks = points.unflatten(1, (2, 5)).transpose(1, 2) * sides[:, None] + boxes[:, None, :2] - 1
        boxes = _calibrated(boxes, offsets)
        boxes, score, landmarks = (values.cpu().numpy() for values in (boxes, score, landmarks))
        kept = _suppressed_by_smaller(boxes, score, 0.7)
        boxes, score, landmarks = boxes[kept], score[kept], landmarks[kept]
        order = np.argsort((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[::-1]
        return Faces(boxes[order], score[order], landmarks[order])


def _in_batches(network: torch.nn.Module, patches: Tensor) -> list[Tensor]:
    answers = [network(normalise(part)) for part in patches.split(_BATCH)]
    return [torch.cat(parts) for parts in zip(*answers)]


def _squared(boxes: Tensor) -> Tensor:
    """Boxes of the same centres whose sides are the longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides * 0.5 - longest * 0.5
    return torch.cat((corner, corner + longest), 1)


def _calibrated(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Boxes moved by offsets in units of their sides, pixels counted inclusively."""
    return boxes + offsets * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _patches(pixels: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """What the boxes enclose, (n, 3, side, side), and those boxes; a box outside the image is dropped.

    Coordinates count from 1 and are inclusive; the parts of a box beyond the border are cut off, so that
    a patch there is stretched.
    """
    height, width = pixels.shape[2:]
    parts, inside = [], []
    for number, (left, top, right, bottom) in enumerate(boxes.trunc().int().tolist()):
        left, top, right, bottom = max(left, 1), max(top, 1), min(right, width), min(bottom, height)
        if right >= left and bottom >= top:
            parts.append(area_resized(pixels[:, :, top - 1 : bottom, left - 1 : right], side, side))
            inside.append(number)
    return torch.cat(parts) if parts else pixels.new_zeros((0, 3, side, side)), boxes[inside]


def _suppressed_by_smaller(boxes: np.ndarray, score: np.ndarray, overlap: float) -> list[int]:
    """Rows kept, best first, where a box goes that shares more than ``overlap`` of the smaller box with a better one."""
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    order = np.argsort(score)[::-1]
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        corner = np.maximum(boxes[best, :2], boxes[order, :2])
        sides = np.maximum(0, np.minimum(boxes[best, 2:], boxes[order, 2:]) - corner + 1)
        shared = sides.prod(1) / np.minimum(area[best], area[order])
        order = order[shared <= overlap]
    return kept
