"""The fill rule "base" of the references of FaceXFormer, Facer and StyleGAN3 (README-generators.md).

It turns (seed, full tensor name in the published state dictionary) into parameters, buffers and
inputs. The rule of the face models (``fill.py``) keys by model as well and scales otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

REFERENCE = Path(__file__).parent / "reference"


def generator(seed: int, name: str) -> np.random.Generator:
    """The generator of one key, for integer and uniform draws."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def raw_stream(seed: int, name: str, shape: Sequence[int]) -> np.ndarray:
    """Unscaled standard normal numbers, float32: how inputs are made."""
    return generator(seed, name).standard_normal(tuple(shape)).astype(np.float32)


def parameter(seed: int, name: str, shape: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """One tensor of a state dictionary; integer tensors other than counters are not the rule's to fill."""
    shape = tuple(shape)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if dtype != "float32":
        raise ValueError(f"tensor {name!r} of type {dtype} is a constant of the architecture, not filled by the rule")
    x = generator(seed, name).standard_normal(shape)
    if name.endswith("running_mean"):
        x = 0.1 * x
    elif name.endswith("running_var"):
        x = 1 + 0.2 * np.abs(x)
    elif len(shape) >= 2:
        x = x * np.sqrt(2.0 / prod(shape[1:]))
    elif name.endswith("bias"):
        x = 0.1 * x
    else:
        x = 1 + 0.1 * x
    return np.asarray(x, np.float32)


def fill(
    seed: int, tensors: Iterable[Sequence], constructed: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """The filled state dictionary of a manifest's list of (name, shape, dtype), in its order.

    ``constructed`` holds the tensors that keep what the constructor computes (``kept_constructed``).
    """
    kept = constructed or {}
    return {name: kept[name] if name in kept else parameter(seed, name, shape, dtype) for name, shape, dtype in tensors}


def sha256(array: np.ndarray) -> str:
    """SHA-256 of an array's little-endian bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def digests(state: Mapping[str, np.ndarray]) -> list[str]:
    """First 12 hex digits of every tensor's hash, as ``filled_sha256_first12`` lists them."""
    return [sha256(value)[:12] for value in state.values()]


def relative_error(value: np.ndarray, reference: np.ndarray) -> float:
    """Largest absolute difference over the largest absolute reference."""
    return float(np.abs(np.asarray(value, np.float64) - reference).max() / np.abs(reference).max())


def load(name: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Manifest and arrays of the reference folder ``name``."""
    manifest = json.loads((REFERENCE / name / "manifest.json").read_text())
    with np.load(REFERENCE / name / "outputs.npz", allow_pickle=False) as arrays:
        return manifest, dict(arrays)
