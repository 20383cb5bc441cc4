"""Batches of one fixed size, which is halved when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from evenface.errors import UserError

log = logging.getLogger("evenface")

Item = TypeVar("Item")
Drawn = TypeVar("Drawn")

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the GPU or in PyTorch's or Python's allocator."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or any(word in text for word in _WORDS)
    )


class Batches:
    """Hands out items in batches of exactly ``size``; the size stays halved once memory has run out.

    A short batch is filled up with copies of its last item, which are thrown away. Kernels choose their order of
    adding by the shape of a batch. An image therefore differs in its last bits in a batch of another size, but not
    beside other images.
    """

    def __init__(self, size: int, free: Callable[[], None] = lambda: None):
        self.size, self._free = size, free

    def run(self, items: Sequence[Item], draw: Callable[[Sequence[Item]], Sequence[Drawn]]) -> Iterator[Drawn]:
        """Results of ``draw`` in the order of ``items``. UserError if memory is too small for a single item."""
        done = 0
        while done < len(items):
            batch = list(items[done : done + self.size])
            drawn = self._tried([*batch, *[batch[-1]] * (self.size - len(batch))], draw)
            if drawn is None:
                continue
            yield from drawn[: len(batch)]
            done += len(batch)

    def _tried(
        self, batch: Sequence[Item], draw: Callable[[Sequence[Item]], Sequence[Drawn]]
    ) -> Sequence[Drawn] | None:
        """What was drawn; None after the size was halved."""
        try:
            return draw(batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if self.size == 1:
                raise UserError(
                    "there is too little memory for a single image; give the rule more mem_mb, or set a smaller size, "
                    "attention_slicing, offload or precision: float16"
                ) from error
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        # Outside of the except clause: its traceback would keep the failed batch's tensors.
        log.warning("out of memory with %d images at a time, going on with %d (%s)", self.size, self.size // 2, reason)
        self.size //= 2
        self._free()
        return None
