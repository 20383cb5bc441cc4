"""Networks: ``torch.nn.Module`` classes and nothing else. They read no file and import nothing of ours.

Every network states its own input in its docstring; :func:`preprocess` makes it from one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def build(name: str, settings: Mapping[str, Any]) -> torch.nn.Module:
    """A network of ours with fresh weights drawn from torch's global generator.

    ``settings`` are the keyword arguments of its class: ``SlimCNN`` for ``slim_cnn``, ``MultiTaskNet``
    for ``multi_task``. Raises ValueError for another name.
    """
    if name == "slim_cnn":
        from evenface.networks.slim_cnn import SlimCNN

        return SlimCNN(**settings)
    if name == "multi_task":
        from evenface.networks.multi_task import MultiTaskNet

        return MultiTaskNet(**settings)
    raise ValueError(f"unknown network {name!r}; known: slim_cnn, multi_task")


def preprocess(name: str, image: np.ndarray) -> torch.Tensor:
    """Input tensor float32 (3, H, W) of the published network ``name`` for one RGB uint8 (H, W, 3) image.

    The image must already be cropped as the network expects; nothing is resized. Known names:
    ``slim-cnn``. Raises ValueError for another name or kind of array.
    """
    import torch

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
    if name == "slim-cnn":
        from evenface.networks.slim_cnn import normalise

        return normalise(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None])[0]
    raise ValueError(f"no preprocessing is known for the network {name!r}; known: slim-cnn")
