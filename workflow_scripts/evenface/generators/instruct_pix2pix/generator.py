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
    """Changes the initial image of every request by an instruction (Brooks et al., 2023).

    The instruction's template is filled in for each request. The model sees the catalogue's prompt only where the
    template has ``{prompt}``.
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
            raise UserError(f"{self.key}.initial is not set; name the generator, or the list of files, whose images it "
                            "shall change")  # fmt: skip

    def text_of(self, request: Request) -> tuple[str, str]:
        """The instruction for a request."""
        template = self.settings["instruction"]
        return instruction(template, request.prompt, request.demographics, request.attributes), "instruction"

    def _request_provenance(self, request: Request) -> dict[str, Any]:
        return super()._request_provenance(request) | {
            "instruction": self.text_of(request)[0],
            "image_guidance": self.settings["image_guidance"],
        }

    def _step_arguments(self) -> dict[str, Any]:
        wanted = {"image_guidance_scale": self.settings["image_guidance"]}
        return super()._step_arguments() | {name: value for name, value in wanted.items() if name in self._parameters()}
