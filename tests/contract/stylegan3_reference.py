"""StyleGAN3's references: the fill rule "sg3" (README-generators.md) and the networks it fills."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import torch

from contract import fill_base
from evenface.networks.stylegan3 import StyleGAN3

FOLDER = fill_base.REFERENCE / "stylegan3"
PICKLE = FOLDER / "tiny_network_snapshot.pkl"
SEED = 1
#: Every configuration and fill that has vectors.
CASES = [("t64", "sg3"), ("t64", "base"), ("r64", "sg3"), ("r64", "base"), ("t64c", "sg3"), ("t256", "sg3"),
         ("t256", "base"), ("r256", "sg3")]  # fmt: skip


@cache
def manifest() -> dict:
    return json.loads((FOLDER / "manifest.json").read_text())


def sg3_parameter(name: str, shape: list[int]) -> np.ndarray:
    """One tensor by the rule "sg3": the draws of "base" in the scale real networks have."""
    x = fill_base.generator(SEED, name).standard_normal(tuple(shape))
    if name.endswith("freqs"):
        pass
    elif len(shape) >= 2:
        x = 100 * x if name.startswith("mapping.fc") else x
    elif name.endswith("magnitude_ema"):
        x = 1 + 0.1 * x
    elif name.startswith("mapping.fc"):
        x = 10 * x
    elif name == "synthesis.input.affine.bias":
        x = np.array([1.0, 0, 0, 0]) + 0.1 * x
    elif name.endswith("affine.bias"):
        x = 1 + 0.1 * x
    elif name.endswith("phases"):
        x = 0.3 * x
    else:
        assert name.endswith(("bias", "w_avg")), name
        x = 0.1 * x
    return np.asarray(x, np.float32)


def state(configuration: str, fill: str, constructed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The filled state dictionary; what the constructor computes is taken from ``constructed``."""
    described = manifest()["configs"][configuration]
    kept = {name: constructed[name] for name in described["kept_constructed"]}
    if fill == "base":
        return fill_base.fill(SEED, described["tensors"], kept)
    return {n: kept[n] if n in kept else sg3_parameter(n, s) for n, s, _ in described["tensors"]}


def network(configuration: str, fill: str) -> StyleGAN3:
    """The filled network."""
    torch.manual_seed(0)
    made = StyleGAN3(**manifest()["configs"][configuration]["init_kwargs"]).eval()
    constructed = {name: tensor.numpy() for name, tensor in made.state_dict().items()}
    filled = state(configuration, fill, constructed)
    made.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in filled.items()})
    return made


def vectors(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def latents(configuration: str) -> torch.Tensor:
    size = manifest()["configs"][configuration]["init_kwargs"]["z_dim"]
    return torch.from_numpy(fill_base.raw_stream(SEED, "input.z", (2, size)))


def style_vectors(configuration: str) -> torch.Tensor:
    described = manifest()["configs"][configuration]
    shape = (2, described["num_ws"], described["init_kwargs"]["w_dim"])
    return torch.from_numpy(fill_base.raw_stream(SEED, "input.ws", shape))


def labels(configuration: str) -> torch.Tensor | None:
    """Class 1, then class 3, for the conditional configuration."""
    classes = manifest()["configs"][configuration]["init_kwargs"]["c_dim"]
    return torch.eye(classes)[[1, 3]] if classes else None
