"""The device and precision of networks; if the caller does not choose, the machine's hardware decides."""

from __future__ import annotations

import logging

log = logging.getLogger("evenface")


def choose_device(device: str = "auto") -> str:
    """``cpu`` or ``cuda``. ``auto`` and ``cuda`` use a GPU if there is one; without, both run on the CPU."""
    import torch

    if device == "cpu":
        return "cpu"
    if device not in ("auto", "cuda"):
        raise ValueError(f"device {device!r} is not one of auto, cpu, cuda")
    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        log.info("no GPU found; running on the CPU")
    return "cpu"


def choose_precision(precision: str, device: str) -> str:
    """``bfloat16`` or ``float32``; ``auto`` is bfloat16 if the processor computes in it."""
    import torch

    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    native = any(
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return "bfloat16" if native else "float32"


def deterministic() -> None:
    """Let torch compute by algorithms that give the same bits every time, and warn where it has none.

    As ``torch.use_deterministic_algorithms(True, warn_only=True)``, which besides imports torch's compiler: seconds that
    every job would pay.
    """
    import torch

    torch.set_deterministic_debug_mode("warn")
