"""DeepFace's attribute networks: a VGG-Face trunk with a head, and a small network for expressions.

Layers and tensor names follow the PyTorch files of serengil/deepface (``deepface/models/demography``).
Its TensorFlow files hold the same layers in the same order. Trunk: Parkhi, Vedaldi, Zisserman, Deep
Face Recognition, BMVC 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from evenface.networks.finite import softmax

#: Side of the square that a face is scaled into.
INPUT_SIDE = 224
#: Side of the grey input of the emotion network.
EMOTION_SIDE = 48
#: Bound of the difference between probabilities in bfloat16 and float32: 0.004 was measured on the filled networks.
BFLOAT16_TOLERANCE = 0.01

_GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_HIDDEN = 4096


class _Trunk(nn.Module):
    """VGG-Face up to ``fc7``: (N, 3, 224, 224) to (N, 4096, 1, 1), rectified."""

    def __init__(self):
        super().__init__()
        inputs = 3
        for group, widths in enumerate(_GROUPS, start=1):
            for number, width in enumerate(widths, start=1):
                self.add_module(f"conv{group}_{number}", nn.Conv2d(inputs, width, 3, padding=1))
                inputs = width
        self.fc6 = nn.Conv2d(inputs, _HIDDEN, 7)
        self.fc7 = nn.Conv2d(_HIDDEN, _HIDDEN, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        for group, widths in enumerate(_GROUPS, start=1):
            for number in range(1, len(widths) + 1):
                x = self.get_submodule(f"conv{group}_{number}")(x).relu_()
            x = nn.functional.max_pool2d(x, 2)
        x = self.dropout(self.fc6(x).relu_())
        return self.dropout(self.fc7(x).relu_())


class VGGFaceHead(nn.Module):
    """VGG-Face with an attribute head: 101 ages, 2 genders or 6 races.

    Input: float (N, 3, 224, 224) in [0, 1], **B, G, R**, the face letterboxed with black
    (:func:`letterbox`). Output: float (N, classes), probabilities. Age is the sum of i times the
    probability of i = 0..100; genders are Woman, Man; races are asian, indian, black, white, middle
    eastern, latino hispanic.
    """

    def __init__(self, classes: int):
        super().__init__()
        self.backbone = _Trunk()
        self.predictions = nn.Conv2d(_HIDDEN, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return softmax(self.predictions(self.backbone(x)).flatten(1), 1)


class EmotionNet(nn.Module):
    """DeepFace's expression network: angry, disgust, fear, happy, sad, surprise, neutral.

    Input: float (N, 1, 48, 48), the grey of a letterboxed face in [0, 1]. Output: float (N, 7),
    probabilities.
    """

    def __init__(self):
        super().__init__()
        self.conv_1 = nn.Conv2d(1, 64, 5)
        self.pool_1 = nn.MaxPool2d(5, 2)
        self.conv_2 = nn.Conv2d(64, 64, 3)
        self.conv_3 = nn.Conv2d(64, 64, 3)
        self.pool_2 = nn.AvgPool2d(3, 2)
        self.conv_4 = nn.Conv2d(64, 128, 3)
        self.conv_5 = nn.Conv2d(128, 128, 3)
        self.pool_3 = nn.AvgPool2d(3, 2)
        self.fc_1 = nn.Linear(128, 1024)
        self.fc_2 = nn.Linear(1024, 1024)
        self.fc_3 = nn.Linear(1024, 7)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool_1(self.conv_1(x).relu())
        x = self.pool_2(self.conv_3(self.conv_2(x).relu()).relu())
        x = self.pool_3(self.conv_5(self.conv_4(x).relu()).relu()).flatten(1)
        x = self.dropout(self.fc_1(x).relu())
        x = self.dropout(self.fc_2(x).relu())
        return softmax(self.fc_3(x), 1)


def letterbox(image: np.ndarray, side: int = INPUT_SIDE) -> np.ndarray:
    """float32 (side, side, 3) in [0, 1], B, G, R, of one RGB uint8 (H, W, 3) face.

    The face is scaled in float64 by the smaller of the two ratios (bilinear, sides cut to whole pixels); the
    rest is black. An odd pixel of padding goes to the bottom or right.
    """
    height, width = image.shape[:2]
    ratio = min(side / height, side / width)
    # A face more than 224 times longer than wide would vanish.
    rows, columns = max(int(height * ratio), 1), max(int(width * ratio), 1)
    scaled = cv2.resize(image[..., ::-1].astype(np.float64) / 255, (columns, rows), interpolation=cv2.INTER_LINEAR)
    boxed = np.zeros((side, side, 3))
    top, left = (side - rows) // 2, (side - columns) // 2
    boxed[top : top + rows, left : left + columns] = scaled
    return boxed.astype(np.float32)


def grey(boxed: np.ndarray) -> np.ndarray:
    """float32 (48, 48) grey of a :func:`letterbox`, scaled bilinearly."""
    return cv2.resize(cv2.cvtColor(boxed, cv2.COLOR_BGR2GRAY), (EMOTION_SIDE, EMOTION_SIDE))


def preprocess_face(image: np.ndarray) -> Tensor:
    """Input float32 (3, 224, 224) of age, gender and race for one RGB uint8 (H, W, 3) face, of any size."""
    return torch.from_numpy(np.ascontiguousarray(letterbox(image).transpose(2, 0, 1)))


def preprocess_emotion(image: np.ndarray) -> Tensor:
    """Input float32 (1, 48, 48) of the emotion network for one RGB uint8 (H, W, 3) face, of any size."""
    return torch.from_numpy(grey(letterbox(image)))[None]


PUBLISHED: dict[str, Callable[[], nn.Module]] = {
    "deepface-gender": partial(VGGFaceHead, 2),
    "deepface-age": partial(VGGFaceHead, 101),
    "deepface-race": partial(VGGFaceHead, 6),
    "deepface-emotion": EmotionNet,
}
PREPROCESS: dict[str, Callable[[np.ndarray], Tensor]] = {
    **dict.fromkeys(("deepface-gender", "deepface-age", "deepface-race"), preprocess_face),
    "deepface-emotion": preprocess_emotion,
}
