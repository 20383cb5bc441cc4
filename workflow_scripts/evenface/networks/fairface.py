"""FairFace: perceived race, gender and age of one face chip, by a ResNet-34 with 18 outputs.

Kärkkäinen and Joo, WACV 2021 (arXiv:1908.04913). The networks are torchvision's ResNet-34 with a
linear layer of 18 outputs; the four-race network uses only four of them. The published files are
bare state dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

#: Side of the square network input in pixels.
INPUT_SIDE = 224

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

_RACE_7 = ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern")
_GENDER = ("Male", "Female")
_AGE = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")

#: Heads of each network and their classes, in the order of the outputs from 0 on. The authors do not use outputs
#: 4 to 17 of the four-race network and did not publish their meaning.
HEADS: dict[str, dict[str, tuple[str, ...]]] = {
    "fairface-7": {"race": _RACE_7, "gender": _GENDER, "age": _AGE},
    "fairface-4": {"race4": ("White", "Black", "Asian", "Indian")},
}


def build_fairface() -> nn.Module:
    """ResNet-34 with 18 outputs and fresh weights.

    Input: float32 (N, 3, 224, 224), R, G, B: values in [0, 1], minus ImageNet's mean, divided by its
    deviation. Output: float32 (N, 18) raw scores, see :func:`decode`.
    """
    from torchvision.models import resnet34

    return resnet34(weights=None, num_classes=18)


def resize(image: np.ndarray) -> np.ndarray:
    """RGB uint8 (H, W, 3), normally a 300 x 300 chip, as uint8 (224, 224, 3): bilinear, averaging when it shrinks.

    The proportions are not kept, as in the original.
    """
    if image.shape[:2] == (INPUT_SIDE, INPUT_SIDE):
        return image
    return np.asarray(Image.fromarray(image).resize((INPUT_SIDE, INPUT_SIDE), Image.Resampling.BILINEAR))


def normalise(pixels: Tensor) -> Tensor:
    """uint8 (N, 3, 224, 224), R, G, B, as the network's float32 input; the memory layout is kept."""
    mean, deviation = (torch.tensor(v, device=pixels.device)[:, None, None] for v in (_MEAN, _DEVIATION))
    return pixels.to(torch.float32).div_(255).sub_(mean).div_(deviation)


def preprocess(image: np.ndarray) -> Tensor:
    """Network input float32 (3, 224, 224) of one chip, RGB uint8 (H, W, 3)."""
    return normalise(torch.from_numpy(resize(image).transpose(2, 0, 1).copy())[None])[0]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Shares float32 (..., k) of scores float32 (..., k), by plain exponentials, as in the original.

    If these overflow, the original's result is not a number. Here the largest score is then subtracted
    first, which changes only the rounding. A row with a score that is not finite has no shares: it is NaN.
    """
    scores = np.asarray(scores, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(scores)
        total = powers.sum(-1, keepdims=True)
        overflown = ~(np.isfinite(total) & (total > 0))
        if overflown.any():
            powers = np.where(overflown, np.exp(scores - scores.max(-1, keepdims=True)), powers)
            total = powers.sum(-1, keepdims=True)
        return np.where(np.isfinite(scores).all(-1, keepdims=True), powers / total, np.float32(np.nan))


def decode(name: str, outputs: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The raw outputs (N, 18) of the network ``name`` (``fairface-7`` or ``fairface-4``) as classes.

    For each head: the shares of its classes, float32 (N, k) in the order of :data:`HEADS`, and the name of
    the largest (object array (N,)). An output with a number that is not finite has no class: its shares are NaN, and
    its names are empty.
    """
    answers = {}
    start = 0
    finite = np.isfinite(outputs).all(1)
    outputs = np.where(finite[:, None], outputs, np.float32(np.nan))
    for head, classes in HEADS[name].items():
        shares = softmax(outputs[:, start : start + len(classes)])
        answers[head] = shares, np.where(finite, np.array(classes, object)[shares.argmax(1)], "")
        start += len(classes)
    return answers


PUBLISHED: Mapping[str, Callable[[], nn.Module]] = {"fairface-7": build_fairface, "fairface-4": build_fairface}
PREPROCESS: Mapping[str, Callable[[np.ndarray], Tensor]] = {"fairface-7": preprocess, "fairface-4": preprocess}
