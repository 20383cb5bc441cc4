"""StyleGAN3's generators, configurations T and R.

Karras, Aittala, Laine, Härkönen, Hellsten, Lehtinen, Aila, "Alias-Free Generative Adversarial
Networks" (NeurIPS 2021), with the tensor names of the networks that NVIDIA publishes. We wrote it from the
paper and from measurements. It contains nothing of the published program, whose licence allows research only.

The pictures are those of the published networks, but they are computed in another way. The original makes a set of
weights for every picture. Here styles scale the input of a convolution, and normalisation scales its output. The
filters are split into phases (``filtered_activation``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evenface.networks.filtered_activation import CHANNEL_MULTIPLE, FilteredActivation, Resampling, low_pass

_SLOPE = 0.2
_GAIN = math.sqrt(2)
_EPSILON = 1e-8
_OUTPUT_SCALE = 0.25
#: Cycles per image, the last one in units of half the resolution; pixels around the picture in the maps.
_FIRST_CUTOFF, _FIRST_STOPBAND, _LAST_STOPBAND = 2.0, 2**2.1, 2**0.3
_MARGIN = 10
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LayerPlan:
    """One layer: channels, sizes in pixels, sampling rates, cut-offs and half transition widths in cycles per image."""

    name: str
    channels_in: int
    channels_out: int
    size_in: int
    size_out: int
    rate_in: int
    rate_out: int
    cutoff_in: float
    cutoff_out: float
    half_width_in: float
    half_width_out: float
    critical: bool
    last: bool

    @property
    def rate(self) -> int:
        """The sampling rate of the nonlinearity."""
        return max(self.rate_in, self.rate_out) * (1 if self.last else 2)

    @property
    def up(self) -> int:
        return self.rate // self.rate_in

    @property
    def down(self) -> int:
        return self.rate // self.rate_out

    def taps(self, factor: int, filter_size: int) -> int:
        return 1 if factor == 1 or self.last else filter_size * factor


def layer_plans(
    resolution: int,
    colours: int,
    channel_base: int,
    channel_max: int,
    num_layers: int = 14,
    num_critical: int = 2,
) -> list[LayerPlan]:
    """The layers in order; the last plan is the output layer.

    Cut-offs grow geometrically to half the resolution, which the last ``num_critical`` layers share. Stop bands grow
    likewise, to a little more. Sampling rates are powers of two and follow the stop bands.
    """
    steps = np.arange(num_layers + 1)
    exponents = np.minimum(steps / (num_layers - num_critical), 1)
    cutoffs = _FIRST_CUTOFF * (resolution / 2 / _FIRST_CUTOFF) ** exponents
    stopbands = _FIRST_STOPBAND * (resolution / 2 * _LAST_STOPBAND / _FIRST_STOPBAND) ** exponents
    rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, resolution)))).astype(int)
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + 2 * _MARGIN
    sizes[-2:] = resolution
    channels = np.rint(np.minimum(channel_base / 2 / cutoffs, channel_max)).astype(int)
    channels[-1] = colours
    plans = []
    for i in steps:
        before = max(i - 1, 0)
        plans.append(
            LayerPlan(
                name=f"L{i}_{sizes[i]}_{channels[i]}",
                channels_in=int(channels[before]),
                channels_out=int(channels[i]),
                size_in=int(sizes[before]),
                size_out=int(sizes[i]),
                rate_in=int(rates[before]),
                rate_out=int(rates[i]),
                cutoff_in=float(cutoffs[before]),
                cutoff_out=float(cutoffs[i]),
                half_width_in=float(half_widths[before]),
                half_width_out=float(half_widths[i]),
                critical=bool(i >= num_layers - num_critical),
                last=bool(i == num_layers),
            )
        )
    return plans


class Dense(nn.Module):
    """A linear layer whose stored weights are scaled when used: by ``rate``/sqrt(inputs), the bias by ``rate``."""

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.rate = rate
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * (self.rate / math.sqrt(self.weight.shape[1])), self.bias * self.rate)


def _unit_scale(x: Tensor) -> Tensor:
    """Vectors divided by the root of their mean square."""
    return x * (x.square().mean(1, keepdim=True) + _EPSILON).rsqrt()


class MappingNetwork(nn.Module):
    """z (and a label) -> w, float32 (N, z_dim) (and (N, c_dim)) -> (N, w_dim)."""

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_layers: int, rate: float = 0.01):
        super().__init__()
        self.num_layers = num_layers
        if c_dim:
            self.embed = Dense(c_dim, w_dim)
        for i in range(num_layers):
            inputs = w_dim if i else z_dim + (w_dim if c_dim else 0)
            setattr(self, f"fc{i}", Dense(inputs, w_dim, rate))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        x = _unit_scale(z.float())
        if labels is not None:
            x = torch.cat([x, _unit_scale(self.embed(labels.float()))], 1)
        for i in range(self.num_layers):
            x = F.leaky_relu(getattr(self, f"fc{i}")(x), _SLOPE) * _GAIN
        return x


class FourierInput(nn.Module):
    """The first map: sinusoids under a rotation and translation that the first style vector gives."""

    def __init__(self, w_dim: int, channels: int, size: int, rate: float, bandwidth: float):
        super().__init__()
        self.channels, self.size, self.rate, self.bandwidth = channels, size, rate, bandwidth
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = Dense(w_dim, 4)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        # Directions at random, frequencies uniform in the disc of the bandwidth.
        freqs = F.normalize(torch.randn(channels, 2)) * torch.rand(channels, 1).sqrt() * bandwidth
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        """(N, w_dim) -> (N, channels, size, size) float32, channels last."""
        t = self.affine(w.float())
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        one, zero = torch.ones_like(t[:, 0]), torch.zeros_like(t[:, 0])
        rotation = torch.stack([t[:, 0], -t[:, 1], zero, t[:, 1], t[:, 0], zero, zero, zero, one], 1).view(-1, 3, 3)
        shift = torch.stack([one, zero, -t[:, 2], zero, one, -t[:, 3], zero, zero, one], 1).view(-1, 3, 3)
        combined = rotation @ shift @ self.transform
        phases = self.phases + (self.freqs @ combined[:, :2, 2:]).squeeze(2)
        freqs = self.freqs @ combined[:, :2, :2]
        # Frequencies beyond the band fade out.
        amplitudes = (1 - (freqs.norm(dim=2) - self.bandwidth) / (self.rate / 2 - self.bandwidth)).clamp(0, 1)
        theta = torch.zeros(1, 2, 3, device=w.device)
        theta[:, 0, 0] = theta[:, 1, 1] = 0.5 * self.size / self.rate
        grid = F.affine_grid(theta, [1, 1, self.size, self.size], align_corners=False)
        x = grid.view(1, -1, 2) @ freqs.transpose(1, 2) + phases[:, None]
        x = torch.sin(x * (2 * math.pi)) * amplitudes[:, None]
        x = x @ self.weight.t() / math.sqrt(self.channels)
        return x.view(len(w), self.size, self.size, self.channels).permute(0, 3, 1, 2)


@dataclass
class _Constants:
    """What a layer computes from its weights alone; channels are padded with zeros to a multiple of 16."""

    kernel: Tensor
    energy: Tensor | None
    bias: Tensor
    activation: FilteredActivation | None


class SynthesisLayer(nn.Module):
    """Modulated convolution and filtered nonlinearity.

    Maps are (N, channels, size, size). Their channels beyond ``plan.channels_in`` and ``plan.channels_out``
    are zeros, up to a multiple of 16. The output layer has only its colours.
    """

    def __init__(self, plan: LayerPlan, w_dim: int, kernel: int, filter_size: int, radial: bool, clamp: float | None):
        super().__init__()
        self.plan, self.clamp = plan, clamp
        self.kernel = 1 if plan.last else kernel
        self.affine = Dense(w_dim, plan.channels_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(plan.channels_out, plan.channels_in, self.kernel, self.kernel))
        self.bias = nn.Parameter(torch.zeros(plan.channels_out))
        self.register_buffer("magnitude_ema", torch.ones(()))
        up_taps, down_taps = plan.taps(plan.up, filter_size), plan.taps(plan.down, filter_size)
        self.register_buffer("up_filter", low_pass(up_taps, plan.cutoff_in, plan.half_width_in * 2, plan.rate))
        radial = radial and not plan.critical
        self.register_buffer(
            "down_filter", low_pass(down_taps, plan.cutoff_out, plan.half_width_out * 2, plan.rate, radial)
        )
        self.axis = None if plan.last else Resampling.centred(
            plan.size_in + self.kernel - 1, plan.size_out, plan.up, plan.down, up_taps, down_taps
        )  # fmt: skip

    def constants(self, dtype: torch.dtype) -> _Constants:
        """What :meth:`forward` needs of the weights; those of the convolution have the given type."""
        plan = self.plan
        weight = self.weight.float()
        energy = activation = None
        if plan.last:
            weight = weight / math.sqrt(plan.channels_in * self.kernel**2)
        else:
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            energy = weight.square().sum((2, 3))
            activation = FilteredActivation(self.axis, self.up_filter, self.down_filter, _SLOPE, _GAIN, self.clamp)
        more_in, more_out = (
            -plan.channels_in % CHANNEL_MULTIPLE,
            0 if plan.last else -plan.channels_out % CHANNEL_MULTIPLE,
        )
        kernel = F.pad(weight, (0, 0, 0, 0, 0, more_in, 0, more_out))
        bias = F.pad(self.bias.float(), (0, more_out)).view(1, -1, 1, 1)
        kernel = kernel.to(torch.float32 if plan.last else dtype).contiguous(memory_format=torch.channels_last)
        return _Constants(kernel, energy, bias, activation)

    def forward(self, x: Tensor, w: Tensor, constants: _Constants) -> Tensor:
        plan = self.plan
        styles = self.affine(w.float())
        gain = self.magnitude_ema.rsqrt()
        if plan.last:
            x = F.conv2d(x * _per_channel(styles * gain), constants.kernel) + constants.bias
            return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
        # Computed from a picture's own styles, not from the batch, so that it does not depend on its neighbours;
        # the scale of the styles cancels in the normalisation.
        styles = styles * styles.square().mean(1, keepdim=True).rsqrt()
        scale = (styles.square() @ constants.energy.t() + _EPSILON).rsqrt() * gain
        x = (x * _per_channel(styles)).to(constants.kernel.dtype)
        x = F.conv2d(x, constants.kernel, padding=self.kernel - 1).float()
        return constants.activation(x, _per_channel(scale), constants.bias)


def _per_channel(values: Tensor) -> Tensor:
    """(N, C) -> (N, C padded to a multiple of 16, 1, 1)."""
    return F.pad(values, (0, -values.shape[1] % CHANNEL_MULTIPLE))[:, :, None, None]


class Synthesis(nn.Module):
    """Style vectors -> picture."""

    def __init__(self, w_dim: int, plans: list[LayerPlan], **layer: Any):
        super().__init__()
        first = plans[0]
        self.input = FourierInput(w_dim, first.channels_in, first.size_in, first.rate_in, first.cutoff_in)
        self.names = [plan.name for plan in plans]
        for plan in plans:
            self.add_module(plan.name, SynthesisLayer(plan, w_dim, **layer))

    @property
    def layers(self) -> list[SynthesisLayer]:
        return [getattr(self, name) for name in self.names]

    def forward(self, ws: Tensor, constants: list[_Constants]) -> Tensor:
        """(N, num_ws, w_dim) -> float32 (N, colours, resolution, resolution), about -1 to 1."""
        x = self.input(ws[:, 0])
        x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[1] % CHANNEL_MULTIPLE))
        x = x.contiguous(memory_format=torch.channels_last)
        for number, (layer, constant) in enumerate(zip(self.layers, constants, strict=True)):
            x = layer(x, ws[:, number + 1], constant)
        return x * _OUTPUT_SCALE


class StyleGAN3(nn.Module):
    """The whole generator. Arguments are named as in the published files.

    ``img_resolution`` a power of two from 16; ``conv_kernel`` 3 (configuration T) or 1 (R, with
    ``use_radial_filters``); ``conv_clamp`` bounds activations; ``mapping_kwargs`` may hold
    ``num_layers`` of the mapping network. ``magnitude_ema_beta`` and ``num_fp16_res`` concern training and the
    original's arithmetic on GPUs; they are accepted and ignored. Raises ValueError for impossible arguments.
    """

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        img_resolution: int,
        c_dim: int = 0,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_kernel: int = 3,
        use_radial_filters: bool = False,
        conv_clamp: float | None = 256,
        filter_size: int = 6,
        num_layers: int = 14,
        num_critical: int = 2,
        mapping_kwargs: Mapping[str, Any] | None = None,
        magnitude_ema_beta: float = 0.999,
        num_fp16_res: int = 4,
    ):
        super().__init__()
        mapping = {"num_layers": 2, **(mapping_kwargs or {})}
        if unknown := sorted(set(mapping) - {"num_layers"}):
            raise ValueError(f"mapping_kwargs has {unknown[0]!r}, which this network does not know")
        sizes = {
            "z_dim": (z_dim, 1, 8192), "w_dim": (w_dim, 1, 8192), "c_dim": (c_dim, 0, 65536),
            "img_resolution": (img_resolution, 16, 4096), "img_channels": (img_channels, 1, 16),
            "channel_base": (channel_base, 1, 1 << 20), "channel_max": (channel_max, 1, 4096),
            "conv_kernel": (conv_kernel, 1, 7), "filter_size": (filter_size, 2, 16), "num_layers": (num_layers, 3, 64),
            "num_critical": (num_critical, 0, num_layers - 1), "mapping_kwargs.num_layers": (mapping["num_layers"], 1, 32),
        }  # fmt: skip
        for name, (value, low, high) in sizes.items():
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}, not a whole number from {low} to {high}")
        if img_resolution & (img_resolution - 1):
            raise ValueError(f"img_resolution is {img_resolution}, not a power of two")
        if type(use_radial_filters) is not bool:
            raise ValueError(f"use_radial_filters is {use_radial_filters!r}, not true or false")
        if conv_clamp is not None and not (isinstance(conv_clamp, (int, float)) and conv_clamp > 0):
            raise ValueError(f"conv_clamp is {conv_clamp!r}, not a positive number")
        self.z_dim, self.c_dim, self.w_dim, self.resolution = z_dim, c_dim, w_dim, img_resolution
        plans = layer_plans(img_resolution, img_channels, channel_base, channel_max, num_layers, num_critical)
        self.num_ws = len(plans) + 1
        self.synthesis = Synthesis(
            w_dim, plans, kernel=conv_kernel, filter_size=filter_size, radial=use_radial_filters, clamp=conv_clamp
        )
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, mapping["num_layers"])
        self._constants: list[_Constants] | None = None

    def prepare(self, precision: str = "float32") -> StyleGAN3:
        """Compute once, for many pictures, what depends only on the weights; do not change or move them afterwards.

        ``precision`` is that of the convolutions: ``float32`` or ``bfloat16``. Everything else stays float32. Raises
        ValueError for another precision.
        """
        if precision not in _DTYPES:
            raise ValueError(f"precision {precision!r} is not one of {', '.join(_DTYPES)}")
        with torch.no_grad():
            self._constants = [layer.constants(_DTYPES[precision]) for layer in self.synthesis.layers]
        return self.requires_grad_(False)

    def styles(self, z: Tensor, labels: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Style vectors float32 (N, num_ws, w_dim) of latents (N, z_dim) and, for a conditional network, labels (N, c_dim).

        ``psi`` pulls the first ``cutoff`` vectors (all by default) towards the mean: 1 leaves them, 0 gives the mean.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"expected latents (N, {self.z_dim}), got {tuple(z.shape)}")
        if (labels is None) != (not self.c_dim) or (labels is not None and labels.shape != (len(z), self.c_dim)):
            raise ValueError(f"expected labels (N, {self.c_dim})" if self.c_dim else "the network does not take labels")
        return self.truncated(self.mapping(z, labels), psi, cutoff)

    def truncated(self, w: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """Style vectors (N, num_ws, w_dim) of mapped vectors (N, w_dim), truncated as :meth:`styles` says."""
        ws = w[:, None].repeat(1, self.num_ws, 1)
        if psi != 1:
            ws[:, :cutoff] = self.mapping.w_avg.lerp(ws[:, :cutoff], psi)
        return ws

    def draw(self, ws: Tensor) -> Tensor:
        """Pictures float32 (N, colours, resolution, resolution), about -1 to 1, of style vectors (N, num_ws, w_dim)."""
        constants = self._constants or [layer.constants(torch.float32) for layer in self.synthesis.layers]
        return self.synthesis(ws, constants)

    def forward(self, z: Tensor, labels: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        return self.draw(self.styles(z, labels, psi, cutoff))


def to_uint8(pictures: Tensor) -> np.ndarray:
    """Pictures (N, C, H, W) from -1 to 1 -> uint8 (N, H, W, C) as the published programs convert them."""
    return (pictures * 127.5 + 128).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
