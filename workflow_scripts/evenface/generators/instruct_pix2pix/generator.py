"""Faces changed by an instruction ("make her hair gray"): InstructPix2Pix and other editing models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evenface.errors import UserError
from evenface.generators.diffusion.generator import DEFAULTS as DIFFUSION
from evenface.generators.diffusion.generator import DiffusionGenerator
from evenface.generators.diffusion.loading import Task
from evenface.generators.instruct_pix2pix import PART
from evenface.prompts.instructions import instruction

if TYPE_CHECKING:
    from evenface.plan.requests import Request

#: Settings: those of ``diffusion`` without a strength, an instruction, and how near the initial image is kept.
DEFAULTS: dict[str, Any] = {
    **{key: value for key, value in DIFFUSION.items() if key != "strength"},
    "model": "models/diffusion/instruct-pix2pix-00-22000.safetensors",
    "steps": 50,
    "guidance": 7.5,
    "image_guidance": 1.5,
    "instruction": "make this a portrait of a {age} {ethnicity} {gender} with {hair}",
}


class InstructPix2PixGenerator(DiffusionGenerator):
    """Changes the initial image of every request as an instruction made from it says (Brooks et al., 2023).

    The instruction is filled in for each request; the catalogue's prompt is not shown to the model.
    """

    name = "instruct_pix2pix"
    version = PART.version
    defaults: Mapping[str, Any] = DEFAULTS

    @property
    def task(self) -> Task:
        """Always from an image."""
        return "instruction"

    def _check_settings(self) -> None:
        super()._check_settings()
        if not self.settings["initial"]:
            raise UserError(f"{self.key}.initial is not set; name the generator or the list of files whose images are "
                            "to be changed")  # fmt: skip
        if self.settings["image_guidance"] < 1:
            raise UserError(f"{self.key}.image_guidance is {self.settings['image_guidance']}; below 1 the model is not "
                            "guided at all: raise it")  # fmt: skip

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
