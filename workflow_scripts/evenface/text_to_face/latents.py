"""The training faces as latents, which are computed once; the denoiser is trained on them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from evenface.checkpoints import read_state
from evenface.errors import UserError
from evenface.joblog import progress
from evenface.networks.latent_diffusion import autoencoder
from evenface.storage.atomic import write_bytes
from evenface.storage.tables import read_table, write_table
from evenface.text_to_face.autoencoder import SHAPE, encode
from evenface.text_to_face.pictures import Pictures
from evenface.text_to_face.settings import AutoencoderSettings
from evenface.text_to_face.weights import load_weights
from evenface.training import runtime
from evenface.training.settings import resolve

_BATCH = 64


@dataclass(frozen=True)
class Latents:
    """``values`` float16 (N, 2, c, h, w): each face as it is, and mirrored; ``truth`` and ``held_out`` per face."""

    values: Tensor
    truth: list[dict[str, Any]]
    held_out: np.ndarray


def encode_pictures(
    pictures: Pictures,
    settings: Mapping[str, Any],
    weights: str | os.PathLike,
    out: str | os.PathLike,
    table: str | os.PathLike,
    *,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Write the latents of all pictures (safetensors) to ``out``, and the truth about each (Parquet) to ``table``."""
    import torch
    from safetensors.torch import save

    runtime.prepare(threads)
    shape = resolve(AutoencoderSettings, settings, "text_to_face.autoencoder").model_dump(include=set(SHAPE))
    network = autoencoder(pictures.pixels.shape[1], **shape)
    load_weights(weights, {"autoencoder": network})
    network = network.to(device, memory_format=torch.channels_last)
    parts = []
    starts = range(0, len(pictures.pixels), _BATCH)
    for start in progress(starts, len(starts), "encoding", unit="batches"):
        pixels = pictures.pixels[start : start + _BATCH]
        both = [encode(network, np.ascontiguousarray(side), device) for side in (pixels, pixels[:, :, ::-1])]
        parts.append(torch.stack(both, 1).half())
    write_bytes(out, save({"latents": torch.cat(parts)}))
    truths = [json.dumps(truth, sort_keys=True) for truth in pictures.truth]
    write_table(pd.DataFrame({"truth": truths, "held_out": pictures.held_out}), table, kind="training faces")


def load_latents(path: str | os.PathLike, table: str | os.PathLike) -> Latents:
    """Read what :func:`encode_pictures` wrote; UserError when the two files do not belong together."""
    values = read_state(path).get("latents")
    if values is None or values.ndim != 5:
        raise UserError(f"{path}: no latents of training faces; run the rule encode_text_to_face")
    frame = read_table(table, required=("truth", "held_out"))
    if len(frame) != len(values):
        raise UserError(f"{table}: {len(frame)} faces, but {path} has {len(values)}; encode the faces again")
    return Latents(values, [json.loads(text) for text in frame["truth"]], frame["held_out"].to_numpy(bool))
