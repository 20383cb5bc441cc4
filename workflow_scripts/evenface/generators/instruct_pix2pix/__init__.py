"""InstructPix2Pix: changes existing pictures by an instruction."""

from evenface.generators.diffusion import NEEDS
from evenface.generators.diffusion.files import model_files
from evenface.generators.instruct_pix2pix.settings import InstructPix2PixSettings
from evenface.parts import Generator

PART = Generator(
    name="instruct_pix2pix",
    version=1,
    summary="Changes the faces of another generator, or of a table, as the prompt asks.",
    code="evenface.generators.instruct_pix2pix.generator:InstructPix2PixGenerator",
    settings=InstructPix2PixSettings,
    starts_from_images=True,
    source_type="edited",
    files=model_files,
    needs=NEEDS,
)
