"""The states that a training writes, one after every step; a test continues from each, as after a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evenface.training import loop


def states_of(run: Callable[[], object]) -> tuple[object, list[bytes]]:
    """The result of ``run``, and every state that it wrote, in order; its settings have ``save_seconds: 0``."""
    states: list[bytes] = []
    write = loop.write_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "write_bytes", lambda path, data: (states.append(data), write(path, data)))
        return run(), states


def put_state(model: Path, state: bytes, name: str = "state") -> None:
    """Leave the state of an unfinished training of ``model`` where it looks for it."""
    folder = model.with_suffix(".partial")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pt").write_bytes(state)
