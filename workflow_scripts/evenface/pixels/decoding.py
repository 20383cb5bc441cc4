"""Turns pictures into pixels of one size: decodes, crops and scales them; many pictures use several processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from evenface.errors import UserError
from evenface.pixels.worker import Worker, fit_picture
from evenface.storage.images import ImageError

Item = TypeVar("Item")

#: Pictures of one task: about 50 ms of work, much more than passing the task on costs.
CHUNK = 64
#: For fewer pictures, processes would still be starting when the work is nearly done.
_FEW = 2000


def fit_image(image: np.ndarray, size: tuple[int, int], crop: float | None = None) -> np.ndarray:
    """RGB uint8 image brought to ``size`` (rows, columns) by :func:`evenface.pixels.worker.fit_picture`.

    An image that already has this size is returned unchanged.
    """
    if image.shape[:2] == size and crop in (None, 1.0):
        return image
    return np.asarray(fit_picture(Image.fromarray(image), size, crop))


_START = "import runpy, sys; sys.path[0] = sys.argv[1]; runpy.run_module('evenface.pixels.worker', run_name='__main__')"


@dataclass
class Answer:
    """The results for the pictures of one task, in order.

    ``checksums`` are CRC-32 of the pixels, 0 for a picture that cannot be read; ``errors`` are (position in the task,
    reason, detail) of the unreadable ones. ``payload`` holds what was asked for of each picture, and ``lengths`` the
    number of its bytes.
    """

    checksums: list[int]
    errors: list[tuple[int, str, str]]
    lengths: list[int]
    payload: list[memoryview]


class Decoders:
    """Processes that decode pictures; with ``processes`` 0 the calling thread decodes. Use as a context manager.

    Pillow holds Python's lock for a third of the time of a picture, so threads could use only about two cores.
    """

    def __init__(self, size: tuple[int, int], crop: float | None, processes: int):
        self.fixed = {"size": list(size), "crop": crop}
        self.processes = processes
        self._mine = threading.local()
        self._children: list[_Child] = []
        self._pool = ThreadPoolExecutor(max(processes, 1))

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def __del__(self):
        self.close()

    def close(self) -> None:
        """End the processes, even in the middle of their work."""
        self._pool.shutdown(cancel_futures=True)
        for child in self._children:
            child.close()
        self._children.clear()

    def _ask(self, task: dict[str, Any]) -> Answer:
        worker = getattr(self._mine, "worker", None)
        if worker is None:
            worker = self._mine.worker = _Child() if self.processes else Worker()
            if self.processes:
                self._children.append(worker)
        return Answer(**worker.ask({**self.fixed, **task}))

    def map(self, tasks: Iterable[dict[str, Any]]) -> Iterator[Answer]:
        """Answers to ``tasks`` (see :class:`evenface.pixels.worker.Worker`), in order; a few are computed ahead.

        Raises UserError if the machine failed, which says nothing about a picture.
        """
        if not self.processes:
            yield from map(self._ask, tasks)
            return
        ahead: deque[Future] = deque()
        try:
            for task in tasks:
                ahead.append(self._pool.submit(self._ask, task))
                if len(ahead) > 2 * self.processes + 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


class _Child:
    """A process that runs ``evenface.pixels.worker``: a JSON line each way, and the payload behind its answer."""

    def __init__(self):
        # Not by PYTHONPATH, in which a colon separates folders: the folder's name may have one.
        home = str(Path(__file__).resolve().parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, task: dict[str, Any]) -> dict[str, Any]:
        try:
            self.process.stdin.write(json.dumps(task).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            answer = json.loads(line)
            if "failed" in answer:
                raise UserError(answer["failed"])
            view, filled = memoryview(np.empty(sum(answer["lengths"]), np.uint8)), 0
            while filled < len(view):
                count = self.process.stdout.readinto(view[filled:])
                if not count:
                    raise ValueError
                filled += count
            ends = np.cumsum(answer["lengths"], dtype=np.int64).tolist()
            answer["payload"] = [view[start:end] for start, end in zip([0, *ends], ends)]
        except (OSError, ValueError) as error:
            code = self.process.wait()
            raise UserError(
                f"a process that decodes pictures ended with status {code}; its message is above, and where there is "
                f"none, it was killed: give the rule more mem_mb"
            ) from error
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:  # what it was never told any more
                pass


def processes_for(pictures: int, threads: int) -> int:
    """How many processes decode ``pictures`` pictures, if ``threads`` may be used."""
    return 0 if pictures < _FEW else max(threads, 1)


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Consecutive slices of ``count`` items, ``size`` each."""
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def decoded(
    references: Sequence[str], size: tuple[int, int], *, crop: float | None = None, threads: int = 1
) -> Iterator[np.ndarray | ImageError]:
    """Images of ``references`` in order: each uint8 (rows, columns, 3), or its ImageError."""
    parts = list(chunks(len(references)))
    with Decoders(size, crop, processes_for(len(references), threads)) as decoders:
        answers = decoders.map({"references": list(references[part]), "give": "pixels"} for part in parts)
        for part, answer in zip(parts, answers, strict=True):
            failed = {i: (reason, detail) for i, reason, detail in answer.errors}
            for i, data in enumerate(answer.payload):
                if i in failed:
                    yield ImageError(references[part.start + i], *failed[i])
                else:
                    yield np.frombuffer(data, np.uint8).reshape(*size, 3)
