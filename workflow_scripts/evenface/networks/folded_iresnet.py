"""IResNet for inference: every batch norm is folded into a convolution, also a norm before a convolution.

A norm before a padded convolution is a scale and a shift per channel. The scale goes into the kernel. The
shift adds a constant wherever the kernel lies inside the image. At the border, zeros are padded after the
norm, so taps outside the image must not add their part; it is subtracted again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from evenface.networks.iresnet import IResNet, _Block, _of_input_size


class _Convolution(nn.Module):
    """A convolution with bias, kernel laid out with the channels last."""

    def __init__(self, kernel: Tensor, bias: Tensor, stride: int, padding: int, dtype: torch.dtype):
        super().__init__()
        self.stride, self.padding = stride, padding
        self.register_buffer("kernel", kernel.to(dtype).contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel, self.bias, self.stride, self.padding)


class _FoldedBlock(nn.Module):
    def __init__(self, block: _Block, dtype: torch.dtype):
        super().__init__()
        before_scale, before_shift = _affine(block.bn1)
        scale, shift = _affine(block.bn2)
        kernel = block.conv1.weight.double()
        # What the shift adds through each tap, (out, 3, 3).
        taps = torch.einsum("oiyx,i->oyx", kernel, before_shift) * scale[:, None, None]
        kernel = kernel * before_scale[None, :, None, None] * scale[:, None, None, None]
        self.conv1 = _Convolution(kernel, shift + taps.sum((1, 2)), 1, 1, dtype)
        edges = (taps[:, 0].sum(1), taps[:, 2].sum(1), taps[:, :, 0].sum(1), taps[:, :, 2].sum(1))
        corners = (taps[:, 0, 0], taps[:, 0, 2], taps[:, 2, 0], taps[:, 2, 2])
        self.register_buffer("edges", torch.stack(edges).to(dtype))
        self.register_buffer("corners", torch.stack(corners).to(dtype))
        self.register_buffer("slopes", block.prelu.weight.detach().to(dtype))
        self.conv2 = _folded(block.conv2, block.bn3, dtype)
        self.downsample = None if block.downsample is None else _folded(*block.downsample, dtype)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.conv1(x)
        top, bottom, left, right = self.edges[:, :, None]
        y[:, :, 0].sub_(top)
        y[:, :, -1].sub_(bottom)
        y[:, :, :, 0].sub_(left)
        y[:, :, :, -1].sub_(right)
        # A corner's tap was subtracted twice: with its row and with its column.
        for corner, (row, column) in zip(self.corners, ((0, 0), (0, -1), (-1, 0), (-1, -1)), strict=True):
            y[:, :, row, column].add_(corner)
        return self.conv2(torch.prelu(y, self.slopes)).add_(shortcut)


class FoldedIResNet(nn.Module):
    """Computes the same as an :class:`IResNet` in evaluation mode, but faster. The output is float32.

    ``dtype`` is that of weights and activations, float32 or bfloat16. The weights are copied: the network
    stays as it is. Norms are folded in double precision; float32 embeddings differ by about 3e-6 of the
    largest entry.
    """

    def __init__(self, network: IResNet, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.dtype = dtype
        with torch.no_grad():
            self.stem = _folded(network.conv1, network.bn1, dtype)
            self.register_buffer("slopes", network.prelu.weight.detach().to(dtype))
            stages = (network.get_submodule(f"layer{i}") for i in range(1, 5))
            self.blocks = nn.Sequential(*(_FoldedBlock(block, dtype) for stage in stages for block in stage))
            scale, shift = _affine(network.bn2)
            last, last_shift = _affine(network.features)
            weight = network.fc.weight.double().unflatten(1, (len(scale), -1))  # (embedding, channels, places)
            bias = network.fc.bias.double() + torch.einsum("oip,i->o", weight, shift)
            # Places before channels: the order in which activations lie in memory.
            weight = (weight * scale[None, :, None]).transpose(1, 2).flatten(1)
            self.register_buffer("weight", (weight * last[:, None]).to(dtype))
            self.register_buffer("bias", (bias * last + last_shift).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = _of_input_size(x).to(self.dtype, memory_format=torch.channels_last)
        x = self.blocks(torch.prelu(self.stem(x), self.slopes))
        return functional.linear(x.permute(0, 2, 3, 1).flatten(1), self.weight, self.bias).float()


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift (double) of a batch norm in evaluation mode."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _folded(convolution: nn.Conv2d, norm: nn.Module, dtype: torch.dtype) -> _Convolution:
    """The convolution with the norm after it."""
    scale, shift = _affine(norm)
    kernel = convolution.weight.double() * scale[:, None, None, None]
    return _Convolution(kernel, shift, convolution.stride[0], convolution.padding[0], dtype)
