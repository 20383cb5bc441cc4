"""Methods: a training's networks, parameters, batches, loss and state, and the number that selects its weights.

:class:`Method` is all that the loop knows. :class:`ImageMethod` passes over labelled images in augmented batches.
:class:`Classification` learns binary attributes of images: this is plain training, and most methods are subclasses of
it. A method for the configuration is a :class:`evenface.parts.Method`; its code makes a method from a :class:`Problem`::

    class OnlyTheWorst(Classification):
        def loss(self, outputs, features, rows):
            return (self.losses(outputs, rows) * self.defined(rows)).mean(1).max()

    PART = Method(name="only_the_worst", summary="Learns from the worst image of a batch.", code=OnlyTheWorst)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from evenface.decisions import selected
from evenface.errors import UserError
from evenface.networks.normalisation import CENTRED, Normalisation
from evenface.pixels.order import epoch_order
from evenface.seeds import seed_from
from evenface.targets import blocks
from evenface.taxonomy import GROUP_SEPARATOR, UNKNOWN, group_name
from evenface.training.augmentation import Batch, Degrade, augment, to_input
from evenface.training.forward import autocast, outputs_of
from evenface.training.selection import RULES
from evenface.training.selection import numbers as worst_numbers
from evenface.training.settings import EpochSettings, LoopSettings
from evenface.training.tasks import attribute_numbers, losses_of, masked_bce, one_hot, scores_of

if TYPE_CHECKING:
    import pandas as pd

    from evenface.parts import Settings
    from evenface.training.loop import Fitted
    from evenface.training.session import Session


class Method:
    """One training, as the loop sees it.

    A subclass needs ``loop``, ``networks``, ``steps``, ``round``, ``rate``, ``batch`` and ``loss_of``. Take everything
    random from seeds made of names; only :meth:`loss_of` may use torch's global generator.
    """

    #: Optimiser, precision, and how often the state is saved.
    loop: LoopSettings
    #: Everything with weights, by name: moved to the device, switched between training and evaluation, saved.
    networks: dict[str, nn.Module]
    #: Steps of the whole training, and of a round; weights are judged after every round.
    steps: int
    round: int
    #: Whether the log counts rounds, as epochs, or steps.
    unit: Literal["epoch", "step"] = "epoch"
    #: The number of :meth:`validate` that selects the weights, and whether "min" or "max" is best; None: the last weights.
    selects: tuple[str, Literal["min", "max"]] | None = ("loss", "min")
    #: Rounds without better weights before stopping; 0 never stops early.
    patience: int = 0
    #: Whether another thread prepares batches ahead; set it to False if they depend on what the method keeps.
    ahead: bool = True
    #: Attributes that change while training and are saved: tensors, arrays, numbers, texts, lists and mappings of them.
    keeps: tuple[str, ...] = ()

    def parameters(self) -> Iterable[dict[str, Any]]:
        """Groups for the optimiser: ``params`` and, if they differ, ``weight_decay``, or ``rate_factor`` (times the rate)."""
        return [{"params": [p for n in self.networks.values() for p in n.parameters() if p.requires_grad]}]

    def train_mode(self) -> None:
        """Switch the networks to training, before every round."""
        for network in self.networks.values():
            network.train()

    def rate(self, step: int) -> float:
        """Learning rate of a step (from 0)."""
        raise NotImplementedError

    def batch(self, step: int) -> Any:
        """The batch of a step (from 0): any object with ``rows`` (n,); the same step always gives the same batch."""
        raise NotImplementedError

    def loss_of(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """Scalar loss of a batch, and further numbers for the log. It may change what the method keeps."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """Numbers for the log and for ``selects``; the networks are in evaluation mode."""
        return {}

    def better(self, numbers: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether weights with these numbers are preferred to the best so far."""
        name, direction = self.selects
        return numbers[name] < best[name] if direction == "min" else numbers[name] > best[name]

    def state(self) -> dict[str, Any]:
        """State that must be saved besides networks and optimiser."""
        return {name: getattr(self, name) for name in self.keeps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Load what :meth:`state` returned; tensors go to the device of the present ones."""
        for name, value in state.items():
            now = getattr(self, name, None)
            setattr(self, name, value.to(now.device) if isinstance(now, Tensor) else value)

    def run(self, session: Session) -> Fitted:
        """The whole training. A method of several stages fits each stage under its own name, and returns the last.

        The last stage must use the networks of ``self``, because ``networks["network"]`` is written.
        """
        return session.fit(self)


@dataclass(frozen=True)
class Problem:
    """The data and tools of a method.

    ``pixels`` is uint8 (N, rows, columns, 3), in memory or on disk. ``faces`` has a row for each image, with
    demographics, ``origin`` (real or synthetic) and ``split``. ``labels`` is int8 (N, a) in {+1, -1, 0}, in the order
    of ``attributes``. ``train_rows`` and ``validation_rows`` are positions. ``draw`` makes a network with the initial
    weights of this seed; with a name, it makes other random weights. ``degrade`` changes every training image.
    """

    session: Session
    settings: EpochSettings
    faces: pd.DataFrame
    pixels: Any
    train_rows: np.ndarray
    validation_rows: np.ndarray
    draw: Callable[..., nn.Module]
    labels: np.ndarray | None = None
    attributes: tuple[str, ...] = ()
    normalisation: Normalisation = CENTRED
    degrade: Degrade | None = None

    def but(self, *, settings: Mapping[str, Any] | None = None, **changes: Any) -> Problem:
        """A copy with other rows, networks or settings, for a stage of a method."""
        return replace(self, settings=self.settings.model_copy(update=dict(settings or {})), **changes)

    def groups(self, dimensions: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Group of every image, int64 (N,), and the groups' names, such as ``black|female``; ``unknown`` is a level."""
        names = self.faces[list(dimensions)].astype(str).agg(group_name, axis=1)
        found = sorted(names.unique())
        return names.map({name: i for i, name in enumerate(found)}).to_numpy(np.int64, copy=True), found

    def outputs(self, network: Callable[[Tensor], Tensor], rows: np.ndarray, precision: str | None = None) -> Tensor:
        """Outputs, or ``features``, of ``network`` in evaluation mode for unchanged images: float32 (n, k) on the CPU.

        If ``precision`` is None, it is that of the training.
        """
        return outputs_of(
            network, self.pixels, rows, batch_size=self.settings.batch_size, device=self.session.device,
            precision=precision or self.session.precision, normalisation=self.normalisation,
        )  # fmt: skip


class ImageMethod(Method):
    """Passes over the training images in a new order each time; ``loss`` and ``judge`` say what is learned.

    Override :meth:`order` for another sampler, :meth:`batch` for other batches.
    """

    def __init__(self, problem: Problem, settings: Settings | None = None):
        self.problem, self.settings = problem, settings
        self.networks = {"network": problem.draw()}
        self._seed = problem.session.seed
        self._augmentation = problem.settings.model_dump(include={"flip", "shift", "colour_jitter"})
        self._order: tuple[int, np.ndarray] = (0, np.empty(0, np.int64))

    @property
    def loop(self) -> EpochSettings:
        """The settings of the training."""
        return self.problem.settings

    @property
    def patience(self) -> int:
        """Epochs without better weights before stopping."""
        return self.problem.settings.patience

    @cached_property
    def round(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self.order(1)) / self.problem.settings.batch_size)

    @cached_property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.round * self.problem.settings.epochs

    def rate(self, step: int) -> float:
        """Constant; or rising over 5 % of the steps, then a half cosine to zero."""
        rate = self.problem.settings.learning_rate
        if self.problem.settings.schedule == "constant":
            return rate
        warm = max(round(0.05 * self.steps), 1)
        if step < warm:
            return rate * (step + 1) / warm
        return rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(self.steps - warm, 1)))

    def order(self, epoch: int) -> np.ndarray:
        """Rows of an epoch (from 1), in the order of training; every epoch must have the same number of rows."""
        rows = self.problem.train_rows
        random = np.random.Generator(np.random.PCG64(seed_from(self._seed, "order", epoch)))
        return rows[epoch_order(len(rows), self.problem.settings.order, random)]

    def batch(self, step: int) -> Batch:
        """Augmented images of the step's rows."""
        epoch, step = step // self.round + 1, step % self.round
        if self._order[0] != epoch:
            self._order = epoch, self.order(epoch)
        size = self.problem.settings.batch_size
        return self.augmented(self._order[1][step * size : (step + 1) * size], "augment", epoch, step)

    def augmented(self, rows: np.ndarray, *names: object) -> Batch:
        """The images of ``rows``, randomly changed as the settings say; ``names`` seed the random changes."""
        seed = seed_from(self._seed, *names)
        return augment(self.problem.pixels[rows], rows, self._augmentation, seed, self.problem.degrade)

    def input(self, batch: Batch) -> Tensor:
        """A batch as the network's input, on the device."""
        device = self.problem.session.device
        x = to_input(batch.pixels, device)
        if batch.gain is not None:
            gain, offset = (torch.from_numpy(v).to(device)[:, :, None, None] for v in (batch.gain, batch.offset))
            x = x.mul_(gain).add_(offset).clamp_(-1, 1)
        return self.problem.normalisation(x)

    def forward(self, batch: Batch, name: str = "network") -> tuple[Tensor, Tensor]:
        """Outputs float32 (n, k) and embeddings float32 (n, d) of one of the networks, on the device."""
        network = self.networks[name]
        with autocast(self.problem.session.device, self.problem.session.precision):
            features = network.embed(self.input(batch))
            outputs = network.classify(features)
        return outputs.float(), features.float()

    def loss_of(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss of the network's outputs."""
        return self.loss(*self.forward(batch), batch.rows), {}

    def loss(self, outputs: Tensor, features: Tensor, rows: np.ndarray) -> Tensor:
        """Scalar loss; ``outputs`` float32 (n, k), embeddings ``features`` float32 (n, d), both on the device."""
        raise NotImplementedError

    def validate(self) -> dict[str, float]:
        """The numbers of :meth:`judge` for the validation images."""
        rows = self.problem.validation_rows
        return self.judge(self.problem.outputs(self.networks["network"], rows), rows)

    def judge(self, outputs: Tensor, rows: np.ndarray) -> dict[str, float]:
        """Numbers of the outputs (n, k) for the images ``rows``, all on the CPU."""
        raise NotImplementedError


class Classification(ImageMethod):
    """Binary attributes as independent decisions, and classes of categorical targets as one. Labels 0 are ignored."""

    def __init__(self, problem: Problem, settings: Settings | None = None):
        super().__init__(problem, settings)
        self.labels = torch.tensor(problem.labels)
        self.blocks = blocks(problem.attributes)
        rule = getattr(problem.settings, "select", "loss")
        if rule != "loss":
            self.selects = rule, RULES[rule]

    def losses(self, outputs: Tensor, rows: np.ndarray) -> Tensor:
        """Cross entropy (n, a) of every decision; it counts where :meth:`defined` says so."""
        return losses_of(outputs, self.labels[rows].to(outputs.device), self.blocks)[0]

    def defined(self, rows: np.ndarray) -> Tensor:
        """Which losses count: those of known labels, and of a target only the image's own class. bool (n, a), on the device."""
        labels = self.labels[rows]
        return losses_of(torch.zeros(labels.shape), labels, self.blocks)[1].to(self.problem.session.device)

    def loss(self, outputs: Tensor, features: Tensor, rows: np.ndarray) -> Tensor:
        """Masked cross entropy."""
        return masked_bce(outputs, self.labels[rows].to(outputs.device), self.blocks)

    def judge(self, outputs: Tensor, rows: np.ndarray) -> dict[str, float]:
        """Loss, share of right decisions, and mean balanced accuracy of the attributes that vary; and the number that selects."""
        found = attribute_numbers(outputs, self.labels[rows], self.blocks)
        if self.selects and self.selects[0] in ("worst_class", "worst_group"):
            labels = self.labels[rows].numpy()
            yes = selected(one_hot(scores_of(outputs, self.blocks).numpy(), self.blocks), np.full(labels.shape[1], 0.5))
            found |= worst_numbers(yes == (labels > 0), labels, self._levels[rows])
            if self.selects[0] not in found:
                raise UserError(
                    f"select is {self.selects[0]}, but no validation image has a known group; set select_groups to dimensions that "
                    "the data set labels, or select to worst_class"
                )
        return found

    @cached_property
    def _levels(self) -> np.ndarray:
        """The combination of levels of every image, int64 (N,); -1 if one is not known."""
        codes, names = self.problem.groups(self.problem.settings.select_groups)
        known = [UNKNOWN not in name.split(GROUP_SEPARATOR) for name in names]
        return np.where(np.array(known)[codes], codes, -1)
