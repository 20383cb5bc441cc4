"""Which words of a catalogue belong to one group more than chance allows."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

#: Family-wise error rate: one in a hundred catalogues without any association is refused.
ALPHA = 0.01
#: Name of the axis whose levels are whole groups, one level of every axis.
GROUP = "group"

_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Association:
    """A word found in ``inside`` of the ``size`` prompts of a level, and in ``outside`` of the ``rest`` others."""

    word: str
    axis: str
    level: str
    inside: int
    size: int
    outside: int
    rest: int
    p: float


def words_of(text: str) -> set[str]:
    """The different words of two letters or more, lower case."""
    return set(_WORD.findall(text.lower()))


@cache
def _tail(total: int, marked: int, drawn: int, least: int) -> float:
    """P(X >= least) of the hypergeometric distribution: ``drawn`` of ``total``, ``marked`` of which are marked."""
    log = math.lgamma
    fixed = (
        log(marked + 1) + log(total - marked + 1) + log(drawn + 1) + log(total - drawn + 1) - log(total + 1)
    )  # of all terms
    p = 0.0
    for k in range(max(least, drawn + marked - total, 0), min(marked, drawn) + 1):
        p += math.exp(
            fixed - log(k + 1) - log(marked - k + 1) - log(drawn - k + 1) - log(total - marked - drawn + k + 1)
        )
    return min(p, 1.0)


def associations(
    words: Sequence[set[str]], levels: Sequence[Mapping[str, str]], alpha: float = ALPHA
) -> tuple[list[Association], int]:
    """Words that a level has significantly more often than all other prompts, and the number of tests.

    ``words`` and ``levels`` (axis -> level) belong to one prompt each. For every word, axis and level, and
    every whole group, Fisher's one-sided exact test; corrected for their number after Tarone (1990), who counts only tests that
    could come out significant at all, because rare words cannot. Each word is named once, with its
    smallest p; the list begins with the smallest.
    """
    total = len(words)
    axes = list(dict.fromkeys(axis for one in levels for axis in one))
    rows = [dict(one) for one in levels]
    if len(axes) > 1:
        for row in rows:
            row[GROUP] = ", ".join(row.get(axis, "") for axis in axes)
        axes.append(GROUP)
    frequency = Counter(word for one in words for word in one)
    tests: list[tuple[float, str, str, str, int, int]] = []
    for axis in axes:
        sizes = Counter(row[axis] for row in rows if axis in row)
        if len(sizes) < 2:
            continue
        inside: dict[str, Counter[str]] = {level: Counter() for level in sizes}
        for row, one in zip(rows, words):
            if axis in row:
                inside[row[axis]].update(one)
        for level, size in sizes.items():
            for word, count in frequency.items():
                if count < total:
                    smallest = _tail(total, count, size, min(count, size))
                    if smallest <= alpha:
                        tests.append((smallest, word, axis, level, inside[level][word], size))
    if not tests:
        return [], 0
    smallest = sorted(test[0] for test in tests)
    number = next((k for k in range(1, len(tests) + 1) if _reachable(smallest, alpha / k) <= k), 1)
    found: dict[str, Association] = {}
    for reach, word, axis, level, count, size in tests:
        marked = frequency[word]
        if reach > alpha / number or count * total <= marked * size:
            continue
        p = _tail(total, marked, size, count)
        if p <= alpha / number and (word not in found or p < found[word].p):
            found[word] = Association(word, axis, level, count, size, marked - count, total - size, p)
    return sorted(found.values(), key=lambda a: (a.p, a.word)), number


def _reachable(smallest: list[float], bound: float) -> int:
    """How many tests could come out at most ``bound``; ``smallest`` is sorted."""
    return bisect_right(smallest, bound)
