"""A training of so many steps: any loss, averaged weights, and a state on disk from which it goes on.

Where ``training.loop`` counts epochs of labelled faces and keeps the best network, this loop counts
steps and keeps an average of the weights, as generative models are trained. Everything random in a
step is drawn from that step's own generator, so that a training that was killed and started again takes
the same steps as one that was not.
"""

from __future__ import annotations

import io
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from evenface.checkpoints import read_state
from evenface.errors import UserError
from evenface.seeds import seed_from
from evenface.storage.atomic import write_bytes
from evenface.storage.csv import write_csv

log = logging.getLogger("evenface")

#: Seconds between two progress lines.
_REPORT_EVERY = 30.0

#: Settings of the loop. ``learning_rate`` is reached after ``warmup`` steps, held, and falls to 0 over the last
#: ``decay`` (share) of ``steps``; ``average`` is the decay of the weights' running mean; ``clip`` bounds the
#: norm of the gradient; ``log_every`` is in steps.
DEFAULTS: dict[str, Any] = {
    "steps": 1000,
    "batch_size": 32,
    "learning_rate": 5e-4,
    "weight_decay": 0.01,
    "warmup": 200,
    "decay": 0.25,
    "average": 0.999,
    "clip": 1.0,
    "save_seconds": 180,
    "log_every": 50,
}

#: Settings that change no step already taken: a state is continued when one of them was edited.
PACE = ("steps", "decay", "save_seconds", "log_every")

#: The loss of one step, and numbers for the log: ``loss_of(step, generator)``.
LossOf = Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]


class Batches:
    """Rows of batches that pass over all ``count`` rows, in a new order each time."""

    def __init__(self, count: int, size: int, seed: int):
        self.count, self.size, self.seed = count, size, seed
        self._orders: dict[int, np.ndarray] = {}

    def rows(self, step: int) -> np.ndarray:
        """The rows of a step (from 0), int64 (size,)."""
        places = np.arange(step * self.size, (step + 1) * self.size)
        passes = places // self.count
        self._orders = {int(p): self._order(int(p)) for p in np.unique(passes)}
        return np.array([self._orders[p][i] for p, i in zip(passes, places % self.count, strict=True)], np.int64)

    def _order(self, number: int) -> np.ndarray:
        known = self._orders.get(number)
        if known is not None:
            return known
        return np.random.Generator(np.random.PCG64(seed_from(self.seed, "order", number))).permutation(self.count)


def rate_at(step: int, settings: Mapping[str, Any]) -> float:
    """Learning rate of a step (from 0): linear warm-up, constant, linear to 0."""
    left = (settings["steps"] - step) / max(settings["decay"] * settings["steps"], 1)
    return settings["learning_rate"] * min((step + 1) / max(settings["warmup"], 1), left, 1.0)


class _Training:
    """All that changes while training, and its copy on disk."""

    def __init__(self, modules: Mapping[str, nn.Module], settings: Mapping[str, Any], digest: str, path: Path | None):
        self.modules, self.digest, self.path = dict(modules), digest, path
        self.parameters = [p for m in self.modules.values() for p in m.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, settings["learning_rate"], weight_decay=settings["weight_decay"], fused=True
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.step = 0
        self.sums: dict[str, float] = {}
        self.counted = 0
        self.history: list[dict[str, float]] = []

    _PLAIN = ("step", "sums", "counted", "history", "digest")

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the average towards the weights; early on it forgets faster, so as not to hold the first ones."""
        keep = min(decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - keep)

    def take_averages(self) -> None:
        """Give the modules the averaged weights."""
        for parameter, mean in zip(self.parameters, self.average, strict=True):
            parameter.data.copy_(mean)

    def save(self) -> None:
        if self.path is None:
            return
        content = {name: getattr(self, name) for name in self._PLAIN}
        content |= {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
        }
        # Through memory: on a full disk PyTorch's own writer fails with a RuntimeError that names no file.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.path, buffer.getvalue())

    def restore(self) -> bool:
        """Take over the state on disk; False when there is none, or it is another training's."""
        if self.path is None or not self.path.is_file():
            return False
        try:
            content = read_state(self.path)
            if content["digest"] != self.digest:
                log.info("%s belongs to other data or settings; starting from the beginning", self.path)
                return False
        except (UserError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s); starting from the beginning", self.path, error)
            return False
        for name, module in self.modules.items():
            module.load_state_dict(content["modules"][name])
        self.optimiser.load_state_dict(content["optimiser"])
        self.average = content["average"]
        for name in self._PLAIN:
            setattr(self, name, content[name])
        return True


def train_steps(
    modules: Mapping[str, nn.Module],
    loss_of: LossOf,
    settings: Mapping[str, Any],
    *,
    seed: int,
    digest: str = "",
    state_path: Path | None = None,
    log_path: Path | None = None,
    label: str = "training",
) -> None:
    """Take the steps that are left with AdamW, and leave the modules with their averaged weights.

    ``settings`` has the keys of ``DEFAULTS``; parameters that require no gradient stay as they are.
    With ``state_path`` the training writes its state there from time to time, and goes on from it when it
    finds one with the same ``digest``. ``log_path`` gets a CSV with a line per ``log_every`` steps: step,
    learning_rate, loss and the numbers of ``loss_of``, as means. Raises UserError when the loss is no
    longer finite.
    """
    training = _Training(modules, settings, digest, state_path)
    if training.restore():
        log.info("%s: going on after %d steps", label, training.step)
    for module in modules.values():
        module.train()
    first, start = training.step, time.monotonic()
    reported = saved = start
    while training.step < settings["steps"]:
        step = training.step
        rate = rate_at(step, settings)
        for group in training.optimiser.param_groups:
            group["lr"] = rate
        generator = torch.Generator().manual_seed(seed_from(seed, "step", step))
        loss, numbers = loss_of(step, generator)
        training.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(training.parameters, settings["clip"])
        training.optimiser.step()
        training.step += 1
        training.follow(settings["average"])
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(f"{label}: the loss became {value} in step {step + 1}; lower learning_rate")
        _count(training, {"loss": value, **numbers}, rate, settings["log_every"])
        now = time.monotonic()
        if now - reported >= _REPORT_EVERY:
            speed = (training.step - first) / (now - start)
            log.info(
                "%s: step %d of %d, %.1f images/s, %.0f s left; %s", label, training.step, settings["steps"],
                speed * settings["batch_size"], (settings["steps"] - training.step) / speed, _last(training.history),
            )  # fmt: skip
            reported = now
        if now - saved >= settings["save_seconds"]:
            training.save()
            _write_history(training.history, log_path)
            saved = time.monotonic()
    training.save()
    _write_history(training.history, log_path)
    training.take_averages()


def take_averages(modules: Mapping[str, nn.Module], state_path: Path) -> int:
    """Give modules the averaged weights of an unfinished training; returns how many steps it has taken.

    UserError when there is no such state, or it is of other modules.
    """
    content = read_state(state_path)
    parameters = [p for m in modules.values() for p in m.parameters() if p.requires_grad]
    shapes = [tuple(p.shape) for p in parameters]
    if [tuple(a.shape) for a in content["average"]] != shapes:
        raise UserError(
            f"{state_path}: the state of a training with other settings; give the settings it was begun with"
        )
    for parameter, mean in zip(parameters, content["average"], strict=True):
        parameter.data.copy_(mean)
    return content["step"]


def _count(training: _Training, numbers: Mapping[str, float], rate: float, every: int) -> None:
    for name, value in numbers.items():
        training.sums[name] = training.sums.get(name, 0.0) + value
    training.counted += 1
    if training.step % every == 0:
        means = {name: value / training.counted for name, value in training.sums.items()}
        training.history.append({"step": training.step, "learning_rate": rate, **means})
        training.sums, training.counted = {}, 0


def _last(history: list[dict[str, float]]) -> str:
    return (
        ", ".join(f"{k} {v:.4f}" for k, v in history[-1].items() if k not in ("step", "learning_rate"))
        if history
        else "-"
    )


def _write_history(history: list[dict[str, float]], path: Path | None) -> None:
    if path is not None:
        write_csv(pd.DataFrame(history), path)
