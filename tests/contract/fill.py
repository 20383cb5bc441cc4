"""The fill rule of the numeric references (reference/face-models-fill-rule.txt, version 1).

It turns (seed, model, tensor name) into parameters, inputs and raw images, so that a network can be
compared with the original's outputs although the published weights are not here.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd

REFERENCE = Path(__file__).parent / "reference"

_IMAGENET_MEAN = np.array((0.485, 0.456, 0.406))[:, None, None]
_IMAGENET_DEVIATION = np.array((0.229, 0.224, 0.225))[:, None, None]


def read_predictions(path: Path) -> pd.DataFrame:
    """The table of FairFace's ``predict.py``, scores as float32 vectors."""
    table = pd.read_csv(path, dtype=object, keep_default_na=False)
    for column in table.filter(like="scores"):
        table[column] = [np.array(cell.strip("[]").split(), np.float32) if cell else None for cell in table[column]]
    return table


def generator(seed: int, model: str, name: str) -> np.random.Generator:
    """The generator of one key."""
    digest = hashlib.sha256(f"{seed}:{model}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def parameter(seed: int, model: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One tensor of a state dictionary; ``name`` without the checkpoint's prefix."""
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    z = generator(seed, model, name).standard_normal(shape)
    fan_in = prod(shape[1:])
    if leaf in ("running_mean", "bias"):
        value = 0.1 * z
    elif leaf == "running_var":
        value = 1 + 0.2 * np.abs(z)
    elif leaf == "weight" and len(shape) == 4:
        value = z * np.sqrt(2.0 / fan_in)
    elif leaf == "weight" and len(shape) == 2:
        value = z * np.sqrt((0.1 if name == "fc.weight" else 2.0) / fan_in)
    elif leaf == "weight" and len(shape) == 1:
        if "prelu" in name.split("."):
            value = 0.25 + 0.05 * z
        elif re.match(r"^layer[0-9]+\.[0-9]+\.bn[23]\.weight$", name):
            value = 0.5 * (1 + 0.1 * z)
        else:
            value = 1 + 0.1 * z
    else:
        raise ValueError(f"the fill rule does not know the tensor {name!r} of shape {shape}")
    return value.astype(np.float32)


def inputs(seed: int, model: str, shape: tuple[int, int, int, int]) -> np.ndarray:
    """The four network inputs float32 (4, channels, height, width)."""
    count, channels, height, width = shape
    batch = []
    for i in range(count):
        random = generator(seed, model, f"input:{i}")
        if i < 2:
            u = random.random((channels, height, width))
        else:
            u = _enlarged(random.random((channels, 8, 8)).transpose(1, 2, 0), height, width).transpose(2, 0, 1)
        if model.startswith("fairface-"):
            u = (u - _IMAGENET_MEAN) / _IMAGENET_DEVIATION
        elif model.startswith("slimcnn-"):
            u = 2 * u - 1
        batch.append(u.astype(np.float32))
    return np.stack(batch)


def raw_image(seed: int, model: str, tag: str, height: int, width: int) -> np.ndarray:
    """One raw image, RGB uint8 (height, width, 3)."""
    random = generator(seed, model, f"image:{tag}")
    coarse = random.integers(0, 256, size=(8, 8, 3))
    noise = random.integers(-24, 25, size=(height, width, 3))
    return np.clip(_enlarged(coarse, height, width) + noise, 0, 255).astype(np.uint8)


def _enlarged(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    return grid[(8 * np.arange(height)) // height][:, (8 * np.arange(width)) // width]


def sha256(array: np.ndarray) -> str:
    """SHA-256 of an array's little-endian bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def relative_error(value: np.ndarray, reference: np.ndarray) -> float:
    """Largest absolute difference over the largest absolute reference."""
    return float(np.abs(np.asarray(value, np.float64) - reference).max() / np.abs(reference).max())


def sample(array: np.ndarray, count: int = 24) -> np.ndarray:
    """``count`` evenly spaced entries of each flattened sample of a batch."""
    flat = array.reshape(len(array), -1)
    return flat[:, np.floor(np.linspace(0, flat.shape[1] - 1, count)).astype(int)]


@dataclass
class Reference:
    """One reference folder: its manifest and its arrays."""

    manifest: dict
    arrays: dict[str, np.ndarray]

    @classmethod
    def load(cls, name: str) -> Reference:
        """The reference ``name`` copied to this folder."""
        manifest = json.loads((REFERENCE / name / "manifest.json").read_text())
        with np.load(REFERENCE / name / "reference.npz") as arrays:
            return cls(manifest, dict(arrays))

    def state(self) -> dict[str, np.ndarray]:
        """The filled state dictionary under the checkpoint's names, in order."""
        prefix = self.manifest["checkpoint_prefix"]
        return {
            name: parameter(self.manifest["seed"], self.manifest["model"], name.removeprefix(prefix), tuple(shape))
            for name, shape, _ in self.manifest["checkpoint_state_dict"]
        }

    def inputs(self) -> np.ndarray:
        """The four inputs."""
        return inputs(self.manifest["seed"], self.manifest["model"], tuple(self.manifest["input_shape"]))

    def raw_image(self, tag: str, height: int, width: int) -> np.ndarray:
        """One raw image of this reference."""
        return raw_image(self.manifest["seed"], self.manifest["model"], tag, height, width)
