"""Faces and five landmarks by MTCNN, as in the ``facenet-pytorch`` 2.6.0 package.

Zhang et al., IEEE SPL 23(10), 2016: a fully convolutional network proposes windows on an image pyramid, a
second one refines them, and a third one gives boxes and landmarks. Thresholds, rounding and the "+1" conventions
are those of the package, so that pipelines built on it (FaceXFormer's) get the same crops. The weights come from
the package's wheel (MIT).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from evenface.checkpoints import load_network
from evenface.errors import UserError
from evenface.networks.finite import NOT_FINITE
from evenface.networks.mtcnn import normalise

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
    and right mouth corner, as in the image. ``failure`` is ``not_finite`` if a network gave NaN or infinity anywhere in the
    image; there are then no faces.
    """

    boxes: np.ndarray
    probabilities: np.ndarray
    landmarks: np.ndarray
    failure: str = ""

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


class _Pixels:
    """An image as a table of sums, from which area resizing reads any part at any size.

    Resizing by area gives each output pixel the mean of the input pixels it covers in whole or in part.
    The sums are whole numbers, so the means equal those of ``interpolate(mode="area")`` to the last bit. One pass
    over the image serves the whole pyramid and hundreds of windows.
    """

    def __init__(self, image: np.ndarray, device: str):
        self.height, self.width = image.shape[:2]
        # Beyond 8 megapixels the sums wrap around; their differences wrap around too and are right again.
        table = cv2.integral(image, sdepth=cv2.CV_32S)
        self.table = torch.from_numpy(table).to(device)

    def _spans(self, start: Tensor, length: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """First and past-the-end input pixel of ``count`` output pixels along spans, int64 (n, count) each."""
        steps = torch.arange(count, device=length.device)
        low = steps * length[:, None] // count
        high = -(-(steps + 1) * length[:, None] // count)
        return start[:, None] + low, start[:, None] + high

    def resized(self, height: int, width: int) -> Tensor:
        """The whole image, float32 (1, 3, height, width) in grey levels."""
        sides = torch.tensor([[self.height], [self.width]], device=self.table.device)
        zero = torch.zeros_like(sides[0])
        (top,), (bottom,) = self._spans(zero, sides[0], height)
        (left,), (right,) = self._spans(zero, sides[1], width)
        rows = self.table.index_select(0, bottom).sub_(self.table.index_select(0, top))
        sums = rows.index_select(1, right).sub_(rows.index_select(1, left)).to(torch.float32)
        means = sums.div_((bottom - top)[:, None, None]).div_((right - left)[:, None])
        return means.permute(2, 0, 1)[None]

    def patches(self, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """The content of boxes, float32 (n, 3, side, side), and the boxes; a box outside the image is dropped.

        Coordinates count from 1 and are inclusive. The parts of a box beyond the border are cut off, so a patch
        there is stretched.
        """
        whole = boxes.trunc().long()
        left, top = (whole[:, :2].clamp(min=1) - 1).T
        right, bottom = whole[:, 2].clamp(max=self.width), whole[:, 3].clamp(max=self.height)
        inside = (right > left) & (bottom > top)
        left, top, right, bottom = left[inside], top[inside], right[inside], bottom[inside]
        top, bottom = (edge[:, :, None] for edge in self._spans(top, bottom - top, side))
        left, right = (edge[:, None, :] for edge in self._spans(left, right - left, side))
        table = self.table
        sums = (table[bottom, right] - table[top, right]).sub_(table[bottom, left] - table[top, left])
        means = sums.to(torch.float32).div_((bottom - top)[..., None]).div_((right - left)[..., None])
        return means.permute(0, 3, 1, 2), boxes[inside]


class MTCNN:
    """The detector, its three networks loaded once.

    ``files`` maps pnet, rnet and onet to their weights. Raises UserError if one is missing or belongs to
    another network.
    """

    def __init__(self, files: Mapping[str, str | os.PathLike], device: str = "cpu"):
        missing = [name for name in FILES if name not in files]
        if missing:
            raise UserError(
                f"MTCNN needs the weights of {missing[0]}: they come with the facenet-pytorch wheel, and "
                f"`snakemake models/mtcnn/{missing[0]}.pt` fetches them"
            )
        self.device = device
        self._pnet, self._rnet, self._onet = (load_network(f"mtcnn-{name}", files[name], device) for name in FILES)

    @torch.inference_mode()
    def detect(self, image: np.ndarray) -> Faces:
        """All faces of an RGB uint8 (H, W, 3) image; none if its short side is below :data:`MIN_FACE`."""
        pixels = _Pixels(image, self.device)
        try:
            boxes = self._proposals(pixels)
            if len(boxes):
                boxes = self._refined(pixels, boxes)
            return self._final(pixels, boxes) if len(boxes) else _NOTHING
        except _NotFinite:
            return replace(_NOTHING, failure=NOT_FINITE)

    def _proposals(self, pixels: _Pixels) -> Tensor:
        """Squared boxes (n, 4) that the first network proposes on all scales."""
        found = []
        for scale in scales(pixels.height, pixels.width):
            resized = pixels.resized(int(pixels.height * scale + 1), int(pixels.width * scale + 1))
            offsets, probability = _finite(self._pnet(normalise(resized)))
            rows, columns = (probability[0] >= THRESHOLDS[0]).nonzero(as_tuple=True)
            if not len(rows):
                continue
            corner = torch.stack((columns, rows), 1).to(torch.float32) * _STRIDE
            boxes = torch.cat((((corner + 1) / scale).floor(), ((corner + _WINDOW) / scale).floor()), 1)
            score = probability[0, rows, columns]
            kept = nms(boxes, score, 0.5)
            found.append((boxes[kept], score[kept], offsets[0, :, rows, columns].T[kept]))
        if not found:
            return torch.zeros((0, 4))
        boxes, score, offsets = (torch.cat(parts) for parts in zip(*found))
        kept = nms(boxes, score, 0.7)
        boxes, offsets = boxes[kept], offsets[kept]
        sides = boxes[:, 2:] - boxes[:, :2]
        return _squared(boxes + offsets * sides.repeat(1, 2))

    def _refined(self, pixels: _Pixels, boxes: Tensor) -> Tensor:
        """Squared boxes that pass the second network."""
        patches, boxes = pixels.patches(boxes, 24)
        if not len(boxes):
            return boxes
        offsets, score = _in_batches(self._rnet, patches)
        passed = score > THRESHOLDS[1]
        boxes, score, offsets = boxes[passed], score[passed], offsets[passed]
        kept = nms(boxes, score, 0.7)
        return _squared(_calibrated(boxes[kept], offsets[kept]))

    def _final(self, pixels: _Pixels, boxes: Tensor) -> Faces:
        """Boxes and landmarks of the third network."""
        patches, boxes = pixels.patches(boxes, 48)
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


class _NotFinite(ValueError):
    """A network gave NaN or infinity."""


def _finite(outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if not all(output.isfinite().all() for output in outputs):
        raise _NotFinite
    return outputs


def _in_batches(network: torch.nn.Module, patches: Tensor) -> list[Tensor]:
    answers = [_finite(network(normalise(part))) for part in patches.split(_BATCH)]
    return [torch.cat(parts) for parts in zip(*answers)]


def _squared(boxes: Tensor) -> Tensor:
    """Squares with the same centres as the boxes; their sides are the boxes' longer sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides * 0.5 - longest * 0.5
    return torch.cat((corner, corner + longest), 1)


def _calibrated(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Boxes moved by offsets in units of their sides, pixels counted inclusively."""
    return boxes + offsets * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _suppressed_by_smaller(boxes: np.ndarray, score: np.ndarray, overlap: float) -> list[int]:
    """Rows to keep, best first. A box is dropped if it shares more than ``overlap`` of the smaller box with a better one."""
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
