"""Pictures that were made elsewhere: a folder of images, and a table that says what each shows."""

from evenface.generators.folder.settings import FolderSettings
from evenface.parts import Generator, Needs

PART = Generator(
    name="folder",
    summary="Takes pictures that another program made, with a table of their prompts and groups.",
    code="evenface.generators.folder.generator:FolderGenerator",
    settings=FolderSettings,
    lists="evenface.generators.folder.table:list_pictures",
    pictures=lambda settings: settings.get("pictures", "photographs"),
    needs=Needs(mem_mb=2000, conda="generate"),
)
