"""A writer of prompts of one's own: a model that knows a few places."""

import json

from pydantic import Field

from evenface.parts import Settings, Writer


class EchoSettings(Settings):
    places: tuple[str, ...] = Field(("in a park", "at a desk"), min_length=2, description="Where people are shown.")


class Echo:
    name = "echo"

    def __init__(self, settings, *, device="cpu", threads=1):
        self.places = settings["places"]

    def answer(self, instruction, seed):
        return "\n".join(json.dumps({"context": place}) for place in self.places)

    def provenance(self):
        return {"model": "echo"}


PART = Writer(name="echo", summary="A few places.", code=Echo, settings=EchoSettings)
