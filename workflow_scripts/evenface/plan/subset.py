"""Chooses a few prompts of a catalogue that are balanced like the whole."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from evenface.prompts.catalogue import Prompt
from evenface.seeds import seed_from
from evenface.taxonomy import HAIR_COLOURS


def _levels(prompt: Prompt) -> tuple[tuple[str, str], ...]:
    """The levels that a contextual prompt was written for; for others, their demographic levels and hair colour."""
    if prompt.crossed:
        return prompt.crossed
    hair = "+".join(colour for colour, name in HAIR_COLOURS.items() if prompt.attributes.get(name) == 1)
    return *sorted(prompt.demographics.items()), ("hair", hair)


def balanced_subset(prompts: Sequence[Prompt], count: int, *, seed: int) -> list[Prompt]:
    """``count`` of the prompts, in their order; all of them if there are not more.

    Prompts are taken one by one. The next is always the one whose levels have been taken least so far, and among these
    the one whose pairs of levels have been taken least. Ties are broken by random numbers from ``seed`` and the cell's
    name, or the context that groups share. A larger subset contains every smaller one.
    """
    if count >= len(prompts):
        return list(prompts)
    waiting: dict[tuple, list[tuple[int, int]]] = {}
    for i, prompt in enumerate(prompts):
        waiting.setdefault(_levels(prompt), []).append((seed_from(seed, "subset", prompt.context or prompt.cell), i))
    for lots in waiting.values():
        lots.sort(reverse=True)  # taken from the end
    pairs = {levels: tuple(itertools.combinations(levels, 2)) for levels in waiting}
    taken: Counter[tuple] = Counter()
    chosen: list[int] = []
    while len(chosen) < count:

        def cost(levels: tuple) -> tuple[int, int, int]:
            return (
                sum(taken[level] for level in levels),
                sum(taken[pair] for pair in pairs[levels]),
                waiting[levels][-1][0],
            )

        best = min(waiting, key=cost)
        chosen.append(waiting[best].pop()[1])
        taken.update(best)
        taken.update(pairs[best])
        if not waiting[best]:
            del waiting[best]
    return [prompts[i] for i in sorted(chosen)]
