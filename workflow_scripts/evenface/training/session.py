"""What every training does besides its method: device, seed, states, and writing model, manifest and log."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from evenface.errors import UserError
from evenface.seeds import seed_from
from evenface.storage.csv import write_csv
from evenface.training import runtime
from evenface.training.settings import LoopSettings

if TYPE_CHECKING:
    from torch import nn

    from evenface.training.loop import Fitted
    from evenface.training.method import Method


def digest_of(*parts: Any) -> str:
    """SHA-256 over the JSON text of ``parts``."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def text_digest(values: pd.Series) -> str:
    """SHA-256 over the values of a column, one per line, in order."""
    return hashlib.sha256("\n".join(values.astype(str)).encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file; UserError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror})") from error


class Session:
    """One training, from its settings to the files it writes.

    ``out`` is the model. The folder of that name with the suffix ``.partial`` holds the states of an unfinished
    training. The next training with the same settings, data, seed and threads continues from them. ``settings.pace``
    names the settings that may differ.
    """

    def __init__(
        self,
        out: str | os.PathLike,
        settings: LoopSettings,
        *,
        seed: int,
        threads: int = 1,
        device: str = "auto",
        label: str = "training",
        where: str = "",
    ):
        runtime.prepare(threads)
        self.out, self.settings, self.seed, self.threads, self.label = Path(out), settings, seed, threads, label
        self.where = where
        self.device = runtime.choose_device(device)
        self.precision = runtime.choose_precision(settings.precision, self.device)
        self.folder = self.out.with_suffix(".partial")
        self.digest = ""

    @property
    def environment(self) -> dict[str, Any]:
        """What else decides the last bits of the weights, besides settings and data; for the manifest."""
        return {
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "versions": runtime.versions(),
        }

    def identify(self, *data: Any) -> None:
        """State what the training depends on besides its settings. A state with another identity is not continued."""
        settings = self.settings.model_dump(mode="json", exclude=set(self.settings.pace))
        self.digest = digest_of(data, settings, self.seed, self.environment)

    def draw(self, build: Callable[[], nn.Module], *names: object) -> nn.Module:
        """A network with the initial weights of this seed; with ``names``, other random weights."""
        import torch

        torch.manual_seed(seed_from(self.seed, "initial weights", *names))
        return build()

    def fit(self, method: Method, name: str = "") -> Fitted:
        """Run the loop for one stage; a finished stage is not trained again."""
        from evenface.training.loop import fit

        return fit(
            method,
            device=self.device,
            digest=digest_of(self.digest, name) if name else self.digest,
            state_path=self.folder / f"{name.replace(' ', '_') or 'state'}.pt",
            label=f"{self.label}, {name}" if name else self.label,
            where=self.where,
        )

    def write(
        self, fitted: Fitted, state: Mapping[str, Any], manifest: Mapping[str, Any], log_path: str | os.PathLike
    ) -> dict[str, Any]:
        """Write log, weights and manifest, remove the states, and return the manifest as written."""
        from evenface.checkpoints import save_model

        write_history(fitted.history, log_path)
        written = save_model(
            self.out,
            state,
            {
                **manifest,
                "seed": self.seed,
                "settings": self.settings.model_dump(mode="json"),
                "best_epoch": fitted.best_epoch,
                "epochs": len(fitted.history),
                "environment": self.environment,
            },
        )
        shutil.rmtree(self.folder, ignore_errors=True)
        return written


def write_history(history: list[dict[str, float]], path: str | os.PathLike) -> None:
    """Write one CSV line per round of steps."""
    write_csv(pd.DataFrame(history), path)
