"""What a number is about: one network, or the method that trained several. Tables, report and captions take their words here."""

from __future__ import annotations

NETWORK, METHOD = "this network", "method"


def claim(n_seeds: int) -> str:
    """What rows of so many seeds are about, for a column: :data:`NETWORK` or :data:`METHOD`."""
    return NETWORK if n_seeds == 1 else METHOD


def subject(n_seeds: int) -> str:
    """The same in a sentence.

    >>> subject(1), subject(3)
    ('this network', 'the method (3 seeds)')
    """
    return NETWORK if n_seeds == 1 else f"the {METHOD} ({n_seeds} seeds)"
