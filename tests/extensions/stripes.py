"""A generator of one's own: striped pictures, brighter where the prompt asks for blond hair."""

import numpy as np
from pydantic import Field

from evenface.generators.protocol import GeneratedFace
from evenface.parts import Generator, Needs, Settings


class StripesSettings(Settings):
    contrast: int = Field(40, ge=1, le=100, description="Difference between the stripes.")


class Stripes:
    name, version = "stripes", 1

    def __init__(self, settings):
        self.contrast = settings["contrast"]

    def generate(self, requests):
        for request in requests:
            random = np.random.default_rng(request.seed)
            level = 150 if request.attributes.get("Blond_Hair") == 1 else 60
            image = np.full((218, 178, 3), level, np.uint8) + random.integers(0, 20, (218, 178, 3), np.uint8)
            image[::2] += np.uint8(self.contrast)
            yield GeneratedFace(request, image, {"identity": request.request_id})


PART = Generator(
    name="stripes",
    summary="Striped pictures.",
    code=Stripes,
    settings=StripesSettings,
    pictures="renderings",
    needs=Needs(conda="generate"),
)
