"""A nonlinearity between an upsampling and a downsampling filter, as in alias-free networks.

A literal implementation (zeros inserted, full-size filters, surplus samples dropped) mostly multiplies by
zeros, or for samples that are dropped. Here both filters are split into their phases. Each phase of the
upsampled signal is a small depthwise convolution of the input, and the kept samples of the second filter
are a sum over such phases. Zeros and surplus samples are never computed. The result is the same sum in
another order.

Kaiser windows after Oppenheim and Schafer as SciPy designs them; the setting is that of Karras and
others, "Alias-Free Generative Adversarial Networks" (2021), section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

#: Bytes of one map at the upsampled rate that are processed at once; they fit into a core's caches.
_BLOCK_BYTES = 1 << 20
#: Number of channels in the vectors of depthwise kernels.
CHANNEL_MULTIPLE = 16

_leaky_relu_out = torch._C._nn.leaky_relu


def low_pass(taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor | None:
    """A Kaiser-windowed low-pass filter of sum 1: float32 (taps,), or (taps, taps) when ``radial``.

    ``cutoff``, transition ``width`` and sampling ``rate`` have the same unit of frequency. The radial filter is the
    jinc function, whose cut-off is the same in every direction, multiplied by two windows. One tap gives None,
    because it does not filter.
    """
    from scipy import signal, special

    if taps == 1:
        return None
    if not radial:
        return torch.as_tensor(signal.firwin(taps, cutoff, width=width, fs=rate), dtype=torch.float32)
    place = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(*np.meshgrid(place, place))
    jinc = special.j1(2 * cutoff * np.pi * radius) / (np.pi * radius)  # an even number of taps has none at 0
    window = np.kaiser(taps, signal.kaiser_beta(signal.kaiser_atten(taps, width / (rate / 2))))
    jinc *= np.outer(window, window)
    return torch.as_tensor(jinc / jinc.sum(), dtype=torch.float32)


@dataclass(frozen=True)
class Resampling:
    """How one axis is resampled: ``size`` samples, inserted zeros, filter, nonlinearity, filter, ``out`` samples.

    At the upsampled rate, ``low`` zeros are put before the first sample (negative: samples are cut off).
    """

    size: int
    out: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    low: int

    @classmethod
    def centred(cls, size: int, out: int, up: int, down: int, up_taps: int, down_taps: int) -> Resampling:
        """The resampling with equal padding at both ends; an odd sample goes to the second end."""
        total = (out - 1) * down + 1 - size * up + up_taps + down_taps - 2
        return cls(size, out, up, down, up_taps, down_taps, (total + up) // 2)

    def __post_init__(self):
        if self.up % self.down or self.up_taps % self.up or self.down_taps % self.down:
            raise ValueError(f"cannot resample by {self.up}/{self.down} with {self.up_taps} and {self.down_taps} taps")

    @property
    def phase_size(self) -> int:
        """Samples of one phase of the signal that the second filter sees."""
        return self.out + self.down_taps // self.down - 1

    def first_tap(self, phase: int) -> int:
        """The first tap of the upsampling filter that meets a sample in that phase, and not an inserted zero."""
        return (self.low - phase) % self.up

    def first_sample(self, phase: int) -> int:
        """The input sample that this tap meets for the first output of the phase (may lie outside the input)."""
        return (phase + self.first_tap(phase) - self.low) // self.up

    def span(self) -> tuple[int, int]:
        """First input sample that any phase reads, and the last one plus 1."""
        steps = -(-self.phase_size * self.down // self.up)
        starts = [self.first_sample(phase) for phase in range(self.up)]
        return min(starts), max(starts) + steps + self.up_taps // self.up - 1


class FilteredActivation:
    """Upsample, leaky ReLU with a gain, clamp, downsample; both axes alike. Float32, constants on one device.

    ``up_filter`` float32 (up_taps,); ``down_filter`` (down_taps,) or, if it is not separable,
    (down_taps, down_taps). The gain up² of upsampling is applied here.
    """

    def __init__(
        self,
        axis: Resampling,
        up_filter: Tensor,
        down_filter: Tensor,
        slope: float,
        gain: float,
        clamp: float | None,
    ):
        self.axis, self.slope, self.clamp = axis, slope, clamp
        up_filter = up_filter.double().flip(0)
        down_filter = down_filter.double()
        if down_filter.ndim == 1:
            down_filter = torch.outer(down_filter, down_filter)
        down_filter = down_filter.flip(0, 1)
        # The nonlinearity is positively homogeneous: its gain may come before it.
        up_filter = up_filter * axis.up * math.sqrt(gain)
        parts = [up_filter[axis.first_tap(p) :: axis.up] for p in range(axis.up)]
        self.largest_gain = max(float(part.abs().sum()) for part in parts) ** 2
        self.up_kernels = [[torch.outer(a, b).float()[None, None] for b in parts] for a in parts]
        self.down_kernels = [
            [down_filter[a :: axis.down, b :: axis.down].float()[None, None] for b in range(axis.down)]
            for a in range(axis.down)
        ]
        self.start, self.end = axis.span()

    @property
    def channels_at_once(self) -> int:
        """How many channels a CPU processes together."""
        per_channel = self.axis.phase_size**2 * 4
        return max(_BLOCK_BYTES // per_channel // CHANNEL_MULTIPLE, 1) * CHANNEL_MULTIPLE

    def __call__(self, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        """``x`` * ``scale`` + ``bias``, filtered: (N, C, size, size) -> (N, C, out, out), channels last.

        ``scale`` (N, C, 1, 1) and ``bias`` (1, C, 1, 1), all float32; C a multiple of 16.
        """
        channels = x.shape[1]
        out = _empty(x, self.axis.out)
        step = self.channels_at_once if x.device.type == "cpu" else channels
        for first in range(0, channels, step):
            part = slice(first, min(first + step, channels))
            self._block(x[:, part], scale[:, part], bias[:, part], out[:, part])
        return out

    def _block(self, x: Tensor, scale: Tensor, bias: Tensor, out: Tensor) -> None:
        axis, channels = self.axis, x.shape[1]
        inside = slice(max(self.start, 0), min(self.end, axis.size))
        padded = _empty(x, self.end - self.start).zero_()
        place = slice(inside.start - self.start, inside.stop - self.start)
        torch.addcmul(bias, x[:, :, inside, inside], scale, out=padded[:, :, place, place])
        bounded = self.clamp is not None and not self._below_clamp(padded)
        phase = _empty(x, axis.phase_size)
        times = axis.up // axis.down
        for a in range(axis.down):
            for b in range(axis.down):
                for i in range(times):
                    for j in range(times):
                        target = phase[:, :, i::times, j::times]
                        self._upsample(padded, a + i * axis.down, b + j * axis.down, target)
                if bounded:
                    phase.clamp_(-self.clamp, self.clamp)
                kernel = self.down_kernels[a][b].expand(channels, -1, -1, -1)
                kept = F.conv2d(phase, kernel, groups=channels)
                if a == b == 0:
                    out.copy_(kept)
                else:
                    out.add_(kept)

    def _upsample(self, padded: Tensor, a: int, b: int, target: Tensor) -> None:
        """Phase (a, b) of the upsampled signal, after the nonlinearity, into ``target``."""
        channels = padded.shape[1]
        kernel = self.up_kernels[a][b].expand(channels, -1, -1, -1)
        whole = F.conv2d(padded, kernel, groups=channels)
        top, left = (self.axis.first_sample(p) - self.start for p in (a, b))
        height, width = target.shape[2:]
        _leaky_relu_out(whole[:, :, top : top + height, left : left + width], self.slope, out=target)

    def _below_clamp(self, padded: Tensor) -> bool:
        """Whether no value can reach the clamp. If a cheap bound shows this, a pass over the larger maps is saved."""
        return padded.device.type == "cpu" and float(padded.abs().amax()) * self.largest_gain < self.clamp


def _empty(like: Tensor, size: int) -> Tensor:
    """Memory for maps of another size."""
    shape = (*like.shape[:2], size, size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
