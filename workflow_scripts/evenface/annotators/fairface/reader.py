"""FairFace's networks over many face chips, in batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
import torch

from evenface.checkpoints import load_network
from evenface.networks.fairface import HEADS, decode, normalise, resize
from evenface.networks.finite import IN_WORDS, NOT_FINITE, answers_of
from evenface.networks.inference import map_batches, prepare_for_inference
from evenface.storage.images import ImageError
from evenface.training import runtime

Item = TypeVar("Item")

#: The networks' answer for one face: head -> shares float32 (classes,) in the order of ``HEADS``, and the top class.
Answer = dict[str, tuple[np.ndarray, str]]


class FaceReader:
    """The networks of FairFace, prepared once for many chips.

    ``weights`` is the file of seven races, gender and age; ``weights_4`` is that of four races, or None.
    ``precision`` is one of: ``float32``, where outputs agree with the original's to 1e-5 of the largest (usually
    1e-6); ``bfloat16``, where they agree to 1e-2 of the largest, and probabilities differ by up to 0.01; ``auto``,
    which is bfloat16 if the processor has it; ``published``, which runs the networks unchanged, a chip at a time, and
    gives the original's digits on the same machine. ``threads`` batches of ``batch_size`` chips are computed at a
    time. The number of threads does not change any answer; the batch size changes only the rounding.
    """

    def __init__(
        self,
        weights: str | os.PathLike,
        weights_4: str | os.PathLike | None = None,
        *,
        batch_size: int = 32,
        precision: str = "float32",
        device: str = "cpu",
        threads: int = 1,
    ):
        runtime.prepare(threads)
        self.device = runtime.choose_device(device)
        self.batch_size, self.threads = batch_size, threads
        files = {"fairface-7": weights, "fairface-4": weights_4}
        self._networks = {n: load_network(n, path, self.device) for n, path in files.items() if path is not None}
        if precision == "published":
            self.batch_size = 1
        else:
            precision = runtime.choose_precision(precision, self.device)
            self._networks = {n: prepare_for_inference(net, precision) for n, net in self._networks.items()}
        #: Heads that are answered, and their classes.
        self.heads = {head: classes for name in self._networks for head, classes in HEADS[name].items()}

    def read(
        self, items: Iterable[Item], chip_of: Callable[[Item], np.ndarray] = lambda chip: chip
    ) -> Iterator[tuple[Item, Answer | ImageError]]:
        """Every item with its answer, in order. ``chip_of`` gives the chip, RGB uint8 (H, W, 3), normally 300 x 300.

        ``chip_of`` runs in the threads of the networks, so decoding is parallel too. If it raises an ImageError, the
        error is that item's answer. So is an ImageError with the reason ``not_finite`` if a network gave NaN or infinity.
        """
        items = iter(items)
        batches = iter(lambda: list(islice(items, self.batch_size)), [])
        for pairs in map_batches(lambda batch: self._answers(batch, chip_of), batches, self.threads):
            yield from pairs

    def _answers(
        self, batch: list[Item], chip_of: Callable[[Item], np.ndarray]
    ) -> list[tuple[Item, Answer | ImageError]]:
        answers: list[Answer | ImageError] = []
        pixels = []
        for item in batch:
            try:
                pixels.append(resize(chip_of(item)))
                answers.append({})
            except ImageError as error:
                answers.append(error)
        if not pixels:
            return list(zip(batch, answers, strict=True))
        x = normalise(torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy()).to(self.device))
        readable = [answer for answer in answers if isinstance(answer, dict)]
        outputs = [o.numpy() for o in answers_of(*(network(x) for network in self._networks.values()))]
        for name, output in zip(self._networks, outputs, strict=True):
            for head, (shares, classes) in decode(name, output).items():
                for answer, row, best in zip(readable, shares, classes, strict=True):
                    answer[head] = row, best
        places = [place for place, answer in enumerate(answers) if isinstance(answer, dict)]
        for place, numbers in zip(places, outputs[0], strict=True):
            if np.isnan(numbers).any():  # then those of the other network are NaN too
                answers[place] = ImageError("face", NOT_FINITE, IN_WORDS)
        return list(zip(batch, answers, strict=True))
