"""The built-in grammar of contexts (:mod:`evenface.prompts.grammar`)."""

from evenface.parts import Writer
from evenface.prompts.writers.grammar.settings import GrammarSettings

PART = Writer(
    name="grammar",
    summary="The built-in grammar of contexts: no model, every run the same.",
    code="evenface.prompts.grammar:Grammar",
    settings=GrammarSettings,
    at_once=True,
)
