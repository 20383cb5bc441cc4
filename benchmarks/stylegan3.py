"""Compares StyleGAN3's generator with its published way of computing, on pictures of a published size.

    python benchmarks/stylegan3.py --kinds T R --rounds 2 --threads 1

The weights are random, which does not change the time. ``as published`` uses the reference operations that the original
runs on a processor, rebuilt from their description: a set of weights for every picture in one grouped convolution;
inserted zeros, padding, filters at full size and rate, one axis after the other; surplus samples are dropped. Both ways
run in turns, in their own processes. They draw the same pictures; the largest difference is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import torch
from side_by_side import measure
from torch import Tensor
from torch.nn import functional as F

from evenface.networks.stylegan3 import StyleGAN3, SynthesisLayer

KINDS = {
    "T": {"channel_base": 16384, "channel_max": 512},
    "R": {"channel_base": 32768, "channel_max": 1024, "conv_kernel": 1, "use_radial_filters": True},
}


def network(kind: str, resolution: int) -> StyleGAN3:
    """A network of the published size with random weights of the scale of trained ones."""
    torch.manual_seed(1)
    settings = dict(KINDS[kind])
    settings["channel_base"] = settings["channel_base"] * (1 if resolution == 256 else 2)
    return StyleGAN3(z_dim=512, w_dim=512, img_resolution=resolution, **settings).eval()


def filtered(x: Tensor, taps: Tensor) -> Tensor:
    """Correlated with a filter of one or two dimensions, every channel alike."""
    channels = x.shape[1]
    if taps.ndim == 2:
        return F.conv2d(x, taps.expand(channels, 1, -1, -1), groups=channels)
    x = F.conv2d(x, taps[None, :].expand(channels, 1, -1, -1), groups=channels)
    return F.conv2d(x, taps[:, None].expand(channels, 1, -1, -1), groups=channels)


def layer_as_published(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """One layer by the original's reference operations."""
    plan, count = layer.plan, len(x)
    styles = layer.affine(w)
    weight = layer.weight
    if plan.last:
        styles = styles / (plan.channels_in * layer.kernel**2) ** 0.5
    else:
        weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        styles = styles * styles.square().mean().rsqrt()
    weights = weight[None] * styles[:, None, :, None, None]
    if not plan.last:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    weights = weights * layer.magnitude_ema.rsqrt()
    x = x.reshape(1, count * plan.channels_in, *x.shape[2:])
    x = F.conv2d(x, weights.reshape(-1, *weights.shape[2:]), padding=layer.kernel - 1, groups=count)
    x = x.reshape(count, plan.channels_out, *x.shape[2:]) + layer.bias[None, :, None, None]
    if plan.last:
        return x.clamp(-layer.clamp, layer.clamp)
    axis = layer.axis
    size = x.shape[2]
    x = x.reshape(count, -1, size, 1, size, 1)
    x = F.pad(x, [0, axis.up - 1, 0, 0, 0, axis.up - 1]).reshape(count, -1, size * axis.up, size * axis.up)
    total = (axis.out - 1) * axis.down + 1 - size * axis.up + axis.up_taps + axis.down_taps - 2
    x = F.pad(x, [axis.low, total - axis.low] * 2)
    x = filtered(x, layer.up_filter * axis.up)
    x = (F.leaky_relu(x, 0.2) * 2**0.5).clamp(-layer.clamp, layer.clamp)
    return filtered(x, layer.down_filter)[:, :, :: axis.down, :: axis.down]


def as_published(kind: str, resolution: int, batch: int, threads: int) -> Callable[[], np.ndarray]:
    torch.set_num_threads(threads)
    made = network(kind, resolution)
    z = torch.randn(batch, 512, generator=torch.Generator().manual_seed(2))

    @torch.inference_mode()
    def work() -> np.ndarray:
        ws = made.styles(z)
        x = made.synthesis.input(ws[:, 0]).contiguous()
        for number, layer in enumerate(made.synthesis.layers):
            x = layer_as_published(layer, x, ws[:, number + 1])
        return (x * 0.25).numpy()

    return work


def ours(kind: str, resolution: int, batch: int, threads: int, precision: str) -> Callable[[], np.ndarray]:
    torch.set_num_threads(threads)
    made = network(kind, resolution).prepare(precision)
    z = torch.randn(batch, 512, generator=torch.Generator().manual_seed(2))

    @torch.inference_mode()
    def work() -> np.ndarray:
        return torch.cat([made(row[None]) for row in z]).numpy()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1, help="pictures a turn")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    size = (arguments.resolution, arguments.batch, arguments.threads)
    for kind in arguments.kinds:
        print(f"StyleGAN3-{kind}, {arguments.resolution} pixels, {arguments.threads} threads")
        found = measure(
            {
                "as published": (as_published, kind, *size),
                "ours, float32": (ours, kind, *size, "float32"),
                "ours, bfloat16": (ours, kind, *size, "bfloat16"),
            },
            arguments.rounds,
        )
        base = found["as published"]
        for name, best in found.items():
            difference = best["result"] - base["result"]
            rms = float(np.sqrt(np.mean(difference**2)) / base["result"].std())
            print(
                f"{name:16} {best['wall'] / arguments.batch:6.2f} s a picture, {base['wall'] / best['wall']:5.2f} x   "
                f"processor time {best['processor'] / arguments.batch:6.2f} s, "
                f"{base['processor'] / best['processor']:5.2f} x   "
                f"largest difference {np.abs(difference).max():.1e}, rms {rms:.1e} of the pictures' deviation"
            )


if __name__ == "__main__":
    main()
