"""The training loop: any network, any task, one best checkpoint, and a state to go on from.

Every random choice is drawn from a seed made of names (epoch and step), so that a training that
was killed and started again takes the same steps as one that was not.
"""

from __future__ import annotations

import io
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from evenface.checkpoints import read_state
from evenface.errors import UserError
from evenface.pixels.background import prefetch
from evenface.pixels.faces import Pixels
from evenface.pixels.order import epoch_order
from evenface.seeds import seed_from
from evenface.storage.atomic import write_bytes
from evenface.training.augmentation import Batch, Degrade, augment, to_input

log = logging.getLogger("evenface")

#: Seconds between two progress lines.
_REPORT_EVERY = 5.0


class Task(Protocol):
    """What is learnt. ``rows`` are positions in the pixel array."""

    def loss(self, outputs: Tensor, rows: np.ndarray) -> Tensor:
        """Scalar loss of one batch; ``outputs`` is float32 (n, k)."""
        ...

    def validate(self, outputs: Tensor, rows: np.ndarray) -> dict[str, float]:
        """Numbers for the log, ``loss`` among them; ``outputs`` holds the whole validation set."""
        ...


@dataclass
class FitResult:
    """The best network of a training: ``state`` as of epoch ``best_epoch`` (from 1), and the log.

    ``history`` has one dict per epoch: epoch, learning_rate, train_loss, and for each number of the
    task's validation ``validation_<name>``.
    """

    state: dict[str, Tensor]
    best_epoch: int
    history: list[dict[str, float]]


def _batches(
    pixels: np.ndarray | Pixels,
    rows: np.ndarray,
    settings: Mapping[str, Any],
    seed: int,
    epoch: int,
    first: int,
    degrade: Degrade | None = None,
) -> Iterator[Batch]:
    """The steps of one epoch from ``first`` on; order and augmentation depend on names only."""
    random = np.random.Generator(np.random.PCG64(seed_from(seed, "order", epoch)))
    order = epoch_order(len(rows), settings["order"], random)
    size = settings["batch_size"]
    for step in range(first, math.ceil(len(rows) / size)):
        chosen = rows[order[step * size : (step + 1) * size]]
        yield augment(pixels[chosen], chosen, settings, seed_from(seed, "augment", epoch, step), degrade)


def _input(batch: Batch, device: str) -> Tensor:
    x = to_input(batch.pixels, device)
    if batch.gain is not None:
        gain, offset = (torch.from_numpy(v).to(device)[:, :, None, None] for v in (batch.gain, batch.offset))
        x = x.mul_(gain).add_(offset).clamp_(-1, 1)
    return x


def autocast(device: str, precision: str) -> torch.autocast:
    """Context in which a network computes in ``precision`` on ``device``."""
    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=precision == "bfloat16")


def outputs_of(
    network: nn.Module, pixels: np.ndarray | Pixels, rows: np.ndarray, *, batch_size: int, device: str, precision: str
) -> Tensor:
    """Outputs float32 (n, k) on the CPU of ``network`` in evaluation mode for ``pixels[rows]``."""
    network.eval()
    batches = (pixels[rows[start : start + batch_size]] for start in range(0, len(rows), batch_size))
    with torch.inference_mode(), autocast(device, precision):
        return torch.cat([network(to_input(batch, device)).float().cpu() for batch in prefetch(batches)])


def _rate(settings: Mapping[str, Any], step: int, steps: int) -> float:
    if settings["schedule"] == "constant":
        return settings["learning_rate"]
    warm = max(round(0.05 * steps), 1)
    if step < warm:
        return settings["learning_rate"] * (step + 1) / warm
    return settings["learning_rate"] * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))


class _State:
    """All that changes while training, and its copy on disk."""

    def __init__(self, network: nn.Module, optimiser: torch.optim.Optimizer, digest: str, path: Path | None):
        self.network, self.optimiser, self.digest, self.path = network, optimiser, digest, path
        self.epoch, self.step = 1, 0
        self.loss_sum, self.images = 0.0, 0
        self.best: dict[str, Tensor] | None = None
        self.best_epoch, self.best_loss = 0, math.inf
        self.history: list[dict[str, float]] = []

    _PLAIN = ("epoch", "step", "loss_sum", "images", "best", "best_epoch", "best_loss", "history", "digest")

    def save(self) -> None:
        if self.path is None:
            return
        content = {name: getattr(self, name) for name in self._PLAIN}
        content |= {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
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
        except (UserError, KeyError, TypeError) as error:  # the training can always start again
            log.warning("%s cannot be read (%s); starting from the beginning", self.path, error)
            return False
        self.network.load_state_dict(content["network"])
        self.optimiser.load_state_dict(content["optimiser"])
        torch.set_rng_state(content["random"])
        for name in self._PLAIN:
            setattr(self, name, content[name])
        return True


class _Progress:
    """A line every few seconds: where the training is, how fast, and how long it still takes."""

    def __init__(self, label: str, epochs: int, images: int, done: int):
        self.label, self.epochs, self.images = label, epochs, images
        self.total, self.first, self.done = epochs * images, done, done
        self.start = self.last = time.monotonic()

    def advance(self, count: int, epoch: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last >= _REPORT_EVERY:
            rate = (self.done - self.first) / (now - self.start)
            log.info(
                "%s: epoch %d of %d, %d of %d images, %.0f images/s, %.0f s left",
                self.label, epoch, self.epochs, self.done - (epoch - 1) * self.images, self.images, rate,
                (self.total - self.done) / max(rate, 1e-9),
            )  # fmt: skip
            self.last = now


def fit(
    network: nn.Module,
    pixels: np.ndarray,
    task: Task,
    train_rows: np.ndarray,
    validation_rows: np.ndarray,
    settings: Mapping[str, Any],
    *,
    seed: int,
    device: str,
    precision: str,
    digest: str = "",
    state_path: Path | None = None,
    label: str = "training",
    degrade: Degrade | None = None,
) -> FitResult:
    """Train with Adam (L2 weight decay) and keep the weights of the lowest validation loss.

    ``settings`` has the keys of ``LOOP_DEFAULTS``; ``pixels`` is uint8 (N, rows, columns, 3). With
    ``state_path`` the training writes its state there from time to time and goes on from it when
    it finds one with the same ``digest``. ``degrade`` is applied to every training image. Raises UserError when the loss is no longer finite.
    """
    network = network.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(
        network.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"], fused=True
    )
    state = _State(network, optimiser, digest, state_path)
    if state.restore():
        log.info("%s: going on after %d epochs and %d steps", label, state.epoch - 1, state.step)
    per_epoch = math.ceil(len(train_rows) / settings["batch_size"])
    steps = per_epoch * settings["epochs"]
    report = _Progress(label, settings["epochs"], len(train_rows), (state.epoch - 1) * len(train_rows) + state.images)
    saved = time.monotonic()

    while state.epoch <= settings["epochs"] and not _exhausted(state, settings["patience"]):
        network.train()
        for batch in prefetch(_batches(pixels, train_rows, settings, seed, state.epoch, state.step, degrade)):
            rate = _rate(settings, (state.epoch - 1) * per_epoch + state.step, steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            with autocast(device, precision):
                outputs = network(_input(batch, device))
            loss = task.loss(outputs.float(), batch.rows)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            value = loss.item()
            if not math.isfinite(value):
                raise UserError(f"{label}: the loss became {value} in epoch {state.epoch}; lower learning_rate")
            state.loss_sum += value * len(batch.rows)
            state.images += len(batch.rows)
            state.step += 1
            report.advance(len(batch.rows), state.epoch)
            if time.monotonic() - saved > settings["save_seconds"]:
                state.save()
                saved = time.monotonic()
        outputs = outputs_of(
            network, pixels, validation_rows, batch_size=settings["batch_size"], device=device, precision=precision
        )
        # Not the loop's own rate: a training that goes on from the end of an epoch takes no step in it.
        rate = _rate(settings, state.epoch * per_epoch - 1, steps)
        _end_epoch(state, task.validate(outputs, validation_rows), rate, label)
    state.save()
    assert state.best is not None
    return FitResult(state.best, state.best_epoch, state.history)


def _exhausted(state: _State, patience: int) -> bool:
    return bool(patience) and state.epoch - 1 - state.best_epoch >= patience and state.best is not None


def _end_epoch(state: _State, numbers: dict[str, float], rate: float, label: str) -> None:
    train_loss = state.loss_sum / state.images
    state.history.append(
        {
            "epoch": state.epoch,
            "learning_rate": rate,
            "train_loss": train_loss,
            **{f"validation_{name}": value for name, value in numbers.items()},
        }
    )
    better = numbers["loss"] < state.best_loss or state.best is None
    if better:
        state.best = {k: v.detach().cpu().clone() for k, v in state.network.state_dict().items()}
        state.best_epoch, state.best_loss = state.epoch, numbers["loss"]
    text = ", ".join(f"{name} {value:.4f}" for name, value in numbers.items())
    log.info(
        "%s: epoch %d, train loss %.4f, validation %s%s",
        label,
        state.epoch,
        train_loss,
        text,
        " (best)" if better else "",
    )
    state.epoch, state.step, state.loss_sum, state.images = state.epoch + 1, 0, 0.0, 0
