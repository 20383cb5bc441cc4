"""Who can write prompts, and what a language model has to be able to do."""

from __future__ import annotations

from typing import Protocol


class PromptWriter(Protocol):
    """Writes contexts that all groups share, or whole prompts for one group.

    Both give exactly ``count`` different texts that pass the checks of a row, or raise UserError.
    """

    name: str

    def contexts(self, count: int) -> list[str]:
        """Contexts for everybody."""
        ...

    def prompts(self, cell: str, person: str, count: int) -> list[str]:
        """Prompts that show ``person``, the words for the group ``cell``."""
        ...

    def provenance(self) -> dict[str, str]:
        """What wrote and how, without dates: note -> value."""
        ...


class LanguageModel(Protocol):
    """Answers an instruction; the same seed gives the same answer where the model allows it."""

    name: str

    def answer(self, instruction: str, seed: int) -> str:
        """The model's words; UserError where none can be had."""
        ...

    def provenance(self) -> dict[str, str]:
        """The model and its settings, without dates: note -> value."""
        ...
