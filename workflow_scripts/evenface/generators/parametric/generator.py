"""Parametric faces: rendered from MakeHuman's morphable head. Everything about them is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evenface.errors import UserError
from evenface.generators.parametric import PART
from evenface.generators.parametric.settings import ParametricSettings
from evenface.generators.protocol import GeneratedFace
from evenface.plan.requests import Request
from evenface.seeds import seed_from


class ParametricGenerator:
    """Renders requests; knows the truth of every face. ``files["assets"]`` is the distilled MakeHuman data."""

    name = "parametric"
    version = PART.version

    def __init__(self, settings: Mapping[str, Any]):
        from evenface.generators.parametric.render import Renderer

        known = {k: v for k, v in settings.items() if k not in ("files", "device", "threads")}
        self.settings = ParametricSettings.filled(known, "generation.settings.parametric")
        assets = settings.get("files", {}).get("assets")
        if not assets:
            raise UserError("the parametric generator needs its assets; the rule distil_face_assets makes them")
        self.renderer = Renderer(assets)

    def generate(self, requests: Iterable[Request]) -> Iterator[GeneratedFace]:
        """One face per request, in order; each depends on its own request alone."""
        from evenface.generators.parametric import camera, sampling, truth
        from evenface.generators.parametric.domains import domain

        place = domain(self.settings["domain"])
        for request in requests:
            face = sampling.sample(request.demographics, request.attributes, request.seed, self.settings)
            clean = self.renderer.render(face, supersample=self.settings["supersample"])
            image, quality = camera.photograph(clean, place, seed_from(request.seed, "camera"))
            provenance = {
                "identity": request.request_id,
                "face_sha256": face.digest(),
                "domain": self.settings["domain"],
            }
            yield GeneratedFace(request, camera.compress(image, quality), provenance, truth.truth_of(face))
