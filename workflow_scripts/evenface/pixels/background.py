"""Prepares items in a thread, a little ahead of their consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield ``items`` while a thread prepares up to ``depth`` of them ahead; its errors are raised here."""
    ready: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[str, object]) -> None:
        while not stopped.is_set():
            try:
                ready.put(entry, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(("item", item))
                if stopped.is_set():
                    return
            put(("end", None))
        except BaseException as error:  # handed to the consumer, whatever it is
            put(("error", error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()
