"""Faces changed by an instruction ("make her hair gray"): InstructPix2Pix and other editing models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.errors import UserError
from evenface.generators.diffusion.generator import DiffusionGenerator
from evenface.generators.diffusion.loading import Task
from evenface.generators.instruct_pix2pix import PART
from evenface.generators.instruct_pix2pix.settings import InstructPix2PixSettings
from evenface.prompts.instructions import instruction

if TYPE_CHECKING:
    from evenface.plan.requests import Request


class InstructPix2PixGenerator(DiffusionGenerator):
    """Changes the initial image of every request as an instruction made from it says (Brooks et al., 2023).

    The instruction is filled in for each request; the catalogue's prompt is not shown to the model.
    """

    name = "instruct_pix2pix"
    version = PART.version
    kind_of_settings = InstructPix2PixSettings

    @property
    def task(self) -> Task:
        """Always from an image."""
        return "instruction"

    def _check_settings(self) -> None:
        super()._check_settings()
        if not self.settings["initial"]:
            raise UserError(f"{self.key}.initial is not set; name the generator or the list of files whose images are "
                            "to be changed")  # fmt: skip

    def text_of(self, request: Request) -> tuple[str, str]:
        """The instruction for a request."""
        template = self.settings["instruction"]
        return instruction(template, request.prompt, request.demographics, request.attributes), "instruction"

    def _asked(self, request: Request) -> dict[str, Any]:
        return super()._asked(request) | {
            "instruction": self.text_of(request)[0],
            "image_guidance": self.settings["image_guidance"],
        }

    def _how(self) -> dict[str, Any]:
        wanted = {"image_guidance_scale": self.settings["image_guidance"]}
        return super()._how() | {name: value for name, value in wanted.items() if name in self._parameters()}
