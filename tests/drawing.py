"""A quick generator, and a job of it that is killed while it draws."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from evenface.generators.protocol import GeneratedFace


class Noise:
    """A generator of plain noise that remembers what it was asked for."""

    def __init__(self, **provenance):
        self.provenance, self.asked = provenance, []

    def generate(self, requests):
        for request in requests:
            self.asked.append(request.request_id)
            pixels = np.random.default_rng(request.seed).integers(0, 256, (40, 50, 3), np.uint8)
            more = {"initial": request.initial_name} if request.initial_image else {}
            if request.initial_image:
                more["initial_sha256"] = hashlib.sha256(open(request.initial_image, "rb").read()).hexdigest()
            yield GeneratedFace(request, pixels, {"identity": request.request_id, **more, **self.provenance}, {"x": 1})


_JOB = """
import json, sys, time
sys.path[:0] = {path!r}
from drawing import Noise
from evenface.generators import shards
class Slow(Noise):
    def generate(self, requests):
        for face in super().generate(requests):
            print("drawn", flush=True)
            time.sleep(0.05)
            yield face
shards.create = lambda *_: Slow()
shards.SAVE_EVERY = 0.1
shards.generate_shard(json.loads({recipe!r}), {out!r}, {{}})
"""


def kill_while_drawing(recipe: dict[str, Any], out: Path, after: int, end: str = "kill") -> None:
    """End a job that draws the shard ``out`` once it has drawn ``after`` images: "kill" or "terminate"."""
    code = _JOB.format(path=sys.path, recipe=json.dumps(recipe), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    for _ in range(after):
        assert process.stdout.readline() == b"drawn\n"
    getattr(process, end)()
    process.communicate()
    assert not out.exists()
