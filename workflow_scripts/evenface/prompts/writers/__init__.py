"""Writers of contextual prompts: the grammar, a local language model, an endpoint."""

from evenface.prompts.writers.protocol import LanguageModel, PromptWriter

__all__ = ["LanguageModel", "PromptWriter"]
