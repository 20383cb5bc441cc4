"""Measures several ways of doing one thing in turns, each in its own process, so that settings do not mix."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def _processor() -> float:
    """Seconds of processor time of this process and of the children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _serve(prepare: Callable[..., Callable[[], Any]], arguments: tuple, pipe: Connection) -> None:
    work = prepare(*arguments)
    work()  # to warm up
    pipe.send("ready")
    while True:
        pipe.recv()
        wall, processor = time.perf_counter(), _processor()
        result = work()
        pipe.send((time.perf_counter() - wall, _processor() - processor, result))


def measure(ways: dict[str, tuple], rounds: int) -> dict[str, dict[str, Any]]:
    """Best wall and processor seconds of each way over ``rounds`` turns, and its last result.

    ``ways``: name -> (function, arguments...). The function is called once in a new process and returns the function to
    time. The ways take turns, so that a disturbance of the machine affects all equally.
    """
    context = multiprocessing.get_context("spawn")
    running: dict[str, tuple[Any, Connection]] = {}
    found: dict[str, dict[str, Any]] = {}
    try:
        for name, (prepare, *arguments) in ways.items():
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(prepare, tuple(arguments), theirs))
            process.start()
            running[name] = process, ours
            theirs.close()
            ours.recv()  # one at a time, so that warming up does not disturb
        for _ in range(rounds):
            for name, (_, pipe) in running.items():
                pipe.send(True)
                wall, processor, result = pipe.recv()
                best = found.setdefault(name, {"wall": wall, "processor": processor})
                best.update(wall=min(best["wall"], wall), processor=min(best["processor"], processor), result=result)
    finally:
        for process, _ in running.values():
            process.terminate()
            process.join()
    return found


def show(found: dict[str, dict[str, Any]], items: int, unit: str, first: str) -> None:
    """Print rates, and how many times the rate of the way ``first`` each is, by wall and by processor time."""
    base = found[first]
    for name, best in found.items():
        print(
            f"{name:44} {items / best['wall']:7.1f} {unit}/s   {base['wall'] / best['wall']:5.2f} x   "
            f"processor time {1e3 * best['processor'] / items:7.1f} ms, {base['processor'] / best['processor']:5.2f} x"
        )
