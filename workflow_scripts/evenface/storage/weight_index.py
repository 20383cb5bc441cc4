"""Indexes of weights in several files (``*.safetensors.index.json``): diffusers and transformers open what they name."""

from __future__ import annotations

import json
import os
from pathlib import Path

from evenface.errors import UserError, raise_if_machine
from evenface.names import inside


def check_weight_indexes(folder: str | os.PathLike) -> None:
    """Raise UserError for an index in ``folder`` that is damaged or names a file elsewhere."""
    for path in sorted(Path(folder).glob("*.index.json")):
        try:
            names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise_if_machine(error, path)
            raise UserError(f"{path}: not an index of weights ({str(error)[:80]}); get the model again") from error
        for name in sorted(names, key=str):
            inside(folder, name, path)
