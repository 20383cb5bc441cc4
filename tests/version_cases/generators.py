"""Cases: generators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evenface.storage.images import encode_png
from version_cases.common import DRAWN, RENDERER, SG3, Inputs, case


@case(RENDERER)
def parametric(inputs: Inputs, out: Path) -> Any:
    """Drawn from latents; requests are drawn in ``tests/reference/renders``, which has the same number."""
    from evenface.generators.latent import create_latent

    made = create_latent("parametric", {"size": [46, 56], "supersample": 1, "files": {"assets": str(inputs.assets)}})
    latents = made.sample(2, 1, made.spaces[0])
    truths = list(made.truths(latents, made.spaces[0]))
    return {"latents": latents, "images": list(made.draw(latents, made.spaces[0])), "truths": truths}


@case("generators.parametric.ASSETS_VERSION")
def face_assets(inputs: Inputs, out: Path) -> Any:
    """Their layout; every byte of them is compared in ``tests/reference/renders``."""
    with np.load(inputs.assets) as arrays:
        return {name: [list(arrays[name].shape), str(arrays[name].dtype)] for name in sorted(arrays.files)}


@case("generators.diffusion.PART", loose=DRAWN)
def diffusion(inputs: Inputs, out: Path) -> Any:
    return inputs.generated("diffusion", {"model": str(inputs.diffusion / "sd"), "steps": 2}, inputs.requests())


@case("generators.instruct_pix2pix.PART", loose=DRAWN)
def instruct(inputs: Inputs, out: Path) -> Any:
    settings = {"model": str(inputs.diffusion / "instruct"), "steps": 2, "initial": {"file": "t.csv"}}
    picture = inputs.folder / "initial.png"
    picture.write_bytes(encode_png(inputs.pictures["photograph"]))
    return inputs.generated("instruct_pix2pix", settings, inputs.requests(1, initial_image=str(picture)))


@case("generators.folder.PART")
def folder(inputs: Inputs, out: Path) -> Any:
    """What is kept of a picture, and what is planned for a table of two."""
    from evenface.generators.folder.table import list_pictures

    for name in ("a", "b"):
        (out / f"{name}.png").write_bytes(encode_png(inputs.pictures["photograph"]))
    (out / "t.csv").write_text("image,gender,age,ethnicity,Smiling\na.png,Woman,34,East Asian,1\nb.png,,,Indian,\n")
    listed = list_pictures({"root": ".", "table": "t.csv", "columns": {}}, out)
    drawn = inputs.generated("folder", {"table": "t.csv"}, inputs.requests(1, initial_image=str(out / "a.png")))
    del drawn[0]["provenance"]["file"]
    return [drawn, [(one.prompt.cell, one.prompt.demographics, one.prompt.attributes, one.image) for one in listed]]


@case("generators.stylegan3.PART", loose=DRAWN)
def stylegan3(inputs: Inputs, out: Path) -> Any:
    return inputs.generated("stylegan3", {"network": str(SG3), "files": {"network": str(SG3)}}, inputs.requests())


@case("generators.guided.PART", loose=DRAWN)
def guided(inputs: Inputs, out: Path) -> Any:
    """A network that draws no faces is walked by a plane that was written, not fitted."""
    from evenface.generators.directions_file import Directions, write_directions
    from evenface.generators.latent import create_latent
    from evenface.generators.walks import Scorer

    width = create_latent("stylegan3", {"network": str(SG3), "files": {"network": str(SG3)}}).dimension("z")
    weights = np.random.Generator(np.random.PCG64(1)).standard_normal((2, width))
    scorers = {
        "gender": Scorer("gender", ("female", "male"), np.stack([weights[0], -weights[0]]), np.zeros(2)),
        "Smiling": Scorer("Smiling", ("absent", "present"), np.stack([-weights[1], weights[1]]), np.zeros(2)),
    }
    write_directions(Directions("stylegan3", 1, "z", np.zeros(width), np.ones(width), scorers), out / "d.npz")
    from evenface.plan.requests import Request
    from evenface.taxonomy import UNKNOWN

    who = {"gender": "male", "age": UNKNOWN, "ethnicity": UNKNOWN}
    requests = [Request(f"r{i}", "a face", "", who, {"Smiling": 1}, 10 + i) for i in range(2)]
    settings = {"generator": "stylegan3", "base": {"network": str(SG3)},
                "files": {"directions": str(out / "d.npz"), "network": str(SG3)}}  # fmt: skip
    return inputs.generated("guided", settings, requests)
