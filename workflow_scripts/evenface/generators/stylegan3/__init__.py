"""StyleGAN3: the published network. Nothing in its pickle is executed."""

from evenface.generators.stylegan3.settings import StyleGAN3Settings
from evenface.parts import Generator, Needs

PART = Generator(
    name="stylegan3",
    version=1,
    summary="Draws random faces with a published StyleGAN3 network; it ignores prompts.",
    code="evenface.generators.stylegan3.generator:StyleGAN3Generator",
    settings=StyleGAN3Settings,
    latent_code="evenface.generators.stylegan3.generator:StyleGAN3Generator",
    obeys_prompts=False,
    spaces=("z", "w"),
    files=lambda settings: {"network": settings["network"]},
    needs=Needs(gpu=1, mem_mb=2500, runtime=480, conda="diffusion"),
)
