"""How torch runs here: threads, memory, determinism, device and precision."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sys

from evenface.networks.device import choose_device, choose_precision, deterministic

__all__ = ["choose_device", "choose_precision", "keep_freed_memory", "prepare", "versions"]

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Let glibc reuse freed blocks of any size instead of returning them to the kernel.

    Activations of some 100 MB are allocated and freed in every step. By default each is a fresh
    mapping whose pages are faulted in again, which costs more than the arithmetic: training of
    Slim-CNN was measured twice as fast with this. No effect on other systems.
    """
    if sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def prepare(threads: int) -> None:
    """Set torch's thread count, memory reuse and deterministic algorithms for this process.

    Sums are split over threads, so the number of threads changes the last bits of a result: pass a
    number from the configuration, not the number of cores at hand.
    """
    # Threads that wait must sleep: spinning ones take the processor from whatever else runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    import torch

    torch.set_num_threads(threads)
    deterministic()
    torch.backends.cudnn.benchmark = False


def versions() -> dict[str, str]:
    """Versions of what decides the numbers a training gives."""
    from evenface import __version__

    names = ("torch", "numpy", "pillow", "safetensors")
    return {
        "evenface": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }
