"""Faces by text-to-image models of diffusers: from a prompt, or from an image and a prompt."""

from evenface.generators.diffusion.files import model_files
from evenface.generators.diffusion.settings import DiffusionSettings
from evenface.parts import Generator, Needs

#: What jobs with diffusion models ask for; memory for the model is added to it.
NEEDS = Needs(gpu=1, mem_mb=2500, runtime=480, conda="diffusion")

PART = Generator(
    name="diffusion",
    version=2,
    summary="Draws from prompts with any text-to-image model in diffusers' form or a single file of Stable Diffusion's kind.",
    code="evenface.generators.diffusion.generator:DiffusionGenerator",
    settings=DiffusionSettings,
    starts_from_images=True,
    files=model_files,
    needs=NEEDS,
)
