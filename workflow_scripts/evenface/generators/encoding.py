"""Encodes images in a thread while the next ones are drawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Encoded = TypeVar("Encoded")

#: Most bytes of pixels that wait to be encoded: about 20 images of a megapixel.
WAITING = 64 * 1024 * 1024


def encode_ahead(
    items: Iterable[Item], encode: Callable[[Item], Encoded], size: Callable[[Item], int], *, waiting: int = WAITING
) -> Iterator[Encoded]:
    """``encode`` of every item, in order, computed in one thread while ``items`` makes the next.

    ``size`` gives an item's bytes. While more than ``waiting`` bytes are not encoded, no further item is taken from
    ``items``. Errors of ``items`` and ``encode`` are raised here. When this ends, the thread has ended too.
    """
    queue: deque[tuple[Future[Encoded], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(1, "encode")
    try:
        for item in items:
            weight = size(item)
            queue.append((pool.submit(encode, item), weight))
            held += weight
            while queue and (held > waiting or queue[0][0].done()):
                future, weight = queue.popleft()
                held -= weight
                yield future.result()
        while queue:
            yield queue.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)
