"""A causal language model in a folder on this machine."""

from evenface.parts import Needs, Writer
from evenface.prompts.writers.transformers.settings import TransformersSettings

PART = Writer(
    name="transformers",
    summary="A causal language model in a folder on this machine.",
    code="evenface.prompts.writers.transformers.local_model:LocalModel",
    settings=TransformersSettings,
    files=lambda settings: {"folder": settings["folder"]},
    needs=Needs(gpu=1),
)
