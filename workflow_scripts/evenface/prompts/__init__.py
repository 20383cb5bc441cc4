"""Prompts: catalogues, what their words say of a person, checks, and who writes them."""
