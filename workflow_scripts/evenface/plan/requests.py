"""A request to a generator: one image."""

from __future__ import annotations

from dataclasses import dataclass, field

from evenface.seeds import seed_from


@dataclass(frozen=True)
class Request:
    """One image to generate.

    ``demographics`` holds levels by dimension (gender, age, ethnicity). ``attributes`` holds the CelebA
    names that were asked for (+1) or excluded (-1). ``seed`` is a non-negative 63-bit integer.
    ``initial_image`` is the reference of the image that image-to-image starts from; ``initial_name`` is its name, which
    does not depend on where it lies.
    """

    request_id: str
    prompt: str
    negative_prompt: str
    demographics: dict[str, str]
    attributes: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    initial_image: str | None = None
    initial_name: str | None = None


def prompt_id(cell: str, prompt: str) -> str:
    """Name of a prompt: the same with every generator."""
    return f"{cell}-{seed_from('prompt', prompt) & 0xFFFFFFFF:08x}"


def request_id(cell: str, prompt: str, index: int) -> str:
    """Name of image ``index`` of a prompt: the same with every generator."""
    return f"{prompt_id(cell, prompt)}-{index:05d}"
