"""Faces by StyleGAN3: random people; prompts have no effect.

A published network draws faces like those of its training set. The plan decides how many faces there are, and each
request's seed decides which face it gets. An annotator must say gender, age, ethnicity and hair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evenface.errors import UserError
from evenface.generators.protocol import GeneratedFace
from evenface.generators.stylegan3 import PART
from evenface.generators.stylegan3.settings import StyleGAN3Settings
from evenface.plan.requests import Request
from evenface.seeds import seed_from

if TYPE_CHECKING:
    import torch

NAME = "stylegan3"

_KEY = f"generation.settings.{NAME}"


def latent_of(seed: int, size: int) -> np.ndarray:
    """The latent z, float32 (size,), of a seed of any length: standard normal numbers of PCG64."""
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(size).astype(np.float32)


def published_seed(seed: int) -> int:
    """The lower 32 bits of a request's seed, which the published programs accept as a seed."""
    return seed & 0xFFFFFFFF


def published_latent(seed: int, size: int) -> np.ndarray:
    """The latent z, float32 (size,), that the published programs draw for a seed below 2**32."""
    return np.random.RandomState(seed).randn(1, size)[0].astype(np.float32)


class StyleGAN3Generator:
    """Draws requests by their seeds alone; also a latent generator of the spaces z and w.

    ``settings`` are those of :class:`StyleGAN3Settings`, with ``files`` (``network``: a published pickle, or the file
    it was converted to), ``device`` and ``threads``. The network is loaded here. Raises UserError for unknown settings,
    for a file that is not a StyleGAN3 network, and for a label or cut-off that the network does not have.
    """

    name = NAME
    version = PART.version
    spaces = ("z", "w")

    def __init__(self, settings: Mapping[str, Any]):
        import torch

        from evenface.checkpoints import load_network

        own = {k: v for k, v in settings.items() if k not in ("files", "device", "threads")}
        self.settings = StyleGAN3Settings.filled(own, _KEY)
        self.path = settings.get("files", {}).get("network") or self.settings["network"]
        torch.set_num_threads(int(settings.get("threads") or 1))
        self.device = settings.get("device") or "cpu"
        self.network = load_network(NAME, self.path, self.device)
        self._check()
        try:
            self.network.prepare(self.settings["precision"])
        except ValueError as error:
            raise UserError(f"{_KEY}: {error}") from error
        with open(self.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.provenance = {
            "model": Path(self.path).name,
            "model_sha256": digest,
            "resolution": self.network.resolution,
            **{k: self.settings[k] for k in ("truncation_psi", "truncation_cutoff", "label", "seeds", "precision")},
        }

    def _check(self) -> None:
        """Check the settings that depend on the network."""
        classes, label, cutoff = self.network.c_dim, self.settings["label"], self.settings["truncation_cutoff"]
        if classes and label is None:
            raise UserError(f"{_KEY}.label is missing: the network {self.path} draws one of {classes} classes, 0 to "
                            f"{classes - 1}")  # fmt: skip
        if label is not None and not 0 <= label < classes:
            raise UserError(
                f"{_KEY}.label is {label}, but the network {self.path} "
                + (f"has classes 0 to {classes - 1}" if classes else "has no classes; set it to null")
            )
        if cutoff is not None and cutoff > self.network.num_ws:
            raise UserError(
                f"{_KEY}.truncation_cutoff is {cutoff}, but the network has {self.network.num_ws} style vectors"
            )
        if self.network.synthesis.layers[-1].plan.channels_out != 3:
            raise UserError(f"{self.path}: the network does not draw colour pictures")

    def generate(self, requests: Iterable[Request]) -> Iterator[GeneratedFace]:
        """One face per request, in order; each depends on its request's seed alone."""
        wanted = list(requests)
        published = self.settings["seeds"] == "published"
        latent = (lambda seed, size: published_latent(published_seed(seed), size)) if published else latent_of
        latents = (latent(request.seed, self.network.z_dim) for request in wanted)
        for request, image in zip(wanted, self._draw(latents, "z"), strict=True):
            record = {**self.provenance, **({"published_seed": published_seed(request.seed)} if published else {})}
            yield GeneratedFace(request, image, {"identity": request.request_id, **record})

    def dimension(self, space: str) -> int:
        """Coordinates of a latent of ``space``; UserError for an unknown space."""
        self._known(space)
        return self.network.z_dim if space == "z" else self.network.w_dim

    def sample(self, count: int, seed: int, space: str) -> np.ndarray:
        """Latents of ``count`` random faces, float32 (count, dimension); row i depends on (seed, i) alone.

        Latents of w are mapped from those of z. They are not truncated; truncation is applied when they are drawn.
        """
        self._known(space)
        z = np.empty((count, self.network.z_dim), np.float32)
        for i in range(count):
            z[i] = latent_of(seed_from(seed, NAME, i), self.network.z_dim)
        if space == "z":
            return z
        mapped = [self._mapped(row[None]).cpu().numpy() for row in z]
        return np.concatenate(mapped) if mapped else np.empty((0, self.network.w_dim), np.float32)

    def draw(self, latents: np.ndarray, space: str) -> Iterator[np.ndarray]:
        """RGB uint8 (H, W, 3) of each row of ``latents``, in order; none depends on the others."""
        self._known(space)
        latents = np.asarray(latents, np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.dimension(space):
            raise UserError(
                f"{NAME}: latents of {space} are rows of {self.dimension(space)} numbers, got {latents.shape}"
            )
        return self._draw(latents, space)

    def _known(self, space: str) -> None:
        if space not in self.spaces:
            raise UserError(f"{NAME} has the latent spaces {', '.join(self.spaces)}, not {space!r}")

    def _mapped(self, z: np.ndarray) -> torch.Tensor:
        """w (1, w_dim) of one z (1, z_dim). Rows are mapped one by one: in batches, sums differ in the last bit."""
        import torch

        labels = None
        if self.network.c_dim:
            labels = torch.zeros(1, self.network.c_dim, device=self.device)
            labels[0, self.settings["label"]] = 1
        with torch.inference_mode():
            return self.network.mapping(torch.from_numpy(z).to(self.device), labels)

    def _draw(self, latents: Iterable[np.ndarray], space: str) -> Iterator[np.ndarray]:
        """Pictures of latents. A processor draws them one by one, which is as fast. A GPU draws whole batches; the last
        one is filled up, so that every picture is computed in a batch of the same size."""
        import torch

        from evenface.networks.stylegan3 import to_uint8

        size = 1 if torch.device(self.device).type == "cpu" else self.settings["batch_size"]
        psi, cutoff = self.settings["truncation_psi"], self.settings["truncation_cutoff"]

        def pictures(batch: list[torch.Tensor]) -> np.ndarray:
            whole = torch.cat(batch + batch[-1:] * (size - len(batch)))
            with torch.inference_mode():
                return to_uint8(self.network.draw(self.network.truncated(whole, psi, cutoff)))[: len(batch)]

        batch: list[torch.Tensor] = []
        for latent in latents:
            row = np.asarray(latent, np.float32)[None]
            batch.append(self._mapped(row) if space == "z" else torch.from_numpy(row).to(self.device))
            if len(batch) == size:
                yield from pictures(batch)
                batch = []
        if batch:
            yield from pictures(batch)
