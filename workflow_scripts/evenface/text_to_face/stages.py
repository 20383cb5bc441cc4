"""The stages of the training; each reads the files of the stage before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenface.text_to_face.autoencoder import train_autoencoder
from evenface.text_to_face.decoder import train_decoder
from evenface.text_to_face.denoiser import train_denoiser
from evenface.text_to_face.faces import CELLS
from evenface.text_to_face.latents import encode_pictures, load_latents
from evenface.text_to_face.pictures import Pictures, load_pictures
from evenface.training import runtime

FilePath = str | os.PathLike


def _pictures(recipe: Mapping[str, Any], shards: Sequence[FilePath]) -> Pictures:
    return load_pictures(shards, recipe["settings"]["size"], len(CELLS))


def _sha256(path: FilePath) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def autoencoder_stage(
    recipe: Mapping[str, Any],
    shards: Sequence[FilePath],
    out: FilePath,
    *,
    log_path: FilePath,
    threads: int,
    device: str,
) -> None:
    """Shards of training faces to the autoencoder's weights."""
    train_autoencoder(
        _pictures(recipe, shards), recipe["settings"]["autoencoder"], out, log_path=log_path, seed=recipe["seed"],
        threads=threads, device=runtime.choose_device(device),
    )  # fmt: skip


def encoding_stage(
    recipe: Mapping[str, Any],
    shards: Sequence[FilePath],
    weights: FilePath,
    latents: FilePath,
    table: FilePath,
    *,
    threads: int,
    device: str,
) -> None:
    """Shards and the autoencoder's weights to latents, and a table of the truth about them."""
    encode_pictures(
        _pictures(recipe, shards), recipe["settings"]["autoencoder"], weights, latents, table, threads=threads,
        device=runtime.choose_device(device),
    )  # fmt: skip


def decoder_stage(
    recipe: Mapping[str, Any],
    shards: Sequence[FilePath],
    weights: FilePath,
    latents: FilePath,
    table: FilePath,
    out: FilePath,
    *,
    log_path: FilePath,
    threads: int,
    device: str,
) -> None:
    """The autoencoder's weights to those of an autoencoder with the same encoder and a better decoder."""
    train_decoder(
        _pictures(recipe, shards), load_latents(latents, table), recipe["settings"]["autoencoder"],
        recipe["settings"]["decoder"], weights, out, log_path=log_path, seed=recipe["seed"], digest=_sha256(latents),
        threads=threads, device=runtime.choose_device(device),
    )  # fmt: skip


def denoiser_stage(
    recipe: Mapping[str, Any],
    latents: FilePath,
    table: FilePath,
    out: FilePath,
    *,
    log_path: FilePath,
    threads: int,
    device: str,
) -> None:
    """Latents and their table to the weights of denoiser and text encoder."""
    train_denoiser(
        load_latents(latents, table), recipe["settings"]["denoiser"], out, log_path=log_path, seed=recipe["seed"],
        digest=_sha256(latents), threads=threads, device=runtime.choose_device(device),
    )  # fmt: skip
