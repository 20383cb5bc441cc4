"""Prompts: catalogues, what their words say of a person, checks, and who writes them."""

#: Raised when the same settings give other prompts.
VERSIONS = {"prompts": 1}
