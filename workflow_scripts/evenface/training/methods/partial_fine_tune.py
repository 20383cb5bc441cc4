"""Partial fine-tuning: only some layers change; frozen layers keep their weights, decay and batch statistics included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from evenface.parts import Method, Settings

if TYPE_CHECKING:
    from torch import nn

    from evenface.training.method import Problem


class PartialFineTuneSettings(Settings):
    """Its block of the configuration."""

    trains: tuple[str, ...] = Field(
        min_length=1, description="Layers that change, by the beginnings of their names, such as `layer4` and `fc`."
    )


def frozen_but(network: nn.Module, trains: tuple[str, ...], method: str) -> None:
    """Freeze all tensors but those of layers whose names begin so. UserError for a beginning that no tensor has."""
    from evenface.errors import UserError

    names = [name for name, _ in network.named_parameters()]
    for one in trains:
        if not any(is_below(name, (one,)) for name in names):
            tops = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            raise UserError(f"method {method}: the network has no layer {one!r}; its layers are {tops}")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_below(name, trains))


def is_below(name: str, layers: tuple[str, ...]) -> bool:
    """Whether a tensor or layer is one of ``layers``, or a part of one."""
    return any(name == one or name.startswith(f"{one}.") for one in layers)


def create(problem: Problem, settings: PartialFineTuneSettings):
    """Plain training of some layers."""
    from evenface.training.method import Classification

    class PartialFineTune(Classification):
        def __init__(self):
            super().__init__(problem, settings)
            frozen_but(self.networks["network"], settings.trains, "partial_fine_tune")

        def train_mode(self):
            network = self.networks["network"]
            network.eval()
            for name, module in network.named_modules():
                if is_below(name, settings.trains):
                    module.train()

    return PartialFineTune()


PART = Method(
    name="partial_fine_tune",
    summary="Changes only some layers of given weights.",
    code="evenface.training.methods.partial_fine_tune:create",
    settings=PartialFineTuneSettings,
)
