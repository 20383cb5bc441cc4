"""Parametric faces: rendered from MakeHuman's morphable head. Everything about them is known."""

from evenface.generators.parametric.asked import SHOWN, check_asked
from evenface.generators.parametric.settings import ParametricSettings
from evenface.parts import Generator, Needs

#: Version of the distilled MakeHuman data; raise it when the same packages give another file.
ASSETS_VERSION = 3
ASSETS = f"models/makehuman/face-assets-v{ASSETS_VERSION}.npz"

PART = Generator(
    name="parametric",
    version=5,
    summary="Renders MakeHuman's morphable head on the CPU; the truth about every face is known.",
    code="evenface.generators.parametric.generator:ParametricGenerator",
    settings=ParametricSettings,
    latent_code="evenface.generators.parametric.latent:ParametricLatent",
    knows_truth=True,
    shows=SHOWN,
    check_asked=check_asked,
    spaces=("latent",),
    pictures="renderings",
    source_type="algorithmic",
    files=lambda settings: {"assets": ASSETS},
    needs=Needs(conda="generate"),
)
