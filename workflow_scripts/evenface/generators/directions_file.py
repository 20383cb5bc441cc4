"""The file of fitted directions: scorers of the factors of one generator's latent space (``directions.npz``)."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evenface.errors import UserError, raise_if_machine
from evenface.generators.walks import Scorer
from evenface.storage.atomic import atomic_path

#: Part of the header; raised when an older file would be misread.
FILE_VERSION = 1


@dataclass(frozen=True)
class Directions:
    """What was fitted on one latent space.

    ``mean`` and ``scale`` (d,) standardise a latent; ``scorers`` work on standardised latents. ``normals``
    maps (factor, level) to the unit normal (d,) and offset of the plane that separates the level from all
    others. ``conditional`` maps it to the normal with all other factors held, if there is one. ``facts`` can
    be stored as JSON: which annotator labelled, how many faces, the seed.
    """

    generator: str
    generator_version: int
    space: str
    mean: np.ndarray
    scale: np.ndarray
    scorers: dict[str, Scorer]
    normals: dict[tuple[str, str], tuple[np.ndarray, float]] = field(default_factory=dict)
    conditional: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def standardised(self, latents: np.ndarray) -> np.ndarray:
        """``latents`` (..., d), standardised, float64."""
        return (np.asarray(latents, np.float64) - self.mean) / self.scale

    def latents(self, x: np.ndarray) -> np.ndarray:
        """The latents of standardised ``x`` (..., d), float32."""
        return (np.asarray(x, np.float64) * self.scale + self.mean).astype(np.float32)


def write_directions(directions: Directions, path: str | os.PathLike) -> None:
    """Write ``directions`` as .npz, atomically; the same content gives the same bytes."""
    header = {
        "file_version": FILE_VERSION,
        "generator": directions.generator,
        "generator_version": directions.generator_version,
        "space": directions.space,
        "factors": {name: list(scorer.levels) for name, scorer in directions.scorers.items()},
        "normals": [list(key) for key in directions.normals],
        "conditional": [list(key) for key in directions.conditional],
        "facts": directions.facts,
    }
    arrays = {"mean": directions.mean, "scale": directions.scale}
    for name, scorer in directions.scorers.items():
        arrays |= {f"weights/{name}": scorer.weights, f"bias/{name}": scorer.bias}
    for (factor, level), (normal, offset) in directions.normals.items():
        arrays |= {f"normal/{factor}/{level}": normal, f"offset/{factor}/{level}": np.array(offset)}
    for (factor, level), normal in directions.conditional.items():
        arrays[f"conditional/{factor}/{level}"] = normal
    text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=text, **arrays)


def read_directions(path: str | os.PathLike) -> Directions:
    """Read a directions file; UserError naming it if it is missing, damaged or of another version."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file of directions; run the rule fit_directions")
    try:
        with np.load(path) as stored:
            header = json.loads(stored["header"].tobytes())
            if header["file_version"] != FILE_VERSION:
                raise UserError(f"{path}: directions of another version; delete the file and run fit_directions again")
            return _directions(header, stored, str(path))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: not a readable file of directions ({error}); run fit_directions again") from error


def _directions(header: Mapping[str, Any], stored: Mapping[str, np.ndarray], path: str) -> Directions:
    mean, scale = stored["mean"], stored["scale"]
    width = len(mean)

    def array(name: str, *shape: int) -> np.ndarray:
        values = np.asarray(stored[name], np.float64)
        if values.shape != shape or not np.isfinite(values).all():
            raise UserError(f"{path}: array {name} is not finite numbers of shape {shape}; run fit_directions again")
        return values

    if not (array("scale", width) > 0).all():
        raise UserError(f"{path}: array scale must be positive; run fit_directions again")
    scorers = {
        name: Scorer(
            name, tuple(levels), array(f"weights/{name}", len(levels), width), array(f"bias/{name}", len(levels))
        )
        for name, levels in header["factors"].items()
    }
    normals = {
        (factor, level): (array(f"normal/{factor}/{level}", width), float(array(f"offset/{factor}/{level}")))
        for factor, level in header["normals"]
    }
    conditional = {
        (factor, level): array(f"conditional/{factor}/{level}", width) for factor, level in header["conditional"]
    }
    return Directions(
        header["generator"], header["generator_version"], header["space"], array("mean", width), scale, scorers,
        normals, conditional, header["facts"],
    )  # fmt: skip
