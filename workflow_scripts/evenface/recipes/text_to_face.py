"""The text-to-face model: faces in parts, and everything that decides each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.parts import Generator, part, version

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


class TextToFace:
    """Recipes and paths of the stages that make the text-to-face model."""

    def __init__(self, flow: Flow):
        self._seed = flow.settings["seed"]
        self.settings = flow.settings["text_to_face"]
        self.faces = [f"data/text_to_face/faces/{part}.tar" for part in range(self.settings["parts"])]

    def recipe(self, *blocks: str) -> dict[str, Any]:
        """Everything that decides the result of a stage, except earlier stages, whose files are its inputs."""
        return {
            "version": version("text_to_face", "text_to_face"),
            "seed": self._seed,
            "settings": {key: self.settings[key] for key in ("size", *blocks)},
        }

    def faces_recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides a part of the training faces."""
        return {
            "version": version("text_to_face", "text_to_face"),
            "renderer": self._renderer(),
            "seed": self._seed,
            "part": int(wildcards.part),
            "settings": {key: self.settings[key] for key in ("faces", "parts", "render_size")},
        }

    def export_recipe(self) -> dict[str, Any]:
        """Everything that decides the model's folder, except its weights."""
        return {
            **self.recipe("faces", "autoencoder", "decoder", "denoiser"),
            "renderer": self._renderer(),
            "card": version("text_to_face", "card"),
        }

    def _renderer(self) -> int:
        return part(Generator, "parametric", "text_to_face").version
