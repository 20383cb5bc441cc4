"""FaceXFormer: one transformer for eight tasks of face analysis.

Narayan et al., "FaceXFormer: A Unified Transformer for Facial Analysis", arXiv:2403.12960 (2024). A Swin
encoder, a light fusion of its four scales, and the two-way decoder of Segment Anything (Kirillov
et al., arXiv:2304.02643) with one token per task. Tensor names and order are those under
``state_dict_backbone`` of the published ``model.pt``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import swin_b

#: Side of the input in pixels.
SIDE = 224
#: A detected box is enlarged on each side by this share of its width (height) before the crop.
MARGIN = 0.25
#: Classes of the parsing in order, those of LaPa (Liu et al., AAAI 2020).
PARSING_CLASSES: tuple[str, ...] = (
    "background", "skin", "left_brow", "right_brow", "left_eye", "right_eye", "nose", "upper_lip", "inner_mouth",
    "lower_lip", "hair",
)  # fmt: skip

_WIDTH = 256
_STAGES = (128, 256, 512, 1024)
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class Output(NamedTuple):
    """The answers of one pass, for N faces; names of levels are in ``taxonomy`` and :data:`PARSING_CLASSES`."""

    landmarks: Tensor  #: (N, 136): x and y of 68 points in [-1, 1], in iBUG's order
    headpose: Tensor  #: (N, 3): pitch, yaw, roll in radians
    attributes: Tensor  #: (N, 40): logits of the CelebA attributes
    visibility: Tensor  #: (N, 29): logits of the COFW points being occluded
    age: Tensor  #: (N, 8): logits of age bands
    gender: Tensor  #: (N, 2): logits of male, female
    race: Tensor  #: (N, 5): logits of White, Black, Indian, Asian, Others
    parsing: Tensor | None  #: (N, 11, 224, 224): logits of the parsing classes; None where not asked for


class _PositionEncoding(nn.Module):
    """Random Fourier features of pixel centres (Tancik et al., arXiv:2006.10739); the file stores the frequencies."""

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, rows: int, columns: int) -> Tensor:
        """(rows * columns, 2 * features), row by row."""
        frequencies = self.positional_encoding_gaussian_matrix.float()
        y = (torch.arange(rows, device=frequencies.device) + 0.5) / rows * 2 - 1
        x = (torch.arange(columns, device=frequencies.device) + 0.5) / columns * 2 - 1
        # Written without a matrix product, which under autocast would round the phases to bfloat16.
        phase = 2 * math.pi * (x[None, :, None] * frequencies[0] + y[:, None, None] * frequencies[1])
        encoded = torch.cat((phase.sin(), phase.cos()), dim=2).flatten(0, 1)
        return encoded.to(self.positional_encoding_gaussian_matrix.dtype)


class _Attention(nn.Module):
    """Multi-head attention whose projections may be narrower than its input."""

    def __init__(self, inner: int = _WIDTH, heads: int = 8):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(_WIDTH, inner)
        self.k_proj = nn.Linear(_WIDTH, inner)
        self.v_proj = nn.Linear(_WIDTH, inner)
        self.out_proj = nn.Linear(inner, _WIDTH)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (
            projection(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projection, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        return self.out_proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _TokenMLP(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        self.lin1 = nn.Linear(_WIDTH, hidden)
        self.lin2 = nn.Linear(hidden, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(functional.relu(self.lin1(x)))


class _TwoWayLayer(nn.Module):
    """Tokens attend to themselves and to the map, then the map attends to the tokens."""

    def __init__(self, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = _Attention()
        self.norm1 = nn.LayerNorm(_WIDTH)
        self.cross_attn_token_to_image = _Attention(_WIDTH // 2)
        self.norm2 = nn.LayerNorm(_WIDTH)
        self.mlp = _TokenMLP(2048)
        self.norm3 = nn.LayerNorm(_WIDTH)
        self.norm4 = nn.LayerNorm(_WIDTH)
        self.cross_attn_image_to_token = _Attention(_WIDTH // 2)

    def forward(self, queries: Tensor, keys: Tensor, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:  # the queries are their own position encoding here, and are replaced
            queries = self.self_attn(queries, queries, queries)
        else:
            placed = queries + tokens
            queries = queries + self.self_attn(placed, placed, queries)
        queries = self.norm1(queries)
        queries = self.norm2(queries + self.cross_attn_token_to_image(queries + tokens, keys + position, keys))
        queries = self.norm3(queries + self.mlp(queries))
        keys = self.norm4(keys + self.cross_attn_image_to_token(keys + position, queries + tokens, queries))
        return queries, keys


class _TwoWayTransformer(nn.Module):
    def __init__(self, depth: int = 2):
        super().__init__()
        self.layers = nn.ModuleList(_TwoWayLayer(first=i == 0) for i in range(depth))
        self.final_attn_token_to_image = _Attention(_WIDTH // 2)
        self.norm_final_attn = nn.LayerNorm(_WIDTH)

    def forward(self, keys: Tensor, position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, cells, 256), its position encoding (cells, 256), tokens (N, t, 256) -> updated tokens and map."""
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, position)
        queries = queries + self.final_attn_token_to_image(queries + tokens, keys + position, keys)
        return self.norm_final_attn(queries), keys


class _Head(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, outputs: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(_WIDTH, n) for n in (_WIDTH, _WIDTH, outputs))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x)


class _ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return x.permute(0, 3, 1, 2)


class _Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = _TwoWayTransformer()
        for task in ("landmarks", "pose", "attribute", "visibility", "age", "gender", "race"):
            self.add_module(f"{task}_token", nn.Embedding(1, _WIDTH))
        self.mask_tokens = nn.Embedding(len(PARSING_CLASSES), _WIDTH)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(_WIDTH, 64, 2, stride=2), _ChannelNorm(64), nn.GELU(),
            nn.ConvTranspose2d(64, 32, 2, stride=2), nn.GELU(),
        )  # fmt: skip
        self.output_hypernetwork_mlps = _Head(32)
        self.landmarks_prediction_head = _Head(136)
        self.pose_prediction_head = _Head(3)
        self.attribute_prediction_head = _Head(40)
        self.visibility_prediction_head = _Head(29)
        self.age_prediction_head = _Head(8)
        self.gender_prediction_head = _Head(2)
        self.race_prediction_head = _Head(5)

    def forward(self, fused: Tensor, position: Tensor, parsing: bool) -> Output:
        count, _, rows, columns = fused.shape
        embeddings = (
            self.landmarks_token, self.pose_token, self.attribute_token, self.visibility_token, self.age_token,
            self.gender_token, self.race_token, self.mask_tokens,
        )  # fmt: skip
        tokens = torch.cat([e.weight for e in embeddings]).expand(count, -1, -1)
        tokens, keys = self.transformer(fused.flatten(2).transpose(1, 2), position, tokens)
        heads = (
            self.landmarks_prediction_head, self.pose_prediction_head, self.attribute_prediction_head,
            self.visibility_prediction_head, self.age_prediction_head, self.gender_prediction_head,
            self.race_prediction_head,
        )  # fmt: skip
        answers = [head(tokens[:, i]) for i, head in enumerate(heads)]
        masks = None
        if parsing:
            pixels = self.output_upscaling(keys.transpose(1, 2).unflatten(2, (rows, columns)))
            masks = torch.einsum("nkc,nchw->nkhw", self.output_hypernetwork_mlps(tokens[:, len(heads) :]), pixels)
        return Output(*answers, masks)


class _Projection(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.proj = nn.Linear(inputs, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class FaceXFormer(nn.Module):
    """FaceXFormer with all tasks of the released network, in one pass.

    Input: float (N, 3, 224, 224), R, G, B, ImageNet-normalised (:func:`preprocess`), of loosely cropped
    faces (:func:`face_crop`). Output: :class:`Output`. ``backbone.1``, the encoder's final norm, is in the
    published file but has no effect.

    Evaluation mode matters, because the encoder has stochastic depth. In bfloat16 (autocast) the heads stay
    within 0.1 and the parsing within 0.3 of float32; the standard deviation of these logits is about 1.
    """

    def __init__(self):
        super().__init__()
        swin = swin_b(weights=None)
        self.backbone = nn.Sequential(swin.features, swin.norm)
        self.pe_layer = _PositionEncoding(_WIDTH // 2)
        self.face_decoder = _Decoder()
        self.linear_c = nn.ModuleList(_Projection(channels) for channels in _STAGES)
        self.linear_fuse = nn.Conv2d(len(_STAGES) * _WIDTH, _WIDTH, 1, bias=False)

    def stages(self, x: Tensor) -> list[Tensor]:
        """Encoder maps after each stage, channels last: (N, 56, 56, 128) to (N, 7, 7, 1024)."""
        maps = []
        for number, block in enumerate(self.backbone[0]):
            x = block(x)
            if number % 2:
                maps.append(x)
        return maps

    def fuse(self, maps: Sequence[Tensor]) -> Tensor:
        """One map (N, 256, 56, 56) of the four.

        The published order is to resize, concatenate (the deepest first) and convolve. The 1x1 convolution
        commutes with the resizing, so here each map is convolved at its own size and the results are added.
        """
        size = maps[0].shape[1:3]
        weights = reversed(self.linear_fuse.weight.flatten(1).split(_WIDTH, dim=1))
        fused = None
        for level, projection, weight in zip(maps, self.linear_c, weights, strict=True):
            mixed = functional.linear(projection(level), weight).permute(0, 3, 1, 2)
            if mixed.shape[2:] != size:
                mixed = functional.interpolate(mixed, size, mode="bilinear", align_corners=False)
            fused = mixed if fused is None else fused + mixed
        return fused

    def forward(self, x: Tensor, *, parsing: bool = True) -> Output:
        """``parsing=False`` leaves out the parsing, the largest output, and its upscaling."""
        fused = self.fuse(self.stages(x))
        return self.face_decoder(fused, self.pe_layer(*fused.shape[2:]), parsing)


def enlarged_box(box: Sequence[float], width: int, height: int, margin: float = MARGIN) -> tuple[float, ...]:
    """The box (left, top, right, bottom) grown by ``margin`` of its sides on each side, clipped to the image."""
    left, top, right, bottom = (float(v) for v in box)
    dx, dy = margin * (right - left), margin * (bottom - top)
    return max(0.0, left - dx), max(0.0, top - dy), min(float(width), right + dx), min(float(height), bottom + dy)


def face_crop(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The part of an RGB uint8 (H, W, 3) image that the published network sees of a face detected at ``box``.

    Its corners are those of :func:`enlarged_box`, truncated to whole pixels. A box without a whole
    pixel inside the image gives an array with an empty side.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = (int(v) for v in enlarged_box(box, width, height))
    return image[top : max(top, bottom), left : max(left, right)]


def preprocess(image: np.ndarray) -> Tensor:
    """Input float32 (3, 224, 224) of one RGB uint8 (H, W, 3) crop: bicubic with Pillow's low-pass filter, normalised.

    The proportions are not kept. Pillow versions may differ by one grey level.
    """
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()
    mean, deviation = torch.tensor((_MEAN, _DEVIATION))[:, :, None, None]
    return pixels.to(torch.float32).div_(255).sub_(mean).div_(deviation)


PUBLISHED: dict[str, Callable[[], nn.Module]] = {"facexformer": FaceXFormer}
PREPROCESS: dict[str, Callable[[np.ndarray], Tensor]] = {"facexformer": preprocess}
