"""Networks: only ``torch.nn.Module`` classes. They do not read files.

Classifiers that can be trained are parts, each in its own package (:class:`evenface.parts.Network`).
Every network's docstring states its input; :func:`preprocess` makes it from one image. The modules of
:data:`FAMILIES` hold networks that others published. Each has two dictionaries:

``PUBLISHED``
    published name -> builder without arguments. The network's state dictionary has the published tensor
    names, without the file's wrapping or prefix, in the published order;
``PREPROCESS``
    published name -> function of one RGB uint8 (H, W, 3) image, cropped as the network expects it. It
    returns the float32 (3, H', W') input (another number of channels if the network says so).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from evenface.parts import Network, parts

if TYPE_CHECKING:
    import numpy as np
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
    "slim_cnn.network",
)

#: Our own classes by name; also ``stylegan3``, because it is published in several sizes and its file has its arguments.
OWN: dict[str, str] = {
    "slim_cnn": "slim_cnn.network:SlimCNN",
    "multi_task": "multi_task:MultiTaskNet",
    "iresnet": "iresnet:IResNet",
    "stylegan3": "stylegan3:StyleGAN3",
}


def published() -> dict[str, Callable[[], torch.nn.Module]]:
    """Every published name and its builder."""
    return _merged("PUBLISHED")


def build(name: str, settings: Mapping[str, Any] | None = None, outputs: int | None = None) -> torch.nn.Module:
    """A network with fresh weights drawn from torch's global generator.

    With ``outputs`` it is the trainable classifier ``name`` (:class:`evenface.parts.Network`), and ``settings`` is
    its block of the configuration. Otherwise ``settings`` are the keyword arguments of a class of :data:`OWN`; other
    published names (``magface-iresnet100``, ...) do not take settings.
    Raises ValueError for an unknown name, for wrong settings, or for settings given to a published name.
    """
    if outputs is not None:
        part = parts(Network).get(name)
        if part is None:
            raise ValueError(f"unknown network {name!r}; known: {', '.join(parts(Network))}")
        return part.load()(outputs, part.settings.model_validate(settings or {}))
    if name in OWN:
        module, _, attribute = OWN[name].partition(":")
        return getattr(_family(module), attribute)(**settings or {})
    builder = _find("PUBLISHED", name)
    if builder is None:
        raise ValueError(f"unknown network {name!r}; known: {', '.join([*OWN, *published()])}")
    if settings:
        raise ValueError(f"the published network {name!r} takes no settings, got {', '.join(map(str, settings))}")
    return builder()


def preprocess(name: str, image: np.ndarray) -> torch.Tensor:
    """Input tensor float32 (3, H, W) of the published network ``name`` for one RGB uint8 (H, W, 3) image.

    The image must already be cropped as the network expects. Raises ValueError for an unknown name or
    another kind of array.
    """
    if image.ndim != 3 or image.shape[2] != 3 or str(image.dtype) != "uint8":
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
    function = _find("PREPROCESS", name)
    if function is None:
        known = ", ".join(_merged("PREPROCESS"))
        raise ValueError(f"no preprocessing is known for the network {name!r}; known: {known}")
    return function(image)


def _family(module: str) -> Any:
    return import_module(f"evenface.networks.{module}")


def _find(table: str, name: str) -> Callable | None:
    """The entry of the first family that has it; later families are not imported."""
    return next((entries[name] for m in FAMILIES if name in (entries := getattr(_family(m), table))), None)


def _merged(table: str) -> dict[str, Callable]:
    return {name: entry for module in reversed(FAMILIES) for name, entry in getattr(_family(module), table).items()}
