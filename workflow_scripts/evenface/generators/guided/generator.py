"""A latent generator, guided to what a request asks for.

For every request, random latents are drawn. Each is walked until the fitted scorers give each wanted level enough
probability (:mod:`evenface.generators.walks`). When the tries are used up, the nearest face is returned, with ``met``
false. The scorers that guide never decide whether the face shows what was asked for. An annotator that did not guide
decides this (``annotation.validate``, and the rule ``balance_latents``).
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenface.errors import UserError
from evenface.generators.directions_file import read_directions
from evenface.generators.guided import PART
from evenface.generators.guided.settings import GuidedSettings
from evenface.generators.latent import create_latent
from evenface.generators.protocol import GeneratedFace
from evenface.generators.walks import Walk, walk
from evenface.parts import Generator, part
from evenface.plan.requests import Request
from evenface.seeds import seed_from
from evenface.storage import metadata
from evenface.taxonomy import HAIR_COLOURS, UNKNOWN

log = logging.getLogger("evenface")

#: Keys that ``plan.directions.guided_settings`` adds to the block of the configuration: ``generator`` draws with the
#: settings ``base``; ``fitted`` says how the directions were fitted, so the plan notices when they change.
_BASE = ("generator", "base", "fitted")

#: Levels of the factor of an attribute.
ABSENT, PRESENT = "absent", "present"

_BATCH = 8


def wanted_levels(demographics: Mapping[str, str], attributes: Mapping[str, int]) -> dict[str, str]:
    """Factor -> level that a request asks for: known demographic levels, the hair colour, and every other attribute."""
    wanted = {dimension: level for dimension, level in demographics.items() if level != UNKNOWN}
    names = {attribute: colour for colour, attribute in HAIR_COLOURS.items()}
    for name, value in attributes.items():
        if name in names:
            if value == 1:
                wanted["hair"] = names[name]
        elif value:
            wanted[name] = PRESENT if value == 1 else ABSENT
    return wanted


def nearest(tries: Sequence[tuple[Walk, np.ndarray]]) -> tuple[Walk, np.ndarray]:
    """The walk, with its start, that met every target; if none did, the one with the highest objective."""
    return max(tries, key=lambda attempt: (attempt[0].met, attempt[0].objective))


class GuidedGenerator:
    """Guided sampling from the latent space of another generator."""

    name = "guided"
    version = PART.version

    def __init__(self, settings: Mapping[str, Any]):
        own = {k: v for k, v in settings.items() if k not in ("device", "threads", "files")}
        base = {"generator": "parametric", "base": {}, "fitted": None} | {k: own.pop(k) for k in _BASE if k in own}
        self.settings = GuidedSettings.filled(own, "generation.settings.guided") | base
        files = dict(settings.get("files") or {})
        if "directions" not in files:
            raise UserError("the guided generator needs a directions file; the rule fit_directions makes it")
        path = Path(files.pop("directions"))
        self.directions = read_directions(path)
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.directions.generator != self.settings["generator"]:
            raise UserError(
                f"{path}: directions of the generator {self.directions.generator}, but faces are drawn by "
                f"{self.settings['generator']}; set latent_directions.generator to {self.directions.generator}"
            )
        machine = {key: settings[key] for key in ("device", "threads") if key in settings}
        self.base = create_latent(self.settings["generator"], {**self.settings["base"], **machine, "files": files})
        self.space = self.directions.space
        if self.base.dimension(self.space) != len(self.directions.mean):
            raise UserError(f"{path}: directions of another size than the latents of {self.base.name}; fit them again")

    def generate(self, requests: Iterable[Request]) -> Iterator[GeneratedFace]:
        """One face per request, in order; each depends on its own request alone."""
        requests = iter(requests)
        while batch := list(itertools.islice(requests, _BATCH)):
            found = [self._guide(request) for request in batch]
            latents = np.stack([latent for latent, _ in found])
            truths = getattr(self.base, "truths", None)
            known = truths(latents, self.space) if truths else itertools.repeat(None)
            for request, image, (_, provenance), truth in zip(batch, self.base.draw(latents, self.space), found, known):
                yield GeneratedFace(request, image, provenance, truth)

    def _guide(self, request: Request) -> tuple[np.ndarray, dict[str, Any]]:
        """The latent for a request, and how it was found."""
        wanted = wanted_levels(request.demographics, request.attributes)
        scorers = self.directions.scorers
        missing = [f for f in wanted if f not in scorers and (f in request.demographics or f == "hair")]
        if missing:
            raise UserError(
                f"cell {request.request_id} asks for {missing[0]}, but the directions were not fitted for it; "
                f"add it to latent_directions.factors"
            )
        guided = {factor: level for factor, level in wanted.items() if factor in scorers}
        tries: list[tuple[Walk, np.ndarray]] = []
        for number in range(self.settings["tries"]):
            start = self.base.sample(1, seed_from(request.seed, "guided", number), self.space)[0]
            done = walk(self.directions.standardised(start), guided, scorers, self.settings)
            tries.append((done, start))
            if done.met:
                break
        best, start = nearest(tries)
        if not best.met:
            log.warning("%s: no walk reached the target; the nearest face is given", request.request_id)
        latent = self.directions.latents(best.x) if best.steps else start
        source = part(Generator, self.base.name, "latent_directions.generator").source_type
        return latent, {
            **getattr(self.base, "provenance", {}),
            "identity": request.request_id,
            **({} if source == "trained" else {"source_type": metadata.OF_PARTS[source]}),
            "base": self.base.name,
            "space": self.space,
            "directions_sha256": self.sha256,
            "wanted": guided,
            "not_guided": sorted(set(wanted) - set(guided)),
            "met": best.met,
            "scores": {factor: round(p, 6) for factor, p in best.probabilities.items()},
            "tries": [{"steps": done.steps, "length": round(done.length, 4), "stop": done.stop} for done, _ in tries],
            "latent_sha256": hashlib.sha256(np.asarray(latent, "<f4").tobytes()).hexdigest(),
        }
