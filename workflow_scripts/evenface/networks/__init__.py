"""Networks: ``torch.nn.Module`` classes and nothing else. They read no file and import nothing of ours.

Every network states its own input in its docstring; :func:`preprocess` makes it from one image. The
modules of :data:`FAMILIES` hold the networks others published, each with two dictionaries:

``PUBLISHED``
    published name -> builder without arguments, whose state dictionary has the published tensor
    names without the file's wrapping or prefix, in the published order;
``PREPROCESS``
    published name -> function of one RGB uint8 (H, W, 3) image, cropped as the network expects it,
    that gives the float32 (3, H', W') input (another number of channels where the network says so).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

#: Modules of this package that hold published networks; a name is looked up in this order.
FAMILIES: tuple[str, ...] = (
    "deepface",
    "facexformer",
    "fairface",
    "farl",
    "iresnet",
    "mtcnn",
    "retinaface",
    "slim_cnn",
)


def published() -> dict[str, Callable[[], torch.nn.Module]]:
    """Every published name and its builder."""
    return _merged("PUBLISHED")


def build(name: str, settings: Mapping[str, Any] | None = None) -> torch.nn.Module:
    """A network with fresh weights drawn from torch's global generator.

    ``settings`` are the keyword arguments of our own networks: of ``SlimCNN`` for ``slim_cnn``, of
    ``MultiTaskNet`` for ``multi_task``, of ``IResNet`` for ``iresnet``, of ``StyleGAN3`` for ``stylegan3``
    (published, but in several sizes: the file has its arguments); the other published names
    (``magface-iresnet100``, ...) take none.
    Raises ValueError for another name, or settings given to a published name.
    """
    if name == "slim_cnn":
        from evenface.networks.slim_cnn import SlimCNN

        return SlimCNN(**settings or {})
    if name == "multi_task":
        from evenface.networks.multi_task import MultiTaskNet

        return MultiTaskNet(**settings or {})
    if name == "iresnet":
        from evenface.networks.iresnet import IResNet

        return IResNet(**settings or {})
    if name == "stylegan3":
        from evenface.networks.stylegan3 import StyleGAN3

        return StyleGAN3(**settings or {})
    builder = _find("PUBLISHED", name)
    if builder is None:
        known = ["slim_cnn", "multi_task", "iresnet", "stylegan3", *published()]
        raise ValueError(f"unknown network {name!r}; known: {', '.join(known)}")
    if settings:
        raise ValueError(f"the published network {name!r} takes no settings, got {', '.join(map(str, settings))}")
    return builder()


def preprocess(name: str, image: np.ndarray) -> torch.Tensor:
    """Input tensor float32 (3, H, W) of the published network ``name`` for one RGB uint8 (H, W, 3) image.

    The image must already be cropped as the network expects. Raises ValueError for another name or
    kind of array.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
    function = _find("PREPROCESS", name)
    if function is None:
        known = ", ".join(_merged("PREPROCESS"))
        raise ValueError(f"no preprocessing is known for the network {name!r}; known: {known}")
    return function(image)


def _family(module: str) -> Any:
    return import_module(f"evenface.networks.{module}")


def _find(table: str, name: str) -> Callable | None:
    """The entry of the first family that has it, importing no further family."""
    return next((entries[name] for m in FAMILIES if name in (entries := getattr(_family(m), table))), None)


def _merged(table: str) -> dict[str, Callable]:
    return {name: entry for module in reversed(FAMILIES) for name, entry in getattr(_family(module), table).items()}
