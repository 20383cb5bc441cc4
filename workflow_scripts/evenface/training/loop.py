"""The one training loop, for every method. A killed training continues from its saved state.

A method (:class:`evenface.training.method.Method`) says what is trained, on which batches and with which loss. The
loop takes the steps, saves and restores the state, reports progress, judges after every round of steps, and keeps the
weights that the method's own numbers select. Every random choice comes from a seed made of names (round and step). A
training that was killed and started again therefore takes the same steps as an uninterrupted one.
"""

from __future__ import annotations

import io
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evenface.checkpoints import read_state
from evenface.checkpoints.stored import ITEM_BYTES
from evenface.errors import UserError
from evenface.pixels.background import prefetch
from evenface.storage.atomic import write_bytes
from evenface.training.method import Method
from evenface.training.settings import LoopSettings

log = logging.getLogger("evenface")

#: Seconds between two progress lines.
_REPORT_EVERY = 5.0
#: Key that marks a NumPy array among the values that a method keeps.
_ARRAY = "numpy array"


@dataclass
class Fitted:
    """A finished training; its method's networks hold the selected weights, in evaluation mode.

    ``history`` has a row per round of steps: epoch (or step), learning_rate, and the loss and further numbers as
    means over its images; numbers of the validation are called ``validation_<name>``. ``best_epoch`` is the round
    (from 1) whose weights were selected.
    """

    history: list[dict[str, float]]
    best_epoch: int


def fit(
    method: Method,
    *,
    device: str = "cpu",
    digest: str = "",
    state_path: Path | None = None,
    label: str = "training",
    where: str = "",
) -> Fitted:
    """Take the remaining steps of ``method``, and give its networks the selected weights.

    With ``state_path``, the training regularly writes its state there. If it finds a state with the same ``digest``, it
    continues from it. Raises UserError if there is nothing to train, or when the loss, the number that selects the
    weights, or a weight is no longer finite; ``where`` is the place of the settings, for this message.
    """
    state = _State(method, device, digest, state_path)
    if not state.parameters:
        raise UserError(f"{label}: every parameter is frozen, so nothing can be trained; let the method train some")
    if state.restore():
        log.info("%s: going on after %s", label, _position(method, state.step))
    report = _Progress(label, method, state)
    saved = time.monotonic()
    while True:
        if state.images and state.step % method.round == 0:
            _end_round(state, label, where)
        if state.step >= method.steps or _exhausted(state):
            break
        method.train_mode()
        end = min(state.step + method.round - state.step % method.round, method.steps)
        batches = (method.batch(step) for step in range(state.step, end))
        for batch in prefetch(batches) if method.ahead else batches:
            _step(state, batch, label, where)
            report.advance(len(batch.rows))
            if time.monotonic() - saved > method.loop.save_seconds:
                state.save()
                saved = time.monotonic()
    state.save()
    state.select()
    if not all(parameter.isfinite().all() for parameter in state.parameters):
        raise _diverged(label, f"weights are not finite after {_position(method, state.step)}", where)
    return Fitted(state.history, state.best_round)


def _step(state: _State, batch: Any, label: str, where: str) -> None:
    """One step of the optimiser, and its numbers added to the round's."""
    method, settings, optimiser = state.method, state.method.loop, state.optimiser
    rate = method.rate(state.step)
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)
    loss, numbers = method.loss_of(batch)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if settings.clip:
        nn.utils.clip_grad_norm_(state.parameters, settings.clip)
    optimiser.step()
    state.step += 1
    if settings.average:
        state.follow(settings.average)
    value = loss.item()
    if not math.isfinite(value):
        raise _diverged(label, f"the loss became {value} in {_position(method, state.step)}", where)
    count = len(batch.rows)
    for name, number in {"loss": value, **numbers}.items():
        state.sums[name] = state.sums.get(name, 0.0) + number * count
    state.images += count


def _diverged(label: str, what: str, where: str) -> UserError:
    return UserError(f"{label}: {what}; lower {where}{'.' if where else ''}learning_rate")


def _end_round(state: _State, label: str, where: str) -> None:
    """Judge the weights, keep them if they are the best so far, and begin the next round."""
    method = state.method
    with state.averaged():
        for network in method.networks.values():
            network.eval()
        numbers = method.validate()
        judged = method.selects[0] if method.selects else "loss"
        if not math.isfinite(numbers.get(judged, 0)):
            what = f"the validation's {judged} became {numbers[judged]} in {_position(method, state.step)}"
            raise _diverged(label, what, where)
        chosen = method.selects and (state.best is None or method.better(numbers, state.best_numbers))
        if chosen:
            state.best = {k: v.detach().cpu().clone() for k, v in state.together.state_dict().items()}
            state.best_round, state.best_numbers = state.step // method.round, numbers
    means = {name: value / state.images for name, value in state.sums.items()}
    by_epoch = method.unit == "epoch"
    state.history.append(
        {
            method.unit: state.step // method.round if by_epoch else state.step,
            # Not the optimiser's own rate: a training that continues from the end of a round takes no step in that round.
            "learning_rate": method.rate(state.step - 1),
            **{f"train_{name}" if by_epoch else name: value for name, value in means.items()},
            **{f"validation_{name}": value for name, value in numbers.items()},
        }
    )
    judged = f"; validation {_listed(numbers)}{' (best)' if chosen else ''}" if numbers else ""
    log.info("%s: %s, %s%s", label, _position(method, state.step), _listed(means), judged)
    state.sums, state.images = {}, 0


def _position(method: Method, step: int) -> str:
    """How far a training of ``step`` steps is."""
    if method.unit == "step":
        return f"step {step} of {method.steps}"
    epoch = max(step - 1, 0) // method.round
    return f"epoch {epoch + 1} of {method.steps // method.round}, step {step - epoch * method.round} of {method.round}"


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in numbers.items())


def _exhausted(state: _State) -> bool:
    patience = state.method.patience
    return bool(patience) and state.best is not None and state.step // state.method.round - state.best_round >= patience


def _optimiser(groups: list[dict[str, Any]], settings: LoopSettings) -> torch.optim.Optimizer:
    shared = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum, **shared)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimiser](groups, **shared)


class _State:
    """All that changes while training, and its copy on disk."""

    _PLAIN = ("digest", "step", "sums", "images", "best", "best_round", "best_numbers", "average", "history")

    def __init__(self, method: Method, device: str, digest: str = "", path: Path | None = None):
        self.method, self.device, self.digest, self.path = method, device, digest, path
        self.together = nn.ModuleDict(method.networks).to(device, memory_format=torch.channels_last)
        groups = [{**group, "params": list(group["params"])} for group in method.parameters()]
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimiser = _optimiser(groups, method.loop) if self.parameters else None
        self.average = [p.detach().clone() for p in self.parameters] if method.loop.average else []
        self.step, self.images = 0, 0
        self.sums: dict[str, float] = {}
        self.best: dict[str, Tensor] | None = None
        self.best_round, self.best_numbers = 0, {}
        self.history: list[dict[str, float]] = []

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the average towards the weights; early on it forgets faster, so as not to hold the first ones."""
        keep = min(decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - keep)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """In the block, the networks have their averaged weights, if averages are kept."""
        own = [p.detach().clone() for p in self.parameters] if self.average and self.method.selects else []
        if own:
            self._take(self.average)
        yield
        if own:
            self._take(own)

    def _take(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.data.copy_(value)

    def select(self) -> None:
        """Give the networks the selected weights: the best, or the average, or the last."""
        if self.best is not None:
            self.together.load_state_dict(self.best)
        elif self.average:
            self._take(self.average)
        for network in self.method.networks.values():
            network.eval()

    def save(self) -> None:
        if self.path is None:
            return
        content = {name: getattr(self, name) for name in self._PLAIN}
        content |= {
            "networks": self.together.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "method": _packed(self.method.state(), "state()"),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.startswith("cuda") else None,
        }
        # Written through memory, because on a full disk PyTorch's own writer raises a RuntimeError without the file's name.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.path, buffer.getvalue())

    def restore(self) -> bool:
        """Load the state on disk; False if there is none, or if it belongs to another training."""
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
        self.together.load_state_dict(content["networks"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.method.load_state(_unpacked(content["method"]))
        torch.set_rng_state(content["random"])
        if content["random_cuda"] is not None:
            torch.cuda.set_rng_state(content["random_cuda"], self.device)
        for name in self._PLAIN:
            setattr(self, name, content[name])
        self.average = [value.to(self.device) for value in self.average]
        return True


def _packed(value: Any, where: str) -> Any:
    """What a method keeps, in types that the reader of states understands; TypeError naming another type."""
    if isinstance(value, Mapping):
        return {key: _packed(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_packed(item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub":
        return {_ARRAY: _packed(torch.from_numpy(np.array(value)), where)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor) and str(value.dtype).removeprefix("torch.") in ITEM_BYTES:
        return value
    what = f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
    raise TypeError(f"{where} is a {what}; keep tensors, arrays, numbers, texts, lists and mappings")


def _unpacked(value: Any) -> Any:
    if isinstance(value, Mapping):
        # A NumPy number is an array without dimensions.
        return value[_ARRAY].numpy()[()] if set(value) == {_ARRAY} else {k: _unpacked(v) for k, v in value.items()}
    return type(value)(_unpacked(item) for item in value) if isinstance(value, (list, tuple)) else value


class _Progress:
    """A line every few seconds: where the training is, how fast, and how long it still takes."""

    def __init__(self, label: str, method: Method, state: _State):
        self.label, self.method, self.state = label, method, state
        self.images, self.first = 0, state.step
        self.start = self.last = time.monotonic()

    def advance(self, count: int) -> None:
        self.images += count
        now = time.monotonic()
        if now - self.last >= _REPORT_EVERY:
            taken, passed = self.state.step - self.first, now - self.start
            log.info(
                "%s: %s, %.0f images/s, %.0f s left", self.label, _position(self.method, self.state.step),
                self.images / passed, (self.method.steps - self.state.step) * passed / taken,
            )  # fmt: skip
            self.last = now
